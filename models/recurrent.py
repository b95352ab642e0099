"""A memory between steps: a GRU (Cho et al. 2014, arXiv:1406.1078), or none."""

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """Features of one step and a state to features that know the past. Size 0 passes features through."""

    def __init__(self, features: int, size: int):
        """size: S, units of the state."""
        super().__init__()
        self.size = size
        self.cell = nn.GRUCell(features, size) if size else None

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F), (B, S) -> (B, S or F) and the state after, (B, S)."""
        if self.cell is None:
            return features, state
        after = self.cell(features, state)
        return after, after

    def along(self, features: Tensor, state: Tensor, ended: Tensor) -> Tensor:
        """L steps: (L, B, F), first state (B, S), (L, B) where an episode ended -> (L, B, S or F)."""
        if self.cell is None:
            return features
        seen = []
        for step, over in zip(features, ended, strict=True):
            state = self.cell(step, state)
            seen.append(state)
            state = state * ~over[:, None]
        return torch.stack(seen)
