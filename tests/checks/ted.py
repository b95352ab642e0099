"""TED tells, in episodes that it never saw, a true successor from other moments.

No more is promised: that its dimensions are the world's factors was not found with the published score.
"""

import numpy as np
import torch

from . import films
from .check import Check

STEPS = 600
CHANCE = np.log(3) - 2 / 3 * np.log(2)      # nats: one true pair in three, told by nothing


def measure() -> Check:
    """Cross-entropy on held-out pairs, as a part of chance."""
    return Check(held_out(shuffled=False), held_out(shuffled=True), 0.75, "cross-entropy over chance of pairs of "
                 "held-out moments; control: the frames of all episodes shuffled in time", higher=False)


def held_out(shuffled: bool) -> float:
    """Over chance, after STEPS updates."""
    random = np.random.default_rng(0)
    seen, unseen = (remembered(episodes, shuffled, random) for episodes in (30, 10))
    agent = films.agent_of({"name": "ted"})
    for _ in range(STEPS):
        agent.update(seen)
    ted = agent.objectives["ted"]
    with torch.no_grad():
        losses = []
        for _ in range(20):
            batch, images = agent._augment(unseen.sample(64, agent.needs))
            losses.append(ted.loss(batch, agent.encoder(images), agent._encode)[0].item())
    return float(np.mean(losses) / CHANCE)


def remembered(episodes: int, shuffled: bool, random: np.random.Generator) -> films.EpisodeMemory:
    """Episodes of one square that drifts; all look alike."""
    memory = films.new_memory()
    frames = np.stack([films.draw([films.walk(50, random)], [(255, 255, 255)]) for _ in range(episodes)])
    if shuffled:
        frames = random.permutation(frames.reshape(-1, *frames.shape[2:])).reshape(frames.shape)
    for episode in frames:
        films.remember(memory, episode)
    return memory
