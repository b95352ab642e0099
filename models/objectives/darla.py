"""DARLA (Higgins et al. 2017, arXiv:1707.08475): learn to see, then to act on what is seen, then transfer."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..batch import Batch
from ..decoder import Decoder
from ..encoder import Encoder
from ..noise import normal, random_of
from ..objective import Encode, Objective
from .vae import divergence, drawn


class Darla(Objective):
    """Learn to see in three stages, then act on a frozen encoder: denoiser, beta-VAE in its features, policy.

    It counts its updates. First a denoising autoencoder learns to fill in an occluded rectangle; its code is J. Then
    the encoder's latent z is the mean of a beta-VAE whose images are compared by J, which is fixed and sees no
    occlusion: ||J(x') - J(x)||^2 + beta KL. From then on nothing shapes the encoder. Critic and actor read the means
    and shape the encoder in no stage.
    Differs from the paper: the stages follow each other within one training, so the images are those that the agent
    has lived until then instead of a random policy's (explore_steps of the agent keeps them random), and the critic
    learns from the first update on, at first on a latent that still moves. Another objective beside it is not
    stopped from shaping the encoder.
    """

    reads_images: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, action_dim: int, *, beta: float = 1.0, features: int = 100,
                 denoise_updates: int = 5000, vae_updates: int = 10_000):
        """beta: weight of the KL, found by traversals; features: numbers of J; updates of the first two stages."""
        super().__init__(encoder, action_dim)
        if not encoder.projected:
            raise ValueError("darla takes the latent as its code: give the encoder a latent_dim, e.g. 32 (and pool, "
                             "e.g. 4)")
        if not (0 <= beta < float("inf") and denoise_updates >= 0 and vae_updates >= 1):
            raise ValueError(f"darla beta {beta} must be finite and >= 0, denoise_updates {denoise_updates} >= 0, "
                             f"vae_updates {vae_updates} >= 1")
        self.beta, self.ends = beta, (denoise_updates, denoise_updates + vae_updates)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.denoiser = _Denoiser(encoder.channels, encoder.size, features)
        self.log_variance = nn.Linear(encoder.latent_dim, encoder.latent_dim)
        self.decoder = Decoder(encoder.latent_dim, encoder.channels, encoder.size)

    @property
    def stage(self) -> int:
        """0 denoiser, 1 beta-VAE, 2 frozen."""
        return sum(int(self.updates) >= end for end in self.ends)

    def shield(self, z: Tensor) -> Tensor:
        """Without gradient: rewards do not teach to see."""
        return z.detach()

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the stage that it is in; 0 once the encoder is frozen."""
        loss = kl = z.new_zeros(())
        self.denoiser.requires_grad_(self.stage == 0)
        if self.stage == 0:
            images = batch.obs.float() / 255
            filled = self.denoiser.decoder(self.denoiser(_occluded(images, random_of(batch))))
            loss = mse_loss(filled, images)
        elif self.stage == 1:
            log_variance = self.log_variance(z)
            pictures = self.decoder(drawn(z, log_variance, normal(batch, z))).sigmoid()
            error = mse_loss(self.denoiser(pictures), self.denoiser(batch.obs.float() / 255))
            kl = divergence(z, log_variance).sum()
            loss = error + self.beta * kl / self.denoiser.features      # both divided by J's size
        return loss, {"loss": loss, "kl": kl, "stage": z.new_tensor(self.stage)}

    def after_step(self, encoder: nn.Module) -> None:
        """One update nearer to the next stage."""
        self.updates += 1


class _Denoiser(nn.Module):
    """Images in [0, 1] to the code J, and a decoder that fills in what was hidden."""

    def __init__(self, channels: int, size: tuple[int, int], features: int):
        super().__init__()
        self.features = features
        grid = [side // 8 for side in size]
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 4, 2, 1), nn.ELU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ELU(),
            nn.Conv2d(32, 64, 4, 2, 1), nn.ELU(), nn.Flatten(), nn.Linear(64 * grid[0] * grid[1], features))
        self.decoder = Decoder(features, channels, size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F)."""
        return self.layers(images)


def _occluded(images: Tensor, random: torch.Generator) -> Tensor:
    """A rectangle of each image is black: of a quarter to a half of its sides, anywhere."""
    def side(length: int) -> Tensor:
        span = torch.randint(length // 4, length // 2 + 1, (len(images), 1), generator=random)
        start = (torch.rand(len(images), 1, generator=random) * (length - span + 1)).long()
        place = torch.arange(length)
        return ((place >= start) & (place < start + span)).to(images.device)        # (B, length)

    rows, columns = side(images.shape[2]), side(images.shape[3])
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])
