"""Codes back to images: what a reconstruction is drawn by while learning; nothing of it ships."""

from torch import Tensor, nn


class Decoder(nn.Module):
    """A code to planes of an image's size, grown by sub-pixel convolutions (Shi et al. 2016, arXiv:1609.05158)."""

    def __init__(self, inputs: int, planes: int, size: tuple[int, int]):
        """inputs: numbers in the code; planes: masks or colours drawn; size: (H, W) px."""
        super().__init__()
        self.size = size
        grid = tuple(-(-side // 8) for side in size)                    # an eighth of the image, rounded up
        self.layers = nn.Sequential(
            nn.Linear(inputs, 32 * grid[0] * grid[1]), nn.ReLU(inplace=True), nn.Unflatten(1, (32, *grid)),
            nn.Conv2d(32, 64, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(inplace=True),
            nn.Conv2d(16, planes * 16, 3, padding=1), nn.PixelShuffle(4))

    def forward(self, code: Tensor) -> Tensor:
        """(B, inputs) -> (B, planes, H, W), of any sign and size."""
        return self.layers(code)[..., :self.size[0], :self.size[1]]
