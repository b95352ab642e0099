"""Beta-VAE: the latent spends few nats on a picture that holds few, and still tells it."""

import torch

from models.batch import Batch
from models.objectives.vae import Vae

from .check import Check
from .toy import batch_of, encode_by, encoder, learn, squares


def measure() -> Check:
    """Control: beta 0, where nothing is spared."""
    return Check(_nats(4.0), _nats(0.0), 12.0, higher=False,
                 what="nats spent on a picture that holds ln 225 = 5.4 of them, a square's place; control: beta 0")


def _nats(beta: float) -> float:
    """NaN, which passes nothing, if the pictures are not told."""
    eyes = encoder()
    objective = Vae(eyes, 2, beta=beta)
    random = torch.Generator().manual_seed(0)

    def draw(count: int = 64) -> Batch:
        return batch_of(squares(torch.randint(15, (count, 2), generator=random), torch.full((count, 3), 255)))

    learn(eyes, objective, draw, 400, lr=2e-3)
    held_out = draw(256)
    with torch.no_grad():
        _, metrics = objective.loss(held_out, eyes(held_out.obs), encode_by(eyes))
    blank = 0.30        # nats per colour value of the mean picture, 9 % of which is white
    return metrics["kl"].item() if metrics["error"] < blank / 2 else float("nan")
