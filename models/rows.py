"""A share of a batch, for methods that would have to encode much more for each moment of all of it."""

import torch
from torch import Tensor


class Rows:
    """Which rows of a batch a method takes: at least two, evenly over it, as demonstrations may stand at its end."""

    def __init__(self, name: str, share: float):
        """share: above 0 and at most 1, the whole batch. ValueError, that names the method, for another one."""
        if not 0 < share <= 1:
            raise ValueError(f"{name} share is {share}; it must be above 0 and at most 1, the whole batch")
        self.share = share

    def __call__(self, z: Tensor) -> Tensor:
        """(B, D) -> (N,) numbers of rows."""
        return torch.linspace(0, len(z) - 1, max(2, round(self.share * len(z))), device=z.device).long()
