"""Predictive-model bonus: on a loop that repeats itself nothing stays surprising. Noise does: the known flaw."""

import torch

from models.batch import Batch
from models.objectives.stadie import Stadie

from .check import Check
from .toy import batch_of, encode_by, encoder, learn, squares


def measure() -> Check:
    """Control: the square jumps anywhere instead of going around."""
    return Check(_surprise(jumps=False), _surprise(jumps=True), 0.1, higher=False,
                 what="surprise on a deterministic loop over the largest ever; control: a square that jumps at random")


def _surprise(jumps: bool) -> float:
    eyes = encoder()
    objective = Stadie(eyes, 2, decay=0.0)
    random = torch.Generator().manual_seed(0)
    corners = torch.tensor([[0, 0], [0, 7], [0, 14], [7, 14], [14, 14], [14, 7], [14, 0], [7, 0]])
    white = torch.full((32, 3), 255)

    def draw() -> Batch:
        now = torch.randint(8, (32,), generator=random)
        after = torch.randint(8, (32,), generator=random) if jumps else (now + 1) % 8
        return batch_of(squares(corners[now], white), torch.zeros(32, 2), successor=squares(corners[after], white))

    learn(eyes, objective, draw, 400)
    batch = draw()
    with torch.no_grad():
        return objective.bonus(batch, eyes(batch.obs), encode_by(eyes)).mean().item() / objective.scale
