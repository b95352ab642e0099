"""Watches frames as they come and flags what PLATO did not expect, object by object.

It needs a label for every pixel. In simulation the renderer tells it; on a robot a segmentation network has to, one
that keeps apart instrument, target and flap from frame to frame, and whose own mistakes are surprising, too. It looks
on: it stops nothing.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .model import Array, Plato

WARM_UP = 3             # frames in which it flags nothing: nobody knows yet what moves


class Verdict(NamedTuple):
    """Of one frame."""

    surprise: Tensor            # (K,) squared error of each object's code; 0 in the first frame
    flagged: tuple[int, ...]    # labels of the objects that are where they cannot be; none where all is well


class Monitor:
    """Frames at the rate of the films that PLATO learnt from, one after the other."""

    def __init__(self, plato: Plato, thresholds: Tensor):
        """thresholds: (K,), from `calibrate`."""
        if thresholds.shape != (len(plato.labels),) or not bool((thresholds > 0).all()):
            raise ValueError(f"thresholds are {thresholds.tolist()}; they must be {len(plato.labels)} numbers above 0, "
                             "one for each object: see `calibrate`")
        self.plato, self.thresholds = plato.eval(), thresholds
        self.reset()

    @classmethod
    def load(cls, path: str | Path) -> "Monitor":
        """From the file `plato.pt` that `surgrl expect` writes."""
        plato, extras = Plato.load(path)
        if "thresholds" not in extras:
            raise ValueError(f"{path} holds no thresholds; make it with `surgrl expect`")
        return cls(plato, extras["thresholds"])

    def reset(self) -> None:
        """Forget what was seen: the next frame is a first one."""
        self._state: tuple[Tensor, Tensor] | None = None
        self._expected: Tensor | None = None
        self._frames = 0

    @torch.no_grad()
    def look(self, image: Array, labels: Array) -> Verdict:
        """The next frame: (H, W, 3) uint8 RGB, (H, W) uint8."""
        codes = self.plato.encode(image[None], labels[None])                            # (1, K, CODE)
        surprise = torch.zeros(codes.shape[1])
        if self._expected is not None:
            surprise = (self._expected - codes[0]).square().sum(-1)
        expected, self._state = self.plato.dynamics(codes[None], self._state)
        self._expected, self._frames = expected[0, 0], self._frames + 1
        over = surprise > self.thresholds if self._frames > WARM_UP else torch.zeros_like(surprise, dtype=torch.bool)
        return Verdict(surprise, tuple(label for label, high in zip(self.plato.labels, over, strict=True) if high))


def calibrate(plato: Plato, codes: Tensor, share: float) -> Tensor:
    """Thresholds (K,): at most about `share` of possible films like codes (N, T, K, CODE) raise a flag, ever.

    Each object may claim its part of that: its threshold is a quantile of its largest surprise in a film. The films
    must be others than those that PLATO learnt from, which it foretells too well.
    """
    if not 0 < share < 1 or len(codes) * share < len(plato.labels):
        raise ValueError(f"{len(codes)} films for a share of {share}; it must lie in (0, 1), and at least "
                         f"{len(plato.labels)} films must be allowed to raise a flag")
    highest = plato.surprise(codes)[:, WARM_UP - 1:].amax(1)                            # (N, K)
    return highest.quantile(1 - share / len(plato.labels), dim=0)
