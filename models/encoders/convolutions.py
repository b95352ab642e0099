"""The four convolutions of DrQ-v2's encoder by themselves, as any run leaves them behind, for frozen use."""

from typing import ClassVar

from torch import Tensor, nn


class Convolutions(nn.Module):
    """3x3 convolutions with ReLU, named as in models/encoder.py; of one frame, so of runs with image.stack=1."""

    layers: ClassVar[tuple[str, ...]] = ("1", "2", "3", "4")
    averaged: ClassVar[tuple[str, ...]] = ()
    spare: ClassVar[tuple[str, ...]] = ("projection.",)
    side: ClassVar[int | None] = None               # images as they come
    normalise: ClassVar[str] = "centred"

    def __init__(self, width: int = 32):
        """width: planes of each."""
        super().__init__()
        built: list[nn.Module] = []
        for inputs, stride in ((3, 2), (width, 1), (width, 1), (width, 1)):
            built += [nn.Conv2d(inputs, width, 3, stride), nn.ReLU()]
        self.convolutions = nn.Sequential(*built)

    def forward(self, images: Tensor, wanted: str) -> dict[str, Tensor]:
        """(B, 3, H, W) float -> name to (B, C, h, w), of each layer that is wanted, e.g. "34"."""
        found = {}
        for k in range(int(max(wanted))):
            images = self.convolutions[2 * k + 1](self.convolutions[2 * k](images))
            found[str(k + 1)] = images
        return {name: found[name] for name in wanted}
