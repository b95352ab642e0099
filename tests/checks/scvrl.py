"""SCVRL's clips tell the order of their frames, in episodes that it never saw."""

import numpy as np
import torch

from . import films
from .check import Check

STEPS, LENGTH = 250, 4


def measure() -> Check:
    """A linear probe's accuracy on held-out clips; chance is 1/2."""
    return Check(probed(places=True), probed(places=False), 0.85, "clips in order told from shuffled ones by a linear "
                 "probe; control: a bag of frames, learnt likewise but without their places in time")


def probed(places: bool) -> float:
    """places: whether the clip's encoder knows which frame comes when."""
    random = np.random.default_rng(0)
    memory = films.new_memory()
    for _ in range(60):
        films.remember(memory, film(20, random))
    agent = films.agent_of({"name": "scvrl", "length": LENGTH, "clips": 16})
    scvrl = agent.objectives["scvrl"]
    if not places:
        scvrl.clip.place.requires_grad_(False).zero_()
    for _ in range(STEPS):
        agent.update(memory)
    clips = np.stack([film(LENGTH, random) for _ in range(600)])            # (N, L, H, W, 3)
    orders = scvrl.orders[1:].numpy()
    told = torch.arange(len(clips)) % 2                                     # every second one is shuffled
    for clip, shuffled, order in zip(clips, told, random.choice(orders, len(clips)), strict=True):
        if shuffled:
            clip[:] = clip[order]
    with torch.no_grad():
        codes = agent.encoder(films.images(clips.reshape(-1, *clips.shape[2:]))).unflatten(0, (-1, LENGTH))
        features = scvrl.clip(codes)                                        # (N, F)
    return accuracy(features, told * 2.0 - 1)


def accuracy(features: torch.Tensor, truth: torch.Tensor) -> float:
    """Of a ridge regression on one half, on the other; truth (N,) in {-1, 1}."""
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    half = len(features) // 2
    seen, unseen = features[:half], features[half:]
    weights = torch.linalg.solve(seen.T @ seen + 0.1 * torch.eye(seen.shape[1]), seen.T @ truth[:half])
    return ((unseen @ weights > 0) == (truth[half:] > 0)).float().mean().item()


def film(steps: int, random: np.random.Generator) -> films.Array:
    """A square that goes straight, in at one side and out at the other: (T, H, W, 3)."""
    row, column = random.integers(0, films.ROOM), random.integers(0, films.ROOM)
    places = np.stack([np.full(steps, row), (column + 2 * np.arange(steps)) % films.ROOM], axis=1)
    return films.draw([places], [(255, 255, 255)])
