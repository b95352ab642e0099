"""A toy that checks learn on: coloured squares on a dark ground, and the loop that trains an objective alone."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.batch import Batch
from models.encoder import Encoder
from models.objective import Objective

SIDE, SQUARE = 20, 6        # px


def encoder(latent_dim: int = 16) -> Encoder:
    """A small one for these images, the same at every call."""
    torch.manual_seed(0)
    return Encoder(3, (SIDE, SIDE), width=16, latent_dim=latent_dim)


def squares(place: Tensor, colour: Tensor, ground: Tensor | None = None) -> Tensor:
    """Places (B, 2) = (row, column) px and colours (B, 3) in 0..255 -> (B, 3, 20, 20) uint8, on black or `ground`."""
    line = torch.arange(SIDE)
    rows, columns = ((line >= place[:, axis, None]) & (line < place[:, axis, None] + SQUARE) for axis in (0, 1))
    here = (rows[:, :, None] & columns[:, None, :])[:, None]                        # (B, 1, H, W)
    images = torch.zeros(len(place), 3, SIDE, SIDE, dtype=torch.uint8) if ground is None else ground
    return torch.where(here, colour.to(torch.uint8)[:, :, None, None], images)


def batch_of(obs: Tensor, action: Tensor | None = None, **extra: Tensor) -> Batch:
    """A batch that holds what an objective reads; rewards are 0."""
    count = len(obs)
    action = torch.arange(2 * count).view(count, 2) / count if action is None else action
    nothing = torch.zeros(count, 1)
    return Batch(obs, nothing[:, :0], action, nothing, nothing, obs, nothing[:, :0], extra)


def learn(eyes: Encoder, objective: Objective, draw: Callable[[], Batch], steps: int, lr: float = 1e-3) -> None:
    """So many updates of encoder and objective, each on a batch that `draw` gives."""
    weights = [weight for part in (eyes, objective) for weight in part.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(weights, lr)
    for _ in range(steps):
        batch = draw()
        loss, _ = objective.loss(batch, eyes(batch.obs), encode_by(eyes))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        objective.after_step(eyes)


def encode_by(eyes: Encoder) -> Callable[..., Tensor]:
    """How an objective sees further images here: as they are."""
    return lambda images, other=None: (eyes if other is None else other)(images)


def walk(count: int, random: torch.Generator) -> Batch:
    """Steps of a white square that moves by up to 4 px each way, as its action says, above the 4 last rows."""
    place = torch.randint(4, 7, (count, 2), generator=random)
    action = torch.randint(-4, 5, (count, 2), generator=random)
    white = torch.full((count, 3), 255)
    return batch_of(squares(place, white), action / 4, successor=squares(place + action, white),
                    step_reward=torch.zeros(count, 1))


def flicker(batch: Batch, random: torch.Generator) -> Batch:
    """The same steps above a screen: the 4 last rows of every image are five blocks of random colours."""
    obs, successor = (torch.cat([images[:, :, :-4], _screen(len(images), random)], dim=2)
                      for images in (batch.obs, batch.extra["successor"]))
    return batch._replace(obs=obs, extra=batch.extra | {"successor": successor})


def _screen(count: int, random: torch.Generator) -> Tensor:
    colours = 255 * torch.randint(2, (count, 3, 1, SIDE // 4), generator=random).to(torch.uint8)
    return colours.repeat_interleave(4, 3).expand(-1, -1, 4, -1)
