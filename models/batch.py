"""The one shape in which experience reaches a learner."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """B transitions; C = 3 x stack colour planes, A = action size, P = proprio size (may be 0), n = steps of
    return (fewer where the episode ends sooner).

    Images are NCHW in shape and NHWC in memory (torch.channels_last): the convolutions are faster so. A memory that
    keeps features of a frozen encoder gives (B, stack x F, 1, 1) float32 wherever images are named.
    """

    obs: Tensor                 # (B, C, H, W) uint8 RGB, newest frame last
    proprio: Tensor             # (B, P) float32
    action: Tensor              # (B, A) float32 in [-1, 1]
    reward: Tensor              # (B, 1) float32, discounted sum over n steps
    discount: Tensor            # (B, 1) float32, gamma**n, and 0 after a true terminal
    next_obs: Tensor            # (B, C, H, W) uint8, n steps later
    next_proprio: Tensor        # (B, P) float32
    extra: dict[str, Tensor]    # what was asked for by name: see EpisodeMemory.sample

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device; itself when it is already there."""
        if self.obs.device == device:
            return self
        extra = {name: value.to(device, non_blocking=True) for name, value in self.extra.items()}
        return Batch(*(value.to(device, non_blocking=True) for value in self[:-1]), extra)
