"""A few moments of a recording, evenly spread whatever its length: their pictures and what the network was given."""

from typing import Any, NamedTuple

import cv2
import numpy as np

from .policy.spec import Array

MOST = 24               # moments; when there are more, every other one is dropped
WIDTH = 240             # px, of a picture that is kept


class Moment(NamedTuple):
    """One of them."""

    number: int                 # of the tick
    picture: Array              # (h, WIDTH, 3) uint8 RGB, of the policy's region
    inputs: dict[str, Array]    # of the network, without what a robot tells


class Album:
    """Keeps every n-th moment, n doubled when they become too many: as many for an hour as for a minute."""

    def __init__(self) -> None:
        """Empty."""
        self.every = 1          # ticks from a moment to the next
        self.moments: list[Moment] = []

    def add(self, number: int, view: Array, inputs: dict[str, Array]) -> None:
        """Offer tick `number`: its view (h, w, 3) uint8, and the network's inputs."""
        if number % self.every or not inputs:
            return
        height = round(view.shape[0] * WIDTH / view.shape[1])
        small = np.asarray(cv2.resize(view, (WIDTH, height), interpolation=cv2.INTER_AREA))
        self.moments.append(Moment(number, small, {name: np.array(value) for name, value in inputs.items()}))
        if len(self.moments) > MOST:
            self.every *= 2
            self.moments = [moment for moment in self.moments if moment.number % self.every == 0]

    def memory(self) -> dict[str, Any]:
        """All that it holds, for `recall`."""
        if not self.moments:
            return {"every": self.every, "numbers": []}
        names = list(self.moments[0].inputs)
        return {"every": self.every, "numbers": [moment.number for moment in self.moments],
                "pictures": np.stack([moment.picture for moment in self.moments]),
                "inputs": {name: np.stack([moment.inputs[name] for moment in self.moments]) for name in names}}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on where another stood."""
        self.every = memory["every"]
        self.moments = [Moment(number, memory["pictures"][at], {name: rows[at] for name, rows in
                                                                memory["inputs"].items()})
                        for at, number in enumerate(memory["numbers"])]
