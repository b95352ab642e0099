"""DEAR's agent half moves when the agent moves and rests when the world does.

A linear probe would prove nothing here: it reads either square from any half of any encoder.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.encoder import Encoder
from models.objectives.dear import Dear

from .check import Check

SIDE, SQUARE = 16, 5        # px
ROOM = SIDE - SQUARE        # places along a side
PLAIN = {"mask_weight": 0.0, "separation": "none", "isolate": False, "bottleneck": 0.0}     # the critic alone


class Learnt(NamedTuple):
    """What came of a training, and the last batch's metrics."""

    encoder: Encoder
    metrics: dict[str, float]


class Seen(NamedTuple):
    """The two fields of a Batch that an objective on images reads."""

    obs: Tensor
    extra: dict[str, Tensor]


def measure() -> Check:
    """Selectivity of the agent's half."""
    return Check(selectivity(learn().encoder), selectivity(learn(**PLAIN).encoder), 50.0,
                 "how far the agent's half moves with the agent, over how far with the world; control: the same "
                 "encoder under the value loss alone")


def learn(steps: int = 400, **options: float | str | bool) -> Learnt:
    """Two squares that move by themselves; the mask shows the first. After `steps` updates."""
    torch.manual_seed(0)
    encoder = Encoder(3, (SIDE, SIDE), width=8, latent_dim=32)
    dear = Dear(encoder, 2, **options)
    optimiser = torch.optim.Adam([*encoder.parameters(), *dear.parameters()], 2e-3)
    where = torch.Generator().manual_seed(1)
    for _ in range(steps):
        agent, world = torch.randint(ROOM, (2, 32, 2), generator=where)
        images, masks = squares(agent, world)
        z = encoder(images)
        loss, metrics = dear.loss(Seen(images, {"mask": masks}), z, encoder)
        # Beside DEAR stands a stand-in for the critic, which needs both squares.
        z = dear.shield(z)
        loss = loss + (z[:, :4] + z[:, -4:] - torch.cat([agent, world], 1) / 10).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Learnt(encoder, {name: value.item() for name, value in metrics.items()})


def squares(agent: Tensor, world: Tensor) -> tuple[Tensor, Tensor]:
    """Places (B, 2) of both -> images (B, 3, H, W) and masks (B, 1, H, W) of the agent, uint8."""
    images, masks = torch.zeros(len(agent), 3, SIDE, SIDE), torch.zeros(len(agent), 1, SIDE, SIDE, dtype=torch.uint8)
    for image, mask, (ay, ax), (wy, wx) in zip(images, masks, agent.tolist(), world.tolist(), strict=True):
        image[1, wy:wy + SQUARE, wx:wx + SQUARE] = 255
        image[:, ay:ay + SQUARE, ax:ax + SQUARE] = torch.tensor([255.0, 0, 0])[:, None, None]
        mask[:, ay:ay + SQUARE, ax:ax + SQUARE] = 1
    return images.to(torch.uint8), masks


def selectivity(encoder: Encoder) -> float:
    """How much more the agent's half moves when the agent moves than when the world does."""
    where = torch.Generator().manual_seed(2)
    agent, world, elsewhere = torch.randint(ROOM, (3, 200, 2), generator=where)
    with torch.no_grad():
        still, own, other = (encoder(squares(a, w)[0]).chunk(2, dim=1)[1]
                             for a, w in ((agent, world), (elsewhere, world), (agent, elsewhere)))
    return ((own - still).square().mean() / (other - still).square().mean()).item()
