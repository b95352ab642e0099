"""ICM: noise on a screen that no action changes is not paid for, however surprising its pixels are."""

import torch
from torch import Tensor

from models.batch import Batch
from models.heads import mlp
from models.objectives.icm import Icm

from .check import Check
from .toy import encode_by, encoder, flicker, learn, walk


def measure() -> Check:
    """Control: surprise of a model that foretells the pixels themselves."""
    return Check(_of_features(), _of_pixels(), 0.2, higher=False,
                 what="surprise before a flickering screen over that of foretelling no change; control: of raw pixels")


def _of_features() -> float:
    eyes = encoder()
    objective = Icm(eyes, 2)
    random = torch.Generator().manual_seed(0)
    learn(eyes, objective, lambda: flicker(walk(64, random), random), 800, lr=2e-3)
    batch = flicker(walk(256, random), random)
    with torch.no_grad():
        now, after = (objective.code(eyes(images)) for images in (batch.obs, batch.extra["successor"]))
        surprise = objective.bonus(batch, eyes(batch.obs), encode_by(eyes)).mean() / objective.eta
    return (surprise / (0.5 * (after - now).square().sum(1).mean())).item()


def _of_pixels() -> float:
    torch.manual_seed(0)
    model = mlp(3 * 20 * 20 + 2, 256, 3 * 20 * 20)
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)

    def errors(batch: Batch) -> tuple[Tensor, Tensor]:
        now, after = (images.flatten(1).float() / 255 for images in (batch.obs, batch.extra["successor"]))
        foretold = model(torch.cat([now, batch.action], dim=1))
        return (foretold - after).square().mean(), (now - after).square().mean()

    for _ in range(400):
        loss, _ = errors(flicker(walk(64, random), random))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        surprise, change = errors(flicker(walk(256, random), random))
    return (surprise / change).item()
