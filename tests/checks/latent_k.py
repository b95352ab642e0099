"""Latent prediction over K steps: five steps on, what was unrolled is nearer than the latent that was copied."""

import torch

from models.batch import Batch
from models.objectives.latent_k import LatentK

from .check import Check
from .toy import batch_of, encode_by, encoder, learn, squares

STEPS = 5


def measure() -> Check:
    """Control: the same, having learnt with the actions of other steps. A collapsed latent passes nothing."""
    return Check(_share_left(shuffled=False), _share_left(shuffled=True), 0.48, higher=False,
                 what="error of the fifth latent over that of copying the first; control: actions shuffled")


def _share_left(shuffled: bool) -> float:
    eyes = encoder()
    objective = LatentK(eyes, 2, copy_every=100, hidden=128, reward_weight=1.0)
    random = torch.Generator().manual_seed(0)

    def draw() -> Batch:
        batch = _walk(107, random)      # 32 of which are encoded
        if shuffled:
            batch.extra["sequence/action"] = batch.extra["sequence/action"].roll(1, 0)
        return batch

    learn(eyes, objective, draw, 499, lr=2e-3)      # the 500th would copy, and what it learnt to meet be gone
    held_out = _walk(256, random)
    with torch.no_grad():
        _, metrics = objective.loss(held_out, eyes(held_out.obs), encode_by(eyes))
    alive = metrics["latent_std"] > 0.1
    return (metrics["last_error"] / metrics["last_copy_error"]).item() if alive else float("nan")


def _walk(count: int, random: torch.Generator) -> Batch:
    """Five steps of a square, each of up to 3 px each way, inside the picture; reward by place.

    The reward matters: latents that foretell only themselves lose their spread here.
    """
    action = torch.randint(-3, 4, (count, STEPS, 2), generator=random)
    start = torch.randint(3, 12, (count, 1, 2), generator=random)
    place = torch.cat([start, start + action.cumsum(1)], dim=1).clamp(0, 14)                # (B, 1 + K, 2)
    images = squares(place.flatten(0, 1), torch.full((count * (STEPS + 1), 3), 255)).unflatten(0, (count, -1))
    reward = place[:, 1:].sum(2, keepdim=True) / 7 - 2
    column = torch.ones(count, STEPS, 1)
    return batch_of(images[:, 0], action[:, 0] / 3, **{
        "sequence/obs": images[:, 1:], "sequence/action": place.diff(dim=1) / 3, "sequence/reward": reward,
        "sequence/alive": column, "sequence/terminal": 0 * column})
