"""Random convolution (Lee et al. 2020, arXiv:1910.05396) and overlay (Hansen & Wang 2021, arXiv:2011.13389)."""

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from ..augment import Augment

PICTURES = 64       # that overlay has to choose from


class Conv(Augment):
    """Random convolution: 3x3 weights drawn anew for every picture, its frames filtered alike (Lee et al. 2020)."""

    def draw(self, count: int) -> Tensor:
        """(B, 3, 3, 3, 3): Xavier's normal weights, as in the paper."""
        return torch.randn(count, 3, 3, 3, 3, generator=self.generator) * (2 / (27 + 27)) ** 0.5

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """255 sigmoid(weights * image / 255), black around the picture."""
        filtered = torch.empty_like(images, memory_format=torch.channels_last)
        weights = (params / 255).to(images.device)
        for target, image, weight in zip(filtered, images, weights, strict=True):   # one by one: it stays cached
            frames = image.unflatten(0, (-1, 3)).float()                                # (stack, 3, H, W)
            target.copy_(conv2d(frames, weight, padding=1).sigmoid_().mul_(255).round_().flatten(0, 1))
        return filtered


class Overlay(Augment):
    """Overlay: half of what is seen is another picture, the same in all frames (SODA, SVEA).

    Differs from SVEA (arXiv:2107.00644), which lays photographs of places over it: these are clouds of many colours
    and grains, drawn once from a fixed seed, so that nothing needs to be downloaded.
    """

    def draw(self, count: int) -> Tensor:
        """(B,): which of the pictures."""
        return torch.randint(PICTURES, (count,), generator=self.generator)

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """The mean of both."""
        pictures = clouds(images.shape[2], images.shape[3]).repeat(1, images.shape[1] // 3, 1, 1) >> 1
        laid = images.contiguous(memory_format=torch.channels_last) >> 1
        # As NHWC both lie as they are picked and added: one copy, no strides.
        picked = pictures.permute(0, 2, 3, 1).contiguous()[params]                      # (B, H, W, C)
        return laid.add_(picked.permute(0, 3, 1, 2).to(images.device))


@cache
def clouds(height: int, width: int) -> Tensor:
    """(PICTURES, 3, height, width) uint8, channels_last: smooth noise of several grains in each colour."""
    random, total = torch.Generator().manual_seed(0), torch.zeros(PICTURES, 3, height, width)
    for grains in (2, 4, 8, 16):
        noise = torch.randn(PICTURES, 3, grains, grains, generator=random)
        total += interpolate(noise, (height, width), mode="bicubic", align_corners=False)
    low, high = (end(total.flatten(2), dim=2)[..., None, None] for end in (torch.amin, torch.amax))
    return (255 * (total - low) / (high - low)).to(torch.uint8).contiguous(memory_format=torch.channels_last)
