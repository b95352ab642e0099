"""A frozen, pretrained encoder with a choice of layers: PVR (Parisi et al. 2022, arXiv:2203.03580)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ..heads import orthogonal
from ..sight import Sight
from .convolutions import Convolutions
from .resnet import ResNet
from .weights import fill, read_weights

Array = NDArray[Any]
NETWORKS: dict[str, Callable[[], nn.Module]] = {"resnet18": partial(ResNet, 18), "resnet34": partial(ResNet, 34),
                                                "resnet50": partial(ResNet, 50), "drqv2": Convolutions}
# Mean and spread of a pixel in [0, 1], red, green, blue: of ImageNet's training set, and of DrQ-v2's x / 255 - 0.5.
PIXELS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "centred": ((0.5,) * 3, (1.0,) * 3)}


class Frozen(Sight):
    """Pretrained layers that never learn, each frame of a stack by itself; a linear projection on top may learn.

    Differs from the paper: early maps are pooled and brought to about 2048 numbers by a fixed random 1x1 convolution
    (there: by a block trained with MoCo, which nobody hands out under a free licence); images are resized whole
    (there: to 256 px, then cropped to 224).
    """

    def __init__(self, channels: int, size: tuple[int, int], *, network: str = "resnet18", weights: str = "",
                 sha256: str = "", licence: str = "", layers: str | None = None, pool: int = 2, numbers: int = 2048,
                 side: int | None = None, normalise: str | None = None, latent_dim: int | None = None,
                 cached: bool = False):
        """size: (H, W) px of the images. weights: a state_dict's file, whose sha256 and licence must be named here;
        `random`: none, drawn by the seed, which is the control.

        layers: e.g. "5", or "345" for all three side by side; None: the last. pool: side of the pooling of maps.
        numbers: that a map may keep, roughly. side: px that images are resized to; None: what the network was made
        for. normalise: imagenet or centred; None: likewise. latent_dim: a projection that learns; None: none.
        cached: the memory keeps features in place of frames, so images cannot be augmented.
        """
        super().__init__()
        if min(size) < 16:
            raise ValueError(f"images are {size} px; the frozen encoder needs 16 px a side or more")
        if network not in NETWORKS:
            raise ValueError(f"encoder network {network!r} is unknown; there are: {', '.join(NETWORKS)}")
        if not weights:
            raise ValueError("the frozen encoder needs weights: the path of a state_dict's file, with sha256 and "
                             "licence beside it (or weights: random, the control)")
        self.channels, self.size, self.projected, self.cached = channels, tuple(size), latent_dim is not None, cached
        self.stack = channels // 3
        if weights == "random":
            self.network = NETWORKS[network]().apply(_random)
        else:
            state = read_weights(weights, sha256=sha256, licence=licence)
            self.network = _fitting(network, state)
            fill(self.network, state, path=weights, name=network, spare=self.network.spare)
        allowed = self.network.layers
        layers = allowed[-1] if layers is None else layers
        if not layers or set(layers) - set(allowed) or len(set(layers)) != len(layers):
            raise ValueError(f"encoder layers {layers!r}: name some of {network}'s {', '.join(allowed)}, each once, "
                             f"e.g. {''.join(allowed[-2:])!r}")
        normalise = self.network.normalise if normalise is None else normalise
        if normalise not in PIXELS:
            raise ValueError(f"encoder normalise {normalise!r} is unknown; allowed: {', '.join(PIXELS)}")
        if not (pool >= 1 and numbers >= 1 and (side is None or side >= 16)):
            raise ValueError(f"encoder pool {pool} and numbers {numbers} must be >= 1, side {side} at least 16 px")
        self.layers, self.pool = layers, pool
        wanted = self.network.side if side is None else side
        self.resized = self.size if wanted is None else (wanted, wanted)
        mean, spread = (torch.tensor(values).view(3, 1, 1) for values in PIXELS[normalise])
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("spread", spread, persistent=False)
        self.squeeze = nn.ModuleDict(self._squeezes(numbers))
        self.requires_grad_(False)
        self.feature_dim = self.stack * self.embed(np.zeros((*size, 3), np.uint8)).size
        self.projection = nn.Identity() if latent_dim is None else nn.Linear(self.feature_dim, latent_dim)
        self.projection.apply(orthogonal)
        self.latent_dim = self.feature_dim if latent_dim is None else latent_dim

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8, or (B, stack x F, 1, 1) features as a memory keeps them -> (B, D) float32."""
        if images.shape[2:] == (1, 1):
            return self.projection(images.flatten(1))
        frames = images.unflatten(1, (self.stack, 3)).flatten(0, 1)             # (B x stack, 3, H, W)
        return self.projection(self._features(frames).unflatten(0, (-1, self.stack)).flatten(1))

    @torch.inference_mode()
    def embed(self, frame: Array) -> Array:
        """(H, W, 3) uint8 -> (F,) float32: what a memory keeps of a frame."""
        image = torch.as_tensor(frame, device=self.mean.device).permute(2, 0, 1)[None]
        return self._features(image)[0].cpu().numpy()

    def _features(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, F): all layers side by side."""
        seen = []
        for name, planes in self._maps(frames).items():
            if name in self.network.averaged:
                seen.append(planes.mean((2, 3)))
            else:
                seen.append(self.squeeze[name](avg_pool2d(planes, self.pool)).flatten(1))
        return torch.cat(seen, 1)

    def _maps(self, frames: Tensor) -> dict[str, Tensor]:
        floats = (frames.float() / 255 - self.mean) / self.spread
        if floats.shape[2:] != self.resized:
            floats = interpolate(floats, self.resized, mode="bilinear", align_corners=False)
        return self.network(floats, self.layers)

    @torch.no_grad()
    def _squeezes(self, numbers: int) -> dict[str, nn.Module]:
        """For each map that is kept: a random convolution, the same for every run, or nothing where it is small."""
        found: dict[str, nn.Module] = {}
        for name, planes in self._maps(torch.zeros(1, 3, *self.size)).items():
            width, rows, columns = planes.shape[1:]
            cells = (rows // self.pool) * (columns // self.pool)
            if name in self.network.averaged:
                continue
            if cells == 0:
                raise ValueError(f"encoder pool {self.pool} is larger than the {rows}x{columns} map of layer {name}; "
                                 "lower it, or raise side")
            kept = -(-numbers // cells)         # of 14x14 cells 11 planes, of 7x7 42, as in the paper's code
            if kept >= width:
                found[name] = nn.Identity()
                continue
            found[name] = nn.Conv2d(width, kept, 1, bias=False)
            nn.init.orthogonal_(found[name].weight, generator=torch.Generator().manual_seed(0))
        return found


def _random(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):       # not orthogonal: of a ResNet-50 that takes seconds
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _fitting(network: str, state: dict[str, Tensor]) -> nn.Module:
    """The network that the weights are for; DrQ-v2's convolutions come in any width."""
    first = state.get("convolutions.0.weight")
    return Convolutions(len(first)) if network == "drqv2" and first is not None else NETWORKS[network]()
