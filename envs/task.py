"""What is wanted of a scene: actions, rewards, ends, and a scripted expert. It knows no engine."""

from enum import Enum
from typing import ClassVar, Protocol

import numpy as np

from .geometry import Array
from .scene import Channel, Scene
from .state import State


class Outcome(Enum):
    """How an episode stands. A time limit is no outcome of the task: it truncates."""

    RUNNING = 0
    SUCCESS = 1
    FAILURE = 2


class Task(Protocol):
    """What is wanted."""

    channels: ClassVar[tuple[Channel, ...]]

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Set up a new episode in the scene."""

    def act(self, scene: Scene, action: Array) -> None:
        """Command the scene's arms. action: (A,) in [-1, 1]."""

    def watch(self, scene: Scene) -> None:
        """Remember what the task has to of the step just made; called once after each, before `reward`."""

    def reward(self, scene: Scene) -> dict[str, float]:
        """Named terms; their sum is the reward of the step."""

    def outcome(self, scene: Scene) -> Outcome:
        """Whether the episode goes on."""

    def measures(self, scene: Scene) -> dict[str, float]:
        """What a user wants to see of the state, in SI units, e.g. the distance to the target."""

    def state(self, scene: Scene) -> Array:
        """Privileged state (S,), for RL without images: what the images show."""

    def expert(self, scene: Scene) -> Array:
        """Scripted demonstrator: (A,) in [-1, 1]."""

    def get_state(self) -> State:
        """What the task remembers, as a value: a flat dict of arrays and numbers."""

    def set_state(self, state: State) -> None:
        """Go on from there, exactly."""
