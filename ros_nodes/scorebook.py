"""What came of the simulated episodes, as one JSON file that is whole at any time."""

import json
import os
from pathlib import Path
from typing import Any

KEPT = 1000     # images that may still be answered


def told(measures: dict[str, float]) -> str:
    """What a task measured, in a line; its names say the units, metres where they say none."""
    return ", ".join(f"{name} {value:.3g}" for name, value in measures.items())


class Scorebook:
    """Collects episodes; knows how long each command took to answer its image."""

    def __init__(self, path: Path | None, about: dict[str, Any]):
        """path: of the JSON file, None for none. about: what the file shall say besides episodes."""
        self._path, self._about = path, about
        self.episodes: list[dict[str, Any]] = []
        self._waiting: dict[int, bool] = {}     # ns, stamp of an image without an answer -> whether it counts
        self._latencies_ms: list[float] = []
        self._frames_sent = self._frames_answered = 0

    def sent(self, stamp: int, *, counts: bool) -> None:
        """An image left. stamp: ns. counts: whether the episode's clock ran, so that an answer may be expected."""
        self._waiting[stamp] = counts
        self._frames_sent += counts
        if len(self._waiting) > KEPT:
            del self._waiting[min(self._waiting)]

    def answered(self, stamp: int, now: int) -> None:
        """A command came that bears the stamp of its image; only the first one tells how long that took. ns."""
        if stamp in self._waiting:
            self._latencies_ms.append((now - stamp) * 1e-6)
            self._frames_answered += self._waiting.pop(stamp)

    def close_episode(self, **outcome: Any) -> None:
        """Keep the episode and write the file anew."""
        self.episodes.append({**outcome, "latency_ms": [round(value, 3) for value in self._latencies_ms]})
        self._waiting, self._latencies_ms = {}, []
        if self._path is not None:
            path = self._path
            scratch = path.with_name(f".{path.name}.{os.getpid()}")
            results = {**self._about, "frames_sent": self._frames_sent,
                       "frames_answered": self._frames_answered, "episodes": self.episodes}
            scratch.write_text(json.dumps(results))
            os.replace(scratch, path)
