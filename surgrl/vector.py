"""Several environments in processes of their own, as an on-policy learner acts in them."""

import os
import signal
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from .config import Config
from .config_file import config_of, plain
from .policy.errors import UserError
from .policy.spec import Array
from .world import Moment, training_seed, training_world


class WorldEnv(gymnasium.Env):
    """A training world for a vector of them: prepared frames, seeds of its own, few numbers in info."""

    def __init__(self, config: dict[str, Any], first: int, stride: int, labels: Sequence[str]):
        """config: plain values. Episodes are numbers first, first + stride, ... labels: what else is told, of
        expert (its actions), mask (the instrument's) and cost (which the task must tell)."""
        self._config = config_of(config)
        self._world, self._episode, self._stride, self._labels = training_world(self._config), first, stride, labels
        side, actions = self._config.image.size, len(self._world.action.names)
        self.observation_space = gymnasium.spaces.Dict({
            "frame": gymnasium.spaces.Box(0, 255, (side, side, 3), np.uint8),
            "proprio": gymnasium.spaces.Box(-np.inf, np.inf, (len(self._world.proprio.names),), np.float32)})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (actions,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """The next episode, whatever seed is given: which one is the config's to say."""
        moment = self._world.reset(seed=training_seed(self._config, self._episode))
        self._episode += self._stride
        return self._told(moment)

    def step(self, action: Array) -> tuple[dict, float, bool, bool, dict]:
        """One control step."""
        moment = self._world.step(action)
        obs, info = self._told(moment)
        return obs, moment.reward, moment.terminated, moment.truncated, info

    def close(self) -> None:
        """Free the engine."""
        self._world.close()

    def _told(self, moment: Moment) -> tuple[dict, dict]:
        if "cost" in self._labels and "cost" not in moment.info:
            raise UserError(f"task {self._config.env.id} tells no cost, so agent.cost_limit limits nothing; leave it "
                            "at -1, or take a task whose info holds cost")
        info = {"cost": float(moment.info.get("cost", 0.0)), "success": float(moment.info.get("success", False))}
        if "expert" in self._labels:
            info["expert"] = self._world.expert()
        if "mask" in self._labels:
            info["mask"] = self._world.mask(moment)
        return {"frame": moment.frame, "proprio": moment.proprio}, info


def _in_worker(*args: Any) -> WorldEnv:
    """A WorldEnv in a process of its own: Ctrl-C is for the trainer, which saves and then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return WorldEnv(*args)


def make_vector(config: Config, begun: int, labels: Sequence[str] = ()) -> AsyncVectorEnv:
    """config.env.workers environments; `begun`: episodes that were begun before. labels: see WorldEnv."""
    count = config.env.workers
    # A worker's UserError is told by the command, in a line; gymnasium would show the worker's whole trace before.
    for told in ("Received the following error from Worker", "Raising the last exception", ".*UserError: "):
        warnings.filterwarnings("ignore", message=rf"(?s).*{told}")
    # Of the workers, which inherit it: their arithmetic is small, and their threads would fight for the cores.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        return AsyncVectorEnv([partial(_in_worker, plain(config), begun + k, count, labels) for k in range(count)],
                              context="spawn", autoreset_mode=AutoresetMode.SAME_STEP)
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
