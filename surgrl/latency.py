"""Latencies in a histogram of fixed bins: as small for an hour as for a second."""

from typing import Any

import numpy as np

FIRST, RATIO, BINS = 0.05, 1.12, 100        # ms, upper edge of the first bin; each is so much wider than the one before
EDGES = FIRST * RATIO ** np.arange(BINS)    # ms; the last is 3.7 s


class Histogram:
    """Counts durations."""

    def __init__(self) -> None:
        """Empty."""
        self.counts = np.zeros(BINS + 1, int)
        self.total = self.longest = 0.0         # s

    def add(self, seconds: float) -> None:
        """One duration."""
        self.counts[np.searchsorted(EDGES, seconds * 1e3)] += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    def quantile(self, share: float) -> float:
        """ms; the upper edge of the bin in which it lies, but no more than the longest."""
        at = int(np.searchsorted(np.cumsum(self.counts), share * self.counts.sum()))
        return float(min(EDGES[min(at, BINS - 1)], self.longest * 1e3)) if at < BINS else self.longest * 1e3

    def told(self) -> dict[str, Any]:
        """Plain numbers for a file: ms."""
        count = int(self.counts.sum())
        return {"count": count, "mean_ms": round(self.total / count * 1e3, 3) if count else None,
                **({f"p{share}_ms": round(self.quantile(share / 100), 3) for share in (50, 90, 99)} if count else {}),
                "longest_ms": round(self.longest * 1e3, 3), "edges_ms": [round(edge, 4) for edge in EDGES.tolist()],
                "counts": self.counts.tolist()}

    def memory(self) -> dict[str, Any]:
        """For `recall`."""
        return {"counts": self.counts.copy(), "total": self.total, "longest": self.longest}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on where another stood."""
        self.counts, self.total, self.longest = memory["counts"], memory["total"], memory["longest"]
