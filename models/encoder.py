"""Images to latents: the convolutions of DrQ-v2 (Yarats et al. 2021), DEAR's pooled projection on top; and DVC's."""

import torch
from torch import Tensor, nn

from .heads import orthogonal
from .sight import Sight

LUMA = 0.299, 0.587, 0.114      # Rec. 601, as cameras and DVC's own image processing weigh red, green and blue


class Encoder(Sight):
    """Four 3x3 convolutions; then the flat features (DrQ-v2), or pooled and projected ones (DEAR).

    Differs from the released code: flat features are ordered row, column, channel, which spares a copy.
    """

    def __init__(self, channels: int, size: tuple[int, int], *, width: int = 32, pool: int | None = None,
                 latent_dim: int | None = None):
        """size: (H, W) px; pool: side of the average pooling; latent_dim: project to so many numbers."""
        super().__init__()
        if min(size) < 16:
            raise ValueError(f"images are {size} px; the encoder needs 16 px a side or more")
        self.channels, self.size, self.projected = channels, tuple(size), latent_dim is not None
        layers: list[nn.Module] = []
        for inputs, stride in ((channels, 2), (width, 1), (width, 1), (width, 1)):
            layers += [nn.Conv2d(inputs, width, 3, stride), nn.ReLU(inplace=True)]
        if pool is not None:
            layers.append(nn.AvgPool2d(pool))
        self.convolutions = nn.Sequential(*layers)
        rows, columns = (_left(side, pool) for side in size)
        if min(rows, columns) < 1:
            raise ValueError(f"encoder pool {pool} is larger than what the convolutions leave of {size} px")
        flat = width * rows * columns
        self.projection = nn.Identity() if latent_dim is None else nn.Linear(flat, latent_dim)
        self.latent_dim = flat if latent_dim is None else latent_dim
        self.register_buffer("offset", torch.tensor(-0.5), persistent=False)
        self.apply(orthogonal)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, D) float32."""
        floats = images.to(torch.float32, memory_format=torch.channels_last)
        floats = torch.add(self.offset, floats, alpha=1 / 255)          # x / 255 - 0.5 in one pass
        features = self.convolutions(floats)                            # (B, width, h, w)
        return self.projection(features.permute(0, 2, 3, 1).flatten(1))


class Simple(Sight):
    """Two convolutions on brightness alone: ML-Agents' `simple` encoder, which DVC's agents see through."""

    def __init__(self, channels: int, size: tuple[int, int], *, width: int = 16, grey: bool = True):
        """size: (H, W) px. width: of the first convolution, half of the second's. grey: drop the colours."""
        super().__init__()
        if min(size) < 36:
            raise ValueError(f"images are {size} px; the simple encoder needs 36 px a side or more")
        self.channels, self.size, self.grey = channels, tuple(size), grey
        planes = channels // 3 if grey else channels
        self.convolutions = nn.Sequential(nn.Conv2d(planes, width, 8, 4), nn.ELU(inplace=True),
                                          nn.Conv2d(width, 2 * width, 4, 2), nn.ELU(inplace=True))
        rows, columns = (((side - 8) // 4 + 1 - 4) // 2 + 1 for side in size)
        self.latent_dim = 2 * width * rows * columns
        self.apply(orthogonal)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, D) float32."""
        if self.grey:       # plane by plane: a product with all three at once takes seven times as long
            red, green, blue = images.unflatten(1, (-1, 3)).unbind(2)
            floats = red.float() * (LUMA[0] / 255) - 0.5
            floats = torch.add(torch.add(floats, green, alpha=LUMA[1] / 255), blue, alpha=LUMA[2] / 255)
        else:
            floats = images.float() / 255 - 0.5
        return self.convolutions(floats).flatten(1)


def _left(side: int, pool: int | None) -> int:
    """Pixels that are left of `side` after the convolutions and the pooling."""
    left = (side - 3) // 2 + 1 - 3 * 2
    return left if pool is None else left // pool
