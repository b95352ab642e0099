"""DBC's latent rests while something moves that no reward depends on.

It proves the objective as a whole: on this world the models of reward and dynamics alone (metric_weight=0) come as far.
"""

import numpy as np
import torch

from . import films
from .check import Check

STEPS = 700
COLOURS = (255, 0, 0), (0, 255, 0)      # of what earns nothing, and of what the reward follows
SCALE = 10.0                            # of rewards: distances of about 0.1 drown in the steps of the optimiser


def measure() -> Check:
    """Distance between latents when the useless square jumps, over that when the other one does."""
    return Check(ratio(useful=True), ratio(useful=False), 0.3, "how far the latent moves with a square that earns "
                 "nothing, over how far with the one that does; control: rewards drawn at random", higher=False)


def ratio(useful: bool) -> float:
    """useful: whether the second square's column is the reward."""
    random = np.random.default_rng(0)
    memory = films.new_memory()
    for _ in range(30):
        places = [films.walk(50, random) for _ in COLOURS]
        reward = places[1][:, 1] / films.ROOM if useful else random.random(50)
        films.remember(memory, films.draw(places, COLOURS), SCALE * reward)
    agent = films.agent_of({"name": "dbc"})
    for _ in range(STEPS):
        agent.update(memory)
    first, second, elsewhere = random.integers(0, films.ROOM, (3, 300, 2))
    with torch.no_grad():
        still, one, other = (agent.encoder(films.images(films.draw(places, COLOURS)))
                             for places in ((first, second), (elsewhere, second), (first, elsewhere)))
    return float((one - still).abs().sum(1).mean() / (other - still).abs().sum(1).mean())
