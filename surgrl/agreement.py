"""Whether two motions go the same way: cosine of their directions, with an interval over blocks of time."""

from typing import NamedTuple

import numpy as np

from .intervals import t_half
from .policy.spec import Array

BLOCK = 2.0         # s; motions of one block are alike, so it counts once
MOVING = 0.1        # of the fastest speed, above which a motion has a direction


class Cosine(NamedTuple):
    """Mean cosine of the angle between two velocities; 1: the same way, 0: no relation, -1: against each other."""

    mean: float
    low: float          # 95 % interval of the mean over blocks (Student)
    high: float
    share: float        # of the ticks with both in motion, that are less than 90 degrees apart
    ticks: int          # with both in motion
    blocks: int


class Agreement:
    """Of two velocities, block by block."""

    def __init__(self, rate: float, fastest: tuple[float, float]):
        """rate: Hz; fastest: m/s, of either."""
        self.ticks = max(2, round(BLOCK * rate))            # of a block
        self._least = [MOVING * speed for speed in fastest]
        self._means: list[float] = []
        self._same, self._count = 0, 0

    def add(self, one: Array, other: Array) -> None:
        """Velocities (T, 3), m/s in the same frame, of some blocks; those of a block that begins here may be fewer."""
        sizes = [np.linalg.norm(velocity, axis=1) for velocity in (one, other)]
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = np.sum(one * other, axis=1) / (sizes[0] * sizes[1])
            moving = (sizes[0] > self._least[0]) & (sizes[1] > self._least[1]) & np.isfinite(cosine)
        for begin in range(0, len(cosine), self.ticks):
            inside = cosine[begin:begin + self.ticks][moving[begin:begin + self.ticks]]
            if len(inside):
                self._means.append(float(inside.mean()))
                self._same += int((inside > 0).sum())
                self._count += len(inside)

    def told(self) -> Cosine | None:
        """None when the two were never in motion together."""
        if not self._means:
            return None
        mean = float(np.mean(self._means))
        half = t_half(np.array(self._means)) if len(self._means) > 1 else np.inf
        return Cosine(mean, max(-1.0, mean - half), min(1.0, mean + half), self._same / self._count, self._count,
                      len(self._means))
