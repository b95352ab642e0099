"""Small worlds of moving squares for the checks, and an agent that learns from them by one objective alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.agents.drqv2 import DrQv2
from models.make import make_agent
from models.memory import EpisodeMemory

Array = NDArray[Any]
SIDE, SQUARE = 20, 6            # px
ROOM = SIDE - SQUARE + 1        # places along a side
ENCODER = {"width": 8, "latent_dim": 32}


def walk(steps: int, rng: np.random.Generator, dimensions: int = 2) -> Array:
    """Places (T, dimensions) of something that drifts through 0..ROOM-1 and is thrown back at its ends."""
    place, speed = rng.uniform(0, ROOM - 1, dimensions), rng.uniform(-1, 1, dimensions)
    places = []
    for _ in range(steps):
        speed = np.clip(speed + rng.normal(0, 0.3, dimensions), -1, 1)
        place = place + speed
        speed = np.where((place < 0) | (place > ROOM - 1), -speed, speed)
        place = np.clip(place, 0, ROOM - 1)
        places.append(place)
    return np.round(places).astype(int)


def draw(places: Sequence[Array], colours: Sequence[tuple[int, int, int]], back: int = 0) -> Array:
    """Squares at places (T, 2) = (row, column), one array for each colour, the last before all others: (T, H, W, 3)."""
    frames = np.full((len(places[0]), SIDE, SIDE, 3), back, np.uint8)
    for square, colour in zip(places, colours, strict=True):
        for frame, (row, column) in zip(frames, square, strict=True):
            frame[row:row + SQUARE, column:column + SQUARE] = colour
    return frames


def remember(memory: EpisodeMemory, frames: Array, rewards: Array | None = None, **signals: Array) -> None:
    """One episode: frames (T, H, W, 3), the reward of each step, and of each frame its signals."""
    for t, frame in enumerate(frames):
        moment = {name: values[t] for name, values in signals.items()}
        if t == 0:
            memory.begin(frame, **moment)
        else:
            memory.add([0.0], 0.0 if rewards is None else rewards[t - 1], False, frame, **moment)
    memory.end()


def new_memory(capacity: int = 4000, **options: Any) -> EpisodeMemory:
    """Of single frames and one action that does nothing; labels, which agent_of asks for, are never given."""
    shapes = {"frame_shape": (SIDE, SIDE, 3), "action_dim": 1, "stack": 1}
    return EpisodeMemory(capacity, **shapes, **{"extras": ("expert",), **options})


def agent_of(objective: dict[str, Any], *, encoder: dict[str, Any] = ENCODER, seed: int = 0, **options: Any) -> DrQv2:
    """An agent whose encoder nothing shapes but the objective: no critic is built, imitation finds no labels."""
    return make_agent("drqv2", {"batch_size": 32, "lr": 1e-3, "shift": 1, "hidden_dim": 8, "feature_dim": 4,
                                "q_weight": 0.0, "imitation": 1e-9, **options}, objectives=[objective],
                      image_shape=(3, SIDE, SIDE), action_dim=1, encoder=encoder, seed=seed)


def images(frames: Array) -> torch.Tensor:
    """(N, H, W, 3) uint8 as an encoder takes them."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2)
