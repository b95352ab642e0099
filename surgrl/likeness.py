"""A reward for looking like a demonstration (TCN: Sermanet et al. 2018, arXiv:1704.06888, sec. 3.3), by a wrapper."""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch

from models.learnt import Embedding
from models.make import read_embedding

from .config import LikenessConfig, RecordingsConfig
from .footage import watch
from .policy.errors import UserError
from .policy.image import prepare, stacked
from .policy.spec import Array, ImageSpec
from .recordings import find_recordings

TERM = "likeness"       # of the reward
AGAINST = ("end", "time")


class Likeness(gymnasium.Wrapper):
    """Adds a term to the reward: minus the distance of the picture to a demonstration, in an embedding learnt on video.

    -alpha d - beta sqrt(gamma + d), where d is the squared distance to the nearest demonstration, over the mean squared
    distance of the demonstrations' first moments from their own last: about -1 at a start, and near 0 at the end.
    Differs from the paper: several demonstrations may be given, of which the nearest counts; `against: end` compares
    with their last moments, `time` as there with the moment of the same time; distances are brought to scale 1.
    """

    def __init__(self, env: gymnasium.Env, told: LikenessConfig, image: ImageSpec):
        """image: how the environment's pictures are prepared for the policy. UserError where the encoder or the
        demonstrations are not there, or see other pictures."""
        super().__init__(env)
        if told.against not in AGAINST:
            raise UserError(f"config: env.likeness.against is {told.against!r}; allowed: {', '.join(AGAINST)}")
        try:
            self.embedding = read_embedding(told.encoder)
        except ValueError as error:
            raise UserError(f"config: env.likeness: {error}") from error
        encoder = self.embedding.encoder
        self._told, self.image = told, replace(image, size=encoder.size, stack=encoder.channels // 3)
        self.shown = demonstrated(self.embedding, told, self.image)
        self._scale = max(float(np.mean([np.square(film[0] - film[-1]).sum() for film in self.shown])), 1e-12)
        self._frames: list[Array] = []
        self._step = 0

    def reset(self, **options: Any) -> tuple[dict[str, Array], dict[str, Any]]:
        """An episode begins, and the demonstrations anew."""
        obs, info = self.env.reset(**options)
        self._frames, self._step = [prepare(obs["image"], self.image)] * self.image.stack, 0
        return obs, info

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """One step; the term is in info["reward_terms"] too."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._frames, self._step = [*self._frames[1:], prepare(obs["image"], self.image)], self._step + 1
        term = self.likeness(points_of(self.embedding, [stacked(self._frames)])[0], self._step)
        info["reward_terms"] = {**info.get("reward_terms", {}), TERM: term}
        return obs, float(reward) + term, terminated, truncated, info

    def likeness(self, point: Array, step: int) -> float:
        """The term at a point (F,) of the embedding, so many steps into the episode."""
        wanted = [film[-1 if self._told.against == "end" else min(step, len(film) - 1)] for film in self.shown]
        distance = float(np.square(np.stack(wanted) - point).sum(1).min()) / self._scale
        return -self._told.alpha * distance - self._told.beta * float(np.sqrt(self._told.gamma + distance))


def demonstrated(embedding: Embedding, told: LikenessConfig, image: ImageSpec) -> list[Array]:
    """Each demonstration as points (T, F)."""
    recordings = RecordingsConfig(sources=told.sources, rate=image.rate, view=told.view, topic=told.topic)
    if not told.sources:
        raise UserError("config: env.likeness needs demonstrations; name them in env.likeness.sources")
    found = []
    for film in watch(find_recordings(told.sources), recordings, image.size[0], image.stack):
        frames = [film.frames[0]] * (image.stack - 1) + [*film.frames]
        found.append(points_of(embedding, [stacked(frames[k:k + image.stack]) for k in range(len(film.frames))]))
    return found


@torch.inference_mode()
def points_of(embedding: Embedding, planes: list[Array]) -> Array:
    """Pictures (C, H, W), a list of N -> points (N, F)."""
    return np.concatenate([embedding(torch.from_numpy(np.stack(planes[k:k + 64]))).numpy()
                           for k in range(0, len(planes), 64)])
