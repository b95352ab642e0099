"""How smooth a motion is: spectral arc length, and the jerk in units.

Spectral arc length (SPARC): Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet 2015, J NeuroEng Rehabil 12:112. No
unit, not changed by how large a motion is; nearer to 0 is smoother, and a single reach of least jerk is at -1.41.
Differs from theirs: a recording is no single movement, so it is measured in windows, and their mean is told.
"""

from math import ceil, log2

import numpy as np

from .policy.spec import Array

CUT, LEVEL = 10.0, 0.05     # Hz, and share of the largest magnitude: what of a spectrum counts (theirs)
STILL = 0.02                # of the fastest speed: a window that never exceeds it is no motion


def spectral_arc_length(speed: Array, rate: float) -> float:
    """(T,) m/s at `rate` Hz -> SPARC, negative."""
    size = 2 ** (ceil(log2(len(speed))) + 4)
    magnitude = np.abs(np.fft.rfft(speed, size))
    frequency = np.arange(len(magnitude)) * rate / size
    kept = frequency <= min(CUT, rate / 2)
    magnitude, frequency = magnitude[kept] / magnitude.max(), frequency[kept]
    last = int(np.flatnonzero(magnitude >= LEVEL)[-1])
    magnitude, frequency = magnitude[:last + 1], frequency[:last + 1]
    if last == 0:
        return -1.0         # a constant: one step down
    along = np.diff(frequency) / (frequency[-1] - frequency[0])
    return -float(np.sum(np.sqrt(along ** 2 + np.diff(magnitude) ** 2)))


class Smoothness:
    """Of a velocity, window by window."""

    def __init__(self, rate: float, fastest: float):
        """rate: Hz; fastest: m/s that can be."""
        self._rate, self._fastest = rate, fastest
        self.lengths: list[float] = []      # SPARC of each window with motion
        self._squares, self._count = 0.0, 0

    def add(self, velocity: Array) -> None:
        """A window (T, 3) m/s; entries that are no number leave it out."""
        velocity = np.asarray(velocity, float)
        if len(velocity) < 8 or not np.isfinite(velocity).all():
            return
        jerk = np.diff(velocity, 2, axis=0) * self._rate ** 2
        self._squares += float((jerk ** 2).sum())
        self._count += len(jerk)
        speed = np.linalg.norm(velocity, axis=1)
        if speed.max() > STILL * self._fastest:
            self.lengths.append(spectral_arc_length(speed, self._rate))

    @property
    def sparc(self) -> float:
        """Mean over the windows; NaN without any."""
        return float(np.mean(self.lengths)) if self.lengths else np.nan

    @property
    def jerk(self) -> float:
        """Root of the mean square, m/s3; NaN without any."""
        return float(np.sqrt(self._squares / self._count)) if self._count else np.nan
