"""How much a policy swings to and fro: limits bound the way, not the wear and the shaking."""

import time
from collections import deque
from math import dist

from .limits import Vector
from .motion import ZERO

WINDOW = 0.5            # s, over which it is measured


class Swing:
    """The mean squared change of the wanted velocity, 1 = from full speed to full speed the other way each time."""

    def __init__(self, speed: float):
        """speed: m/s, the limit."""
        self._speed, self._last = speed, ZERO
        self._changes: deque[tuple[float, float]] = deque()     # s and squared change

    def add(self, velocity: Vector) -> float:
        """The next wanted velocity, m/s; the mean over the last WINDOW, 0 until that is full."""
        change = dist(velocity, self._last) / (2 * self._speed)
        now, self._last = time.monotonic(), velocity
        self._changes.append((now, min(change, 1.0) ** 2))
        while now - self._changes[0][0] > WINDOW:
            self._changes.popleft()
        if not now - self._changes[0][0] > 0.9 * WINDOW:
            return 0.0
        return sum(change for _, change in self._changes) / len(self._changes)

    def clear(self) -> None:
        """Forget the changes."""
        self._changes.clear()
