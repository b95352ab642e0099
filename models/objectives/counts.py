"""#Exploration (Tang et al. 2017, arXiv:1611.04717): pay for rarely met images, counted by a hash."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits

from ..batch import Batch
from ..counting import Counter
from ..decoder import Decoder
from ..encoder import Encoder
from ..noise import random_of
from ..objective import Encode, Objective

SIDE = 32       # px, of the newest frame as it is hashed


class Counts(Objective):
    """Count how often images like this were met, by SimHash of an autoencoder's bits or of pixels; pay for the rare.

    Bonus: scale / sqrt(n), n of the image that a step led to, for the first step of an n-step return (see
    Objective.bonus). Its networks are its own: the encoder is not shaped.
    Differs from the paper: it counts what batches are drawn, not what is lived, so n grows with every learning step,
    in proportion to how much of the memory looks like this; images are hashed one step on, so that an action
    is paid for where it leads; tables have a million cells (there 15 million); the autoencoder draws brightness by a
    Bernoulli likelihood and learns all along (there, at intervals), while its first codes are still counted.
    """

    needs: ClassVar[tuple[str, ...]] = ("successor",)
    reads_images: ClassVar[bool] = True
    shapes_encoder: ClassVar[bool] = False

    def __init__(self, encoder: Encoder, action_dim: int, *, scale: float = 0.01, bits: int = 64,
                 hashed: str = "learnt"):
        """bits: of SimHash, fewer count more images as one; hashed: `learnt`, an autoencoder's bits, or `pixels`."""
        super().__init__(encoder, action_dim)
        if hashed not in HASHED:
            raise ValueError(f"counts hashed {hashed!r} is unknown; allowed: {', '.join(HASHED)}")
        if not (0 <= scale < float("inf") and 1 <= bits <= 256):
            raise ValueError(f"counts scale is {scale}, bits {bits}; scale must be finite and >= 0, bits in 1..256")
        self.scale = scale
        self.hashed, self.counter = HASHED[hashed](), Counter(bits)
        self.register_buffer("directions", torch.randn(self.hashed.numbers, bits))      # A of the paper's eq. 2

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """The autoencoder's, if there is one. The batch is counted."""
        images = small(batch.extra["successor"])
        codes = self._codes(images)
        self.counter.add(codes)
        loss = self.hashed.loss(images, batch)
        return loss, {"loss": loss, "count": self.counter(codes).mean(),
                      "codes": z.new_tensor(len(codes.unique(dim=0)))}

    def bonus(self, batch: Batch, z: Tensor, encode: Encode) -> Tensor:
        """(B, 1), this meeting counted."""
        return self.scale / (self.counter(self._codes(small(batch.extra["successor"]))) + 1).sqrt()

    @torch.no_grad()
    def _codes(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, bits) bool, SimHash (Charikar 2002): on which side of random planes it lies."""
        return self.hashed(images) @ self.directions > 0


def small(images: Tensor) -> Tensor:
    """(B, C, H, W) uint8 -> (B, 3, 32, 32) in [0, 1], the newest frame."""
    return adaptive_avg_pool2d(images[:, -3:].float() / 255, SIDE)


class Pixels(nn.Module):
    """The pixels themselves."""

    numbers = 3 * SIDE ** 2

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, numbers) in [-0.5, 0.5]."""
        return images.flatten(1) - 0.5

    def loss(self, images: Tensor, batch: Batch) -> Tensor:
        """Nothing is learnt."""
        return images.new_zeros(())


class Learnt(nn.Module):
    """An autoencoder's bits: noise on its sigmoid code drives it to 0 and 1 (sec. 2.3 of the paper)."""

    numbers, noise, saturation = 512, 0.3, 10.0     # noise: uniform, to either side; saturation: lambda

    def __init__(self) -> None:
        """Three convolutions and a layer; drawn again by the house's decoder."""
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * (SIDE // 8) ** 2, self.numbers))
        self.decoder = Decoder(self.numbers, 3, (SIDE, SIDE))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, numbers), each 0 or 1."""
        return (self.encode(images) > 0).float()

    def loss(self, images: Tensor, batch: Batch) -> Tensor:
        """Nats per colour value of drawing the image (eq. 3), and of bits that are neither 0 nor 1."""
        bits = self.encode(images).sigmoid()
        noise = torch.rand(bits.shape, generator=random_of(batch)).to(bits.device)
        logits = self.decoder(bits + self.noise * (2 * noise - 1))
        undecided = torch.minimum(bits.square(), (1 - bits).square()).mean()
        return binary_cross_entropy_with_logits(logits, images) + self.saturation * undecided / images[0].numel()


HASHED = {"learnt": Learnt, "pixels": Pixels}
