"""What came of the simulated episodes, as one JSON file that is whole at any time."""

import json
import os
from pathlib import Path
from typing import Any


class Scorebook:
    """Collects episodes; knows how long each command took to answer its image."""

    def __init__(self, path: str, about: dict[str, Any]):
        """path: of the JSON file, '' for none. about: what the file shall say besides episodes."""
        self._path, self._about = path, about
        self.episodes: list[dict[str, Any]] = []
        self._sent: set[int] = set()
        self._latencies_ms: list[float] = []
        self._frames_sent = self._frames_answered = 0

    def sent(self, stamp: int) -> None:
        """An image left while the episode's clock ran. stamp: ns."""
        self._sent.add(stamp)
        self._frames_sent += 1

    def answered(self, stamp: int, now: int) -> None:
        """A command came that bears the stamp of its image (0: it tells none). ns."""
        if stamp:
            self._latencies_ms.append((now - stamp) * 1e-6)
        if stamp in self._sent:
            self._sent.remove(stamp)
            self._frames_answered += 1

    def close_episode(self, **outcome: Any) -> None:
        """Keep the episode and write the file anew."""
        self.episodes.append({**outcome, "latency_ms": [round(value, 3) for value in self._latencies_ms]})
        self._sent, self._latencies_ms = set(), []
        if self._path:
            path = Path(self._path)
            scratch = path.with_name(f".{path.name}.{os.getpid()}")
            results = {**self._about, "frames_sent": self._frames_sent,
                       "frames_answered": self._frames_answered, "episodes": self.episodes}
            scratch.write_text(json.dumps(results))
            os.replace(scratch, path)
