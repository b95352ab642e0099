"""What came in last, how old it is, and what was thrown away."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

FUTURE = 5e-3       # s, how far a stamp may run ahead of our clock: two machines' clocks, kept in step, do


class _Sample(NamedTuple):
    value: Any
    stamp: int          # ns, from the message
    received: float     # s, on this machine's monotonic clock


class Inbox:
    """The newest value of each input by its name."""

    def __init__(self, now: Callable[[], int]):
        """now: the node's clock in ns, the one that stamps are compared with."""
        self._now = now
        self._samples: dict[str, _Sample] = {}
        self._dropped: dict[str, str] = {}
        self.drops: Counter[str] = Counter()        # how many of each input were thrown away

    def put(self, name: str, value: Any, stamp: int) -> None:
        """Keep a sound input. stamp: ns."""
        self._samples[name] = _Sample(value, stamp, time.monotonic())
        self._dropped.pop(name, None)

    def drop(self, name: str, reason: str) -> None:
        """Remember why an input was thrown away; the one before it stays and grows old."""
        self._dropped[name] = reason
        self.drops[name] += 1

    def get(self, name: str) -> Any:
        """The newest value, or None."""
        return self._samples[name].value if name in self._samples else None

    def stamp(self, name: str) -> int:
        """Its stamp, ns; 0 when there is none."""
        return self._samples[name].stamp if name in self._samples else 0

    def forget(self, name: str) -> None:
        """As if it had never come."""
        self._samples.pop(name, None)

    def age(self, name: str) -> float:
        """Age in s: by its stamp or since it was received, whichever is more; NaN when there is none.

        The stamp alone would trust a clock that stands still, the reception alone a queue that is full of old
        frames. A stamp from the future is told as it is: negative.
        """
        if name not in self._samples:
            return float(np.nan)
        sample = self._samples[name]
        by_stamp = (self._now() - sample.stamp) * 1e-9
        return by_stamp if by_stamp < -FUTURE else max(by_stamp, time.monotonic() - sample.received)

    def silence(self, name: str) -> float:
        """Since it was received, s; NaN when there is none."""
        return time.monotonic() - self._samples[name].received if name in self._samples else float(np.nan)

    def stale(self, name: str, limit: float) -> str | None:
        """Why this input must not be acted on, or None: missing, older than limit s, or from the future."""
        age = self.age(name)
        if not np.isfinite(age):
            return self.explain(f"{name} is missing")
        if age < -FUTURE:
            return self.explain(f"{name} comes from the future by {-age * 1e3:.0f} ms; are the clocks in step?")
        if not age <= limit:
            return self.explain(f"{name} is {age * 1e3:.0f} ms old, limit {limit * 1e3:.0f} ms")
        return None

    def explain(self, reason: str) -> str:
        """Adds to `reason`, which begins with an input's name, why the last such input was thrown away."""
        for name, why in self._dropped.items():
            if reason.startswith(f"{name} "):
                return f"{reason}; the last one was dropped: {why}"
        return reason
