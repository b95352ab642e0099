"""Quarter turns of the image: what they do to latents and actions, and heads that follow them exactly.

A head is made symmetric by averaging it over the group (Puny et al. 2022, arXiv:2110.03336, eq. 2 with the whole
group as the frame), so that any head will do.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Turns(nn.Module):
    """The group C4 on a latent in the regular representation, and on actions of which some entries are a vector."""

    def __init__(self, fields: int, grid: tuple[int, int], action_dim: int, pairs: Sequence[int]):
        """fields: N; grid: (h, w) of the latent's (N, 4, h, w).

        pairs: entries of the action that point to the image's right and bottom, two and two; others do not turn.
        """
        super().__init__()
        self.shape = fields, 4, *grid
        quarter = torch.eye(action_dim)
        for right, down in zip(pairs[::2], pairs[1::2], strict=True):   # what pointed right points up, down right
            quarter[right, right] = quarter[down, down] = 0
            quarter[right, down], quarter[down, right] = 1, -1
        turns = torch.stack([torch.linalg.matrix_power(quarter, k) for k in range(4)])
        self.register_buffer("turns", turns, persistent=False)          # (4, A, A), counterclockwise as seen

    def latents(self, z: Tensor) -> Tensor:
        """(B, D) -> (4B, D): as the encoder would see the image turned by 0, 1, 2 and 3 quarters."""
        features = z.unflatten(1, self.shape)                           # (B, N, 4, h, w)
        return torch.cat([turned(features, k).flatten(1) for k in range(4)])

    def actions(self, action: Tensor) -> Tensor:
        """(B, A) -> (4B, A), turned likewise."""
        return torch.cat([action @ turn.T for turn in self.turns])

    def back(self, actions: Tensor) -> Tensor:
        """(4B, A) of the four turns -> (B, A), each turned back, then their mean."""
        return (actions.unflatten(0, (4, -1)) @ self.turns).mean(0)

    def back_spread(self, spreads: Tensor) -> Tensor:
        """(4B, A) spreads along the entries: they change places and have no sign."""
        return (spreads.unflatten(0, (4, -1)) @ self.turns.abs()).mean(0)


def turned(features: Tensor, quarters: int) -> Tensor:
    """(B, N, 4, h, w), N fields in the regular representation, as a turn of the image permutes them."""
    return torch.rot90(features.roll(quarters, 2), quarters, (3, 4))


class SymmetricActor(nn.Module):
    """An actor whose action turns with the image."""

    def __init__(self, inner: nn.Module, turns: Turns):
        """inner: (B, D), (B, 0) -> (B, A)."""
        super().__init__()
        self.inner, self.turns = inner, turns

    def forward(self, z: Tensor, proprio: Tensor) -> Tensor:
        """(B, D), (B, 0) -> (B, A) in (-1, 1)."""
        many = self.turns.latents(z)
        return self.turns.back(self.inner(many, many[:, :0]))


class SymmetricGaussian(nn.Module):
    """An actor with a spread, both of which turn with the image."""

    def __init__(self, inner: nn.Module, turns: Turns):
        """inner: has before_squashing."""
        super().__init__()
        self.inner, self.turns = inner, turns

    def before_squashing(self, z: Tensor, proprio: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, 0) -> mean and log of the spread, (B, A) each."""
        many = self.turns.latents(z)
        mean, log_std = self.inner.before_squashing(many, many[:, :0])
        return self.turns.back(mean), self.turns.back_spread(log_std)

    def forward(self, z: Tensor, proprio: Tensor) -> Tensor:
        """(B, D), (B, 0) -> (B, A) in (-1, 1)."""
        return torch.tanh(self.before_squashing(z, proprio)[0])


class SymmetricCritic(nn.Module):
    """A critic that values an action in an image as much as the turned action in the turned image."""

    def __init__(self, inner: nn.Module, turns: Turns):
        """inner: (B, D), (B, 0), (B, A) -> two (B, 1)."""
        super().__init__()
        self.inner, self.turns = inner, turns

    def forward(self, z: Tensor, proprio: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, 0), (B, A) -> two (B, 1)."""
        many = self.turns.latents(z)
        values = self.inner(many, many[:, :0], self.turns.actions(action))
        first, second = (value.unflatten(0, (4, -1)).mean(0) for value in values)
        return first, second
