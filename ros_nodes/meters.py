"""How often something comes and how long it takes, over the last few seconds, for /diagnostics."""

import time
from collections import deque

import numpy as np

KEPT = 300              # durations, ten seconds at 30 Hz
WINDOW = 1.0            # s


class Rate:
    """Events per second."""

    def __init__(self) -> None:
        """None yet."""
        self._times: deque[float] = deque(maxlen=1000)
        self._began = time.monotonic()

    def tick(self) -> None:
        """It happened."""
        self._times.append(time.monotonic())

    @property
    def hertz(self) -> float:
        """Events per second over the last WINDOW, or since the start if that is less."""
        since = max(time.monotonic() - WINDOW, self._began)
        return sum(when > since for when in self._times) / max(time.monotonic() - since, 1e-3)

    def __str__(self) -> str:
        """In Hz."""
        return f"{self.hertz:.1f} Hz"


class Durations:
    """Percentiles of durations."""

    def __init__(self) -> None:
        """None yet."""
        self._seconds: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """It took so long."""
        self._seconds.append(seconds)

    def __str__(self) -> str:
        """Median and 99th percentile in ms."""
        if not self._seconds:
            return "none yet"
        p50, p99 = np.percentile(list(self._seconds), (50, 99)) * 1e3
        return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
