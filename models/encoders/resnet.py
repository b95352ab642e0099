"""ResNet-18, 34 and 50 (He et al. 2016, arXiv:1512.03385) without the classifier, for frozen use.

Parameters are named as in torchvision, so that its weights files fit; the stride of a bottleneck lies on its 3x3
convolution, as there (the paper has it on the first 1x1).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, max_pool2d

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}     # blocks of each stage


class ResNet(nn.Module):
    """A stem and four stages; the stages' maps are conv2 to conv5 in the paper's table 1."""

    layers: ClassVar[tuple[str, ...]] = ("2", "3", "4", "5")
    averaged: ClassVar[tuple[str, ...]] = ("5",)        # maps that are averaged over the image, as before a classifier
    spare: ClassVar[tuple[str, ...]] = ("fc.",)
    side: ClassVar[int] = 224                           # px
    normalise: ClassVar[str] = "imagenet"

    def __init__(self, depth: int):
        """depth: 18, 34 or 50. First weights are random."""
        super().__init__()
        wide = 4 if depth == 50 else 1
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), FixedNorm(64)
        inputs = 64
        for stage, blocks in enumerate(DEPTHS[depth]):
            width = 64 * 2 ** stage
            built = []
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                built.append((Bottleneck if wide > 1 else Basic)(inputs, width, stride))
                inputs = width * wide
            self.add_module(f"layer{stage + 1}", nn.Sequential(*built))

    def forward(self, images: Tensor, wanted: str) -> dict[str, Tensor]:
        """(B, 3, H, W) float -> name to (B, C, h, w), of each layer that is wanted, e.g. "345"."""
        planes = torch.relu(self.bn1(self.conv1(images)))
        planes = max_pool2d(planes, 3, 2, 1)
        found = {}
        for name in self.layers:
            if name <= max(wanted):
                planes = self.get_submodule(f"layer{int(name) - 1}")(planes)
                found[name] = planes
        return {name: found[name] for name in wanted}


class FixedNorm(nn.Module):
    """Batch normalisation as it stands after training: buffers alone, which nothing can change."""

    def __init__(self, width: int, scale: float = 1.0):
        """width: planes."""
        super().__init__()
        self.register_buffer("weight", torch.full((width,), scale))
        self.register_buffer("bias", torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return batch_norm(planes, self.running_mean, self.running_var, self.weight, self.bias)


class Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int):
        """inputs, width: planes."""
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), FixedNorm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), FixedNorm(width, QUIET)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, width, h / stride, w / stride)."""
        inner = torch.relu(self.bn1(self.conv1(planes)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.downsample(planes))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int):
        """inputs: planes; width: planes of the inner convolution, a quarter of those that come out."""
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), FixedNorm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), FixedNorm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), FixedNorm(4 * width, QUIET)
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, 4 width, h / stride, w / stride)."""
        inner = torch.relu(self.bn1(self.conv1(planes)))
        inner = torch.relu(self.bn2(self.conv2(inner)))
        return torch.relu(self.bn3(self.conv3(inner)) + self.downsample(planes))


QUIET = 0.2     # of random weights: a block adds this much of itself, so that sixteen in a row keep the scale


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), FixedNorm(outputs))
