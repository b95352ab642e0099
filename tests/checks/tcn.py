"""TCN finds, in the other eye's film of an episode that it never saw, the moment that one eye sees."""

import numpy as np
import torch

from . import films
from .check import Check

STEPS, LENGTH = 400, 40


def measure() -> Check:
    """Alignment error between the eyes; chance is 1/3."""
    return Check(misaligned(views=2), misaligned(views=1), 0.2, "mean distance in time, over the episode, to what the "
                 "other eye shows as most alike; control: triplets of one eye", higher=False)


def misaligned(views: int) -> float:
    """The error on held-out episodes, after STEPS updates."""
    random = np.random.default_rng(0)
    memory = films.new_memory(extras=("expert", "right"))
    for _ in range(40):
        left, right = both(random)
        films.remember(memory, left, right=right)
    agent = films.agent_of({"name": "tcn", "views": views})
    for _ in range(STEPS):
        agent.update(memory)
    errors = []
    for _ in range(20):
        with torch.no_grad():
            left, right = (agent.objectives["tcn"].project(agent.encoder(films.images(film))) for film in both(random))
        found = (left @ right.T).argmax(1) if views == 2 else torch.cdist(left, right).argmin(1)
        errors.append((found - torch.arange(LENGTH)).abs().float().mean().item() / LENGTH)
    return float(np.mean(errors))


def both(random: np.random.Generator) -> tuple[films.Array, films.Array]:
    """A drifting square as two eyes see it: white on black, and mirrored, in other colours: (T, H, W, 3) each."""
    places = films.walk(LENGTH, random)
    mirrored = np.stack([places[:, 1], films.ROOM - 1 - places[:, 0]], axis=1)
    return films.draw([places], [(255, 255, 255)]), films.draw([mirrored], [(40, 0, 90)], back=160)
