"""PLATO's perception (Piloto et al. 2022, doi 10.1038/s41562-022-01394-8): an object's picture to a code and back.

For each object k: ||(x_k, m_k) - theta(phi(x m_k, m_k))||^2, plus a KL term that keeps codes compact. Learnt first,
frozen then.

Differs from the paper: pictures are halved first, for two CPU cores; the mask's error is a cross entropy; an object's
own pixels weigh more the fewer they are, since a marker of twenty pixels is else left out for long.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

CODE = 16           # numbers of a code, Piloto et al. 2022
SIDE = 64           # px of the square pictures, as in the paper
HALF = SIDE // 2
SPREAD = 0.2        # standard deviation of a colour, in [0, 1], about what is decoded: weighs pictures against masks


class Perception(nn.Module):
    """phi and theta. The code is the mean of phi's normal distribution; the drawn one trains only."""

    def __init__(self, *, width: int = 24):
        """width: of the first convolution, half of the others'."""
        super().__init__()
        wide = 2 * width
        self.phi = nn.Sequential(
            nn.Conv2d(6, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, wide, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(wide, wide, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(wide * 16, 2 * CODE))
        self.theta = nn.Sequential(
            nn.Linear(CODE, wide * 16), nn.ReLU(), nn.Unflatten(1, (wide, 4, 4)),
            nn.ConvTranspose2d(wide, wide, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(wide, width, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(width, 4, 4, 2, 1))
        line = torch.linspace(-1, 1, HALF)
        place = torch.stack([line.expand(HALF, HALF), line[:, None].expand(HALF, HALF)])
        self.register_buffer("place", place, persistent=False)      # (2, h, w): where a pixel is, for the convolutions

    def forward(self, objects: Tensor) -> Tensor:
        """(B, 4, H, W) in [0, 1], masked RGB and mask -> codes (B, CODE)."""
        return self._distribution(functional.avg_pool2d(objects, 2))[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, CODE) -> (B, 4, H/2, W/2) in [0, 1]: masked RGB and the mask's probability."""
        return self.theta(codes).sigmoid()

    def loss(self, objects: Tensor, noise: Tensor) -> Tensor:
        """Negative evidence bound of (B, 4, H, W), its mean over B; noise: standard normal (B, CODE)."""
        seen = functional.avg_pool2d(objects, 2)
        mean, log_variance = self._distribution(seen)
        drawn = self.theta(mean + noise * (log_variance / 2).exp())
        own = seen[:, 3]                                                                # (B, h, w)
        size = own.sum((1, 2)).clamp(1)
        weight = 1 + own * (((HALF ** 2 - size).clamp(1) / size).sqrt() - 1)[:, None, None]
        mask = functional.binary_cross_entropy_with_logits(drawn[:, 3], own, reduction="none")
        picture = (drawn[:, :3].sigmoid() - seen[:, :3]).square().sum(1) / (2 * SPREAD ** 2)
        kl = (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2
        return (((mask + picture) * weight).sum((1, 2)) + kl).mean()

    def _distribution(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        located = torch.cat([seen, self.place.expand(len(seen), -1, -1, -1)], dim=1)
        mean, log_variance = self.phi(located).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 4)
