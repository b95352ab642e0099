"""IMPALA's residual network (Espeholt et al. 2018, arXiv:1802.01561, fig. 3), in the sizes of Procgen's baselines."""

import torch
from torch import Tensor, nn

from ..heads import orthogonal
from ..sight import Sight


class Impala(Sight):
    """Three stages of a convolution, halving by a maximum, and two residual blocks each.

    Widths (16, 32, 32) are those of Cobbe et al. 2019 (arXiv:1812.02341); their dense layer is latent_dim=256.
    Differs from both: features are projected without a ReLU, so that objectives may use both signs of the latent;
    initial weights are orthogonal, and a block's second convolution begins small, so that six blocks in a row keep
    the scale of their input.
    """

    def __init__(self, channels: int, size: tuple[int, int], *, width: int = 16, pool: int | None = None,
                 latent_dim: int | None = None):
        """size: (H, W) px; width: planes of the first stage, half of the others'; pool: side of the average pooling
        behind the last stage; latent_dim: project to so many numbers.
        """
        super().__init__()
        if min(size) < 16:
            raise ValueError(f"images are {size} px; the impala encoder needs 16 px a side or more")
        self.channels, self.size, self.projected = channels, tuple(size), latent_dim is not None
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, width), (width, 2 * width), (2 * width, 2 * width)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(3, 2, padding=1),
                       Residual(outputs), Residual(outputs)]
        layers.append(nn.ReLU())
        if pool is not None:
            layers.append(nn.AvgPool2d(pool))
        self.stages = nn.Sequential(*layers)
        rows, columns = (-(-side // 8) // (pool or 1) for side in size)
        if min(rows, columns) < 1:
            raise ValueError(f"encoder pool {pool} is larger than what three halvings leave of {size} px")
        flat = 2 * width * rows * columns
        self.projection = nn.Identity() if latent_dim is None else nn.Linear(flat, latent_dim)
        self.latent_dim = flat if latent_dim is None else latent_dim
        self.apply(orthogonal)
        for block in self.stages:
            if isinstance(block, Residual):
                nn.init.orthogonal_(block.second.weight, 0.5)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, D) float32."""
        floats = images.to(torch.float32, memory_format=torch.channels_last) / 255 - 0.5
        return self.projection(self.stages(floats).permute(0, 2, 3, 1).flatten(1))


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), both 3x3."""

    def __init__(self, width: int):
        """width: planes."""
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, planes: Tensor) -> Tensor:
        """(B, W, h, w) -> the same shape."""
        return planes + self.second(torch.relu(self.first(torch.relu(planes))))
