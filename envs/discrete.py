"""The discrete actions that colonoscopy agents were published with, on top of the continuous ones."""

from typing import Any

import gymnasium
import numpy as np

from .geometry import Array

TURNS = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])        # straight, right, left, down, up
ADVANCE = 0.7       # of full speed, in `safe`, which never stops: 3 degrees a step then follow the tightest bend


class DiscreteActions(gymnasium.ActionWrapper):
    """`dvc`: MultiDiscrete [3, 3, 3], each of yaw, roll and pitch at full rate -, 0 or +; the scope advances by itself
    while the lumen is in view and stands still otherwise (Pore et al. 2022: torques about y, z and x of the camera).
    `safe`: Discrete(5), straight on, right, left, down or up, always advancing (Corsi et al. 2023: 3 degrees a step).
    """

    def __init__(self, env: gymnasium.Env, *, kind: str):
        """kind: dvc, for which env needs its roll channel, or safe."""
        super().__init__(env)
        self.kind = kind
        self.action_space = gymnasium.spaces.MultiDiscrete([3, 3, 3]) if kind == "dvc" else gymnasium.spaces.Discrete(5)

    def action(self, action: Any) -> Array:
        """The continuous action that it stands for. ValueError for one that the set does not have."""
        chosen = np.asarray(action)
        whole = np.issubdtype(chosen.dtype, np.integer)
        if not (whole and self.action_space.contains(chosen.astype(np.int64))):
            raise ValueError(f"action {action!r} is not one of {self.action_space}")
        if self.kind == "safe":
            return np.array([*TURNS[int(chosen)], ADVANCE])
        yaw, roll, pitch = chosen - 1.0
        return np.array([yaw, pitch, float(self.env.unwrapped.scene.lumen().offset < 1), roll])

    def nearest(self, action: Array) -> Array | int:
        """The choice nearest to a continuous action's bending and roll; whether it advances is the set's own matter."""
        right, down, _, *roll = action
        if self.kind == "safe":
            return 0 if max(abs(right), abs(down)) < 0.5 else int((TURNS @ [right, down]).argmax())
        return np.array([round(right), round(roll[0]), round(down)]) + 1

    def expert(self) -> Array | int:
        """The choice nearest to what the continuous demonstrator would do."""
        return self.nearest(self.env.unwrapped.expert())
