"""Frames like those of a training, and their profile: what the robot's image gate compares its camera's with."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .demos import disturbed
from .evaluate import Actor
from .policy.profile import LEAST_FRAMES, FrameProfile
from .policy.spec import Array, ImageSpec
from .world import World, make_env

PLAIN, VARIED = 8, 12           # episodes of the scene as it was built, and of looks drawn anew for each
FIRST_SEED = 10 ** 9 - 1000     # below evaluation's seeds, above training's
NOISE = 0.3                     # on the actions of every other episode: policies stray from the expert's path
PER_EPISODE = 40                # frames of the longest episode
EVERY = 5                       # steps between frames of a policy's own episodes
HEIGHT = 120                    # px, least of the frames drawn; the profile itself looks at 64


def fit_profile(task: str, image: ImageSpec, options: dict[str, Any]) -> FrameProfile:
    """The profile of a task, by its Gymnasium id: plain looks, and those of the options, or else mildly varied ones.

    image: how its frames are prepared; options: of the environment, as in training.
    """
    trained = options.get("randomise", "none")
    frames: list[Array] = []
    episodes: list[int] = []
    for level, seeds in (("none", range(PLAIN)),
                         ("mild" if trained in ("none", {}) else trained, range(PLAIN, PLAIN + VARIED))):
        for episode, frame in expert_frames(task, image, seeds, {**options, "randomise": level}):
            frames.append(frame)
            episodes.append(episode)
    return FrameProfile.fit(frames, episodes, image)


def lived_profile(world: World, actor: Actor) -> FrameProfile:
    """The profile of a task without an expert: of what the policy itself sees, and sees when it strays.

    world: seen by a camera of the robot's shape; actor: the policy.
    """
    frames: list[Array] = []
    episodes: list[int] = []
    for episode in range(PLAIN):
        actor.reset()
        moment, rng, step = world.reset(seed=FIRST_SEED + episode), np.random.default_rng(episode), 0
        while not (moment.terminated or moment.truncated) and step < EVERY * PER_EPISODE:
            if step % EVERY == 0 or step < LEAST_FRAMES // PLAIN:
                frames.append(moment.frame)
                episodes.append(episode)
            moment, step = world.step(disturbed(actor.act(moment, world), NOISE * (episode % 2), rng)), step + 1
        frames.append(moment.frame)
        episodes.append(episode)
    return FrameProfile.fit(frames, episodes, world.image)


def expert_frames(task: str, image: ImageSpec, episodes: Iterable[int],
                  options: dict[str, Any]) -> Iterator[tuple[int, Array]]:
    """Number of the episode and a camera frame (H, W, 3) of it, some for each; options: of the environment."""
    whole = [k for k in range(1, image.height // HEIGHT + 1) if image.height % k == image.width % k == 0]
    size = image.height // max(whole, default=1), image.width // max(whole, default=1)
    # Most steps are not drawn, which takes longer than to step.
    env = make_env(task, **{**options, "observation": "state", "eyes": (), "render_mode": "rgb_array",
                            "render_size": size})
    every = max(1, env.spec.max_episode_steps // PER_EPISODE)
    for episode in episodes:
        rng = np.random.default_rng(episode)
        env.reset(seed=FIRST_SEED + episode)
        step, over = 0, False
        while not over:
            if step % every == 0:
                yield episode, env.render()
            action = disturbed(env.unwrapped.expert(), NOISE * (episode % 2), rng)
            _, _, terminated, truncated, _ = env.step(action)
            step, over = step + 1, terminated or truncated
        yield episode, env.render()
    env.close()
