"""The arms of a scene: they take commands in the camera frame and follow them, step by step, above the tissue."""

from collections.abc import Callable

import numpy as np

from ..arm import PSM
from ..geometry import Array
from ..state import State, part, prefixed
from .bed import CLEARANCE


class Arms:
    """Arms by name, each with the command it follows."""

    def __init__(self, arms: dict[str, PSM], camera_rotation: Array, workspace: tuple[Array, Array]):
        """camera_rotation: (3, 3) from the camera to the world. workspace: corners (3,), (3,) m, world."""
        self._arms, self._rotation, self._workspace = arms, camera_rotation, workspace
        self._commands: dict[str, tuple[Array, float]] = {}
        self.reset()

    def __contains__(self, name: str) -> bool:
        """Whether there is an arm of this name."""
        return name in self._arms

    def __getitem__(self, name: str) -> PSM:
        """The kinematics behind an arm."""
        return self._arms[name]

    def reset(self) -> None:
        """All at home, at rest."""
        for name, arm in self._arms.items():
            arm.reset()
            self._commands[name] = (np.zeros(6), arm.jaw)

    def face(self, camera_rotation: Array) -> None:
        """Take commands in another camera's frame from now on."""
        self._rotation = camera_rotation

    def command(self, arm: str, twist: Array, jaw: float) -> None:
        """Twist (6,) m/s, rad/s in the camera frame and jaw in rad, from the next step on."""
        turned = np.concatenate([self._rotation @ twist[:3], self._rotation @ twist[3:]])
        self._commands[arm] = (turned, jaw)

    def step(self, dt: float, surface: Callable[[float, float], float]) -> None:
        """Follow the commands for dt s. surface: height z (m) of the tissue at x, y (m)."""
        for name, arm in self._arms.items():
            twist, jaw = self._commands[name]
            ahead = arm.tip[:3, 3] + twist[:3] * dt
            low = self._workspace[0].copy()
            low[2] = max(low[2], surface(ahead[0], ahead[1]) + CLEARANCE)
            arm.move(twist, jaw, dt, low, self._workspace[1])

    def get_state(self) -> State:
        """All that the next step depends on."""
        state: State = {}
        for name, arm in self._arms.items():
            twist, jaw = self._commands[name]
            state |= prefixed(name, arm.get_state() | {"twist": twist.copy(), "jaw_command": jaw})
        return state

    def set_state(self, state: State) -> None:
        """Go on from there, exactly."""
        for name, arm in self._arms.items():
            own = part(state, name)
            arm.set_state(own)
            self._commands[name] = (np.array(own["twist"]), float(own["jaw_command"]))
