"""Triplets put moments in order of time, in episodes that they never saw."""

import numpy as np
import torch

from . import films
from .check import Check

STEPS = 400


def measure() -> Check:
    """Share of held-out triplets in the right order; chance is 1/2."""
    return Check(ordered("triplet", shuffled=False), ordered("triplet", shuffled=True), 0.85, "moments of held-out "
                 "episodes nearer to one 2 steps away than to one 8 away; control: learnt from frames shuffled in time")


def ordered(name: str, *, shuffled: bool, near: int = 2, far: int = 8) -> float:
    """The share, for an objective that learns from near and far moments, after STEPS updates."""
    random = np.random.default_rng(0)
    memory = films.new_memory()
    for _ in range(30):
        frames = scene(50, random)
        films.remember(memory, random.permutation(frames) if shuffled else frames)
    agent = films.agent_of({"name": name, "near": near, "far": far})
    for _ in range(STEPS):
        agent.update(memory)
    right = []
    for _ in range(20):
        with torch.no_grad():
            codes = agent.objectives[name].project(agent.encoder(films.images(scene(50, random))))
        codes = torch.nn.functional.normalize(codes, dim=1)
        apart = torch.cdist(codes, codes)
        right.append((apart.diagonal(near)[:-far] < apart.diagonal(far)[:-near]).float().mean().item())
    return float(np.mean(right))


def scene(steps: int, random: np.random.Generator) -> films.Array:
    """A green square that drifts before two that jump, while the light flickers: (T, H, W, 3)."""
    jumps = random.integers(0, films.ROOM, (2, steps, 2))
    frames = films.draw([*jumps, films.walk(steps, random)], [(200, 0, 0), (200, 0, 200), (0, 200, 0)])
    return np.maximum(frames, random.integers(0, 150, (steps, 1, 1, 1), dtype=np.uint8))
