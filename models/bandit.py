"""UCB1 (Auer, Cesa-Bianchi & Fischer 2002) over the last pulls of each arm, as UCB-DrAC chooses its augmentation."""

from collections import deque
from math import log
from typing import Any


class Ucb:
    """Which of some arms to pull: the one whose mean of late and whose rarity together are largest.

    Differs from UCB-DrAC's code: every arm is pulled once before any is pulled again (there counts begin at 1).
    """

    def __init__(self, arms: int, explore: float, window: int):
        """explore: c, what rarity weighs. window: last values of an arm that its mean is over."""
        self.explore = explore
        self.pulls = [0] * arms
        self.values: list[deque[float]] = [deque(maxlen=window) for _ in range(arms)]
        self.arm = -1       # pulled last; -1: none yet

    def choose(self) -> int:
        """The arm to pull now: mean + c sqrt(ln of all pulls / its pulls)."""
        total = sum(self.pulls)
        if 0 in self.pulls:
            self.arm = self.pulls.index(0)
        else:
            scores = [sum(values) / max(1, len(values)) + self.explore * (log(total) / pulls) ** 0.5
                      for values, pulls in zip(self.values, self.pulls, strict=True)]
            self.arm = scores.index(max(scores))
        self.pulls[self.arm] += 1
        return self.arm

    def observe(self, value: float) -> None:
        """What the arm pulled last has earned; nothing to tell before the first."""
        if self.arm >= 0:
            self.values[self.arm].append(value)

    def state_dict(self) -> dict[str, Any]:
        """Numbers and lists."""
        return {"pulls": list(self.pulls), "values": [list(values) for values in self.values], "arm": self.arm}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.pulls, self.arm = list(state["pulls"]), int(state["arm"])
        for values, saved in zip(self.values, state["values"], strict=True):
            values.clear()
            values.extend(saved)
