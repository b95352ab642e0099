"""Latent forward model: the next latent is foretold from latent and action, far better than by "nothing changes"."""

import torch

from models.batch import Batch
from models.objectives.forward import Forward

from .check import Check
from .toy import encode_by, encoder, learn, walk


def measure() -> Check:
    """Control: the same, having learnt with the actions of other steps."""
    return Check(_share_left(shuffled=False), _share_left(shuffled=True), 0.4, higher=False,
                 what="latent error on unseen steps over that of foretelling no change; control: actions shuffled")


def _share_left(shuffled: bool) -> float:
    eyes = encoder()
    objective = Forward(eyes, 2)
    random = torch.Generator().manual_seed(0)

    def draw() -> Batch:
        batch = walk(64, random)
        return batch._replace(action=batch.action.roll(1, 0)) if shuffled else batch

    learn(eyes, objective, draw, 400)
    held_out = walk(256, random)
    with torch.no_grad():
        _, metrics = objective.loss(held_out, eyes(held_out.obs), encode_by(eyes))
    return (metrics["error"] / metrics["copy_error"]).item()
