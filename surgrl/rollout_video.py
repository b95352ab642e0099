"""A run's policy on unseen seeds, as a small video kept in the run's folder."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from .evaluate import AgentPolicy, open_policy
from .policy.spec import Array
from .run import Run
from .video_writer import write_video
from .world import FIRST_UNSEEN_SEED, World, training_world

SHOWN = (360, 480)              # px, height and width of the video
INSET = 108                     # px, side of what the policy sees, at the top right
RATE = 15.0                     # Hz of the video at most; frames between are left out
REST_SECONDS = 0.7              # s, an episode's last picture


def rollout(folder: Path, seeds: Sequence[int] = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + 2)) -> Path:
    """`<folder>/videos/rollout.mp4`: an episode for each seed; made anew only when the training has gone on."""
    path = folder / "videos" / f"rollout-{len(seeds)}.mp4"
    if path.is_file() and path.stat().st_mtime >= (folder / "checkpoint.pt").stat().st_mtime:
        return path
    config = Run(folder).config()
    own, policy = open_policy(str(folder))
    own.close()
    options = {**config.env.options, "render_mode": "rgb_array", "render_size": SHOWN}
    world = training_world(replace(config, env=replace(config.env, options=options)))
    try:
        every = max(1, round(world.image.rate / RATE))
        write_video(path, _frames(world, policy, seeds, every), world.image.rate / every)
    finally:
        world.close()
    return path


def _frames(world: World, policy: AgentPolicy, seeds: Sequence[int], every: int) -> Iterator[Array]:
    """(H, W, 3) uint8 RGB of all episodes, one after the other."""
    rate = world.image.rate
    for seed in seeds:
        policy.reset()
        moment, step = world.reset(seed=seed), 0
        while not (moment.terminated or moment.truncated):
            if step % every == 0:
                yield _labelled(world.env.render(), moment.frame, f"{step / rate:.1f} s")
            moment, step = world.step(policy.act(moment, world)), step + 1
        verdict = "success" if moment.info.get("success") else "no success"
        last = _labelled(world.env.render(), moment.frame, f"{step / rate:.1f} s  {verdict}")
        yield from [last] * max(1, round(REST_SECONDS * rate / every))


def _labelled(picture: Array, seen: Array, text: str) -> Array:
    """The picture with a line of text, and what the policy sees of it in a corner."""
    picture = np.ascontiguousarray(picture)
    picture[8:8 + INSET, -8 - INSET:-8] = cv2.resize(seen, (INSET, INSET), interpolation=cv2.INTER_NEAREST)
    cv2.rectangle(picture, (picture.shape[1] - 9 - INSET, 7), (picture.shape[1] - 8, 8 + INSET), (235, 235, 235))
    bar = picture[-26:]
    bar[:] = bar // 3
    cv2.putText(picture, text, (10, picture.shape[0] - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (245, 240, 238), 1,
                cv2.LINE_AA)
    return picture
