"""Inverse model: the latent follows what the action moves, and not what moves by itself."""

import torch

from models.objectives.inverse import Inverse

from .check import Check
from .toy import encoder, flicker, learn, walk


def measure() -> Check:
    """Control: the same encoder before it has learnt."""
    return Check(_drawn_away(600), _drawn_away(0), 0.03, higher=False,
                 what="how far flickering rows move the latent over how far the action does; control: untrained")


def _drawn_away(updates: int) -> float:
    eyes = encoder()
    random = torch.Generator().manual_seed(0)
    learn(eyes, Inverse(eyes, 2), lambda: flicker(walk(64, random), random), updates)
    steps = walk(256, random)
    noisy = flicker(steps._replace(extra={"successor": steps.obs}), random)         # nothing moves but the noise
    moved = torch.cat([steps.extra["successor"][:, :, :-4], noisy.obs[:, :, -4:]], dim=2)
    with torch.no_grad():
        still, flickered, acted = (eyes(images) for images in (noisy.obs, noisy.extra["successor"], moved))
    return ((flickered - still).square().mean() / (acted - still).square().mean()).item()
