"""What the robot's gate of pictures would say of a recording, and how far its pictures are from those of training.

Told, not obeyed: a recording has no operator who could reset a latch, and much of it would be left dark. After a latch
the gate is reset at once, as if somebody had looked.
"""

from typing import Any, NamedTuple

import numpy as np

from .policy.bundle import PolicyBundle
from .policy.image_gate import ImageGate
from .policy.image_limits import ImageLimits
from .policy.profile import STATISTICS
from .policy.spec import Array

RATE = 10.0         # Hz, of looks: a third of what the robot does, at a third of the cost
# The default limits, in looks instead of frames of 30 Hz. Compressed video repeats its pixels where nothing moves: that
# would be taken for a frozen camera, so the check for one is off.
LIMITS = ImageLimits(frozen_frames=0, blank_frames=1, strange_frames=2, good_frames=2)
HEADER = ["picture", "picture_reason", "unlikeness", "oddness"]


class Look(NamedTuple):
    """What is known of the pictures by now."""

    state: str              # ok, hold or latch
    reason: str
    unlikeness: float       # distance of the layout from training's over its limit; NaN: the bundle has no profile
    oddness: float          # the same of the statistics

    def row(self) -> list[str]:
        """Cells under HEADER."""
        told = ("" if np.isnan(value) else f"{value:.4g}" for value in (self.unlikeness, self.oddness))
        return [self.state, self.reason, *told]


class Looks:
    """Looks at the pictures of one recording, in order."""

    def __init__(self, bundle: PolicyBundle, rate: float):
        """rate: Hz, of the ticks."""
        self.profile, self.every = bundle.profile(), max(1, round(rate / RATE))
        self._gate = ImageGate(bundle.image, LIMITS, self.profile)
        self._last = Look("hold", "", np.nan, np.nan)
        self.count, self.unlike, self.odd = 0, 0, 0     # looks; those beyond a limit
        self.sums = np.zeros(len(STATISTICS))           # of the statistics over all looks
        self.outside = np.zeros(len(STATISTICS), int)   # looks at which each was out of training's range

    def look(self, number: int, view: Array, time: float) -> Look:
        """(h, w, 3) uint8 at tick `number` and `time`, s; the last look where none is due."""
        if number % self.every:
            return self._last
        verdict = self._gate.look(view, time)
        if verdict.state == "latch":
            self._gate.reset()
        measures = verdict.measures
        if measures:
            self.count += 1
            self.sums += [measures[name] for name in STATISTICS]
            if self.profile is not None:
                off = self.profile.outside(measures)
                self.outside += [name in off for name in STATISTICS]
                self.unlike += measures["unlikeness"] > 1
                self.odd += measures["oddness"] > 1
        self._last = Look(verdict.state, verdict.reason, measures.get("unlikeness", np.nan),
                          measures.get("oddness", np.nan))
        return self._last

    def memory(self) -> dict[str, Any]:
        """All that it knows, for `recall`."""
        return {"gate": self._gate.memory(), "last": list(self._last), "sums": self.sums.copy(),
                "outside": self.outside.copy(), "counts": [self.count, self.unlike, self.odd]}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on where another stood."""
        self._gate.recall(memory["gate"])
        self._last = Look(*memory["last"])
        self.sums, self.outside = memory["sums"], memory["outside"]
        self.count, self.unlike, self.odd = memory["counts"]
