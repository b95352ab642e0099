"""SAC-AE: images it never saw are drawn again from a small code, far better than by the mean image."""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from models.batch import Batch
from models.encoder import Encoder
from models.objectives.autoencoder import Autoencoder, coarse

from .check import Check
from .toy import batch_of, encode_by, encoder, learn, squares


def measure() -> Check:
    """Control: the same with the latents of a batch in another order, so that nothing beats the mean image."""
    return Check(_share_left(encoder()), _share_left(_Shuffled(encoder())), 0.5, higher=False,
                 what="squared error on unseen images over that of the mean image; control: latents shuffled")


class _Shuffled(nn.Module):
    """Every image gets the latent of another."""

    def __init__(self, eyes: Encoder):
        super().__init__()
        self.eyes = eyes
        self.latent_dim, self.channels, self.size = eyes.latent_dim, eyes.channels, eyes.size

    def forward(self, images: Tensor) -> Tensor:
        return self.eyes(images).roll(1, 0)


def _share_left(eyes: nn.Module) -> float:
    objective = Autoencoder(eyes, 2)
    random = torch.Generator().manual_seed(0)

    def draw(count: int = 64) -> Batch:
        place = torch.randint(15, (count, 2), generator=random)
        return batch_of(squares(place, torch.randint(64, 256, (count, 3), generator=random)))

    learn(eyes, objective, draw, 400, lr=3e-3)
    held_out = draw(256)
    with torch.no_grad():
        _, metrics = objective.loss(held_out, eyes(held_out.obs), encode_by(eyes))
    images = coarse(held_out.obs)
    return metrics["error"].item() / mse_loss(images.mean(0).expand_as(images), images).item()
