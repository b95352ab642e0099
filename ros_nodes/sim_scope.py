"""What a flexible scope's controller does between commands and motors: setpoints, moves, limits, states. Knows no ROS.

ColonNavigate's scope in the role of a CRTK camera arm. It is commanded by its joints: how its tip bends towards the
picture's right and bottom (rad), how much of its shaft is in (m), and its roll (rad) where the task has that. Where its
tip then is, the colon says: there are no inverse kinematics. Its base is where the camera was as the episode began.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np

from surgrl.policy.errors import UserError
from surgrl.policy.spec import Array

from .crtk import OperatingState
from .messages import Pose, optical_to_crtk
from .motion import Move
from .sim_arm import HOMING, checked_ratio, require_ready

JOINTS = {"bend_x": "bend_x", "bend_y": "bend_y", "insertion": "inserted", "roll": "roll"}      # channel -> joint
SPEED = 0.5         # of a channel's fastest, of moves
TURN = np.diag([-1.0, -1.0, 1.0])       # from the optical camera frame to CRTK's, and back


class Measured(NamedTuple):
    """What the scope's handle and drive tell."""

    joints: Array           # (J,) rad, m
    speeds: Array           # (J,) rad/s, m/s
    camera: Pose            # CRTK camera frame, in the base


class SimScope:
    """Setpoint of the scope of an environment (`plant`), and what leads it there."""

    def __init__(self, plant: Any, *, ready: bool):
        """plant: offers channels, proprio_names, camera, step, observe."""
        self.state = OperatingState(ready=ready, homing=HOMING)
        self.ratio = 1.0            # of the moves' speeds, in ]0, 1]
        self.moved = False          # whether a command has moved the scope since `begin`
        self._plant, self._move = plant, None
        self.names = tuple(JOINTS[channel.name] for channel in plant.channels)
        self._seats = [plant.proprio_names.index(name) for name in self.names]
        self._fastest = np.array([channel.high for channel in plant.channels])      # (J,) rad/s, m/s
        box = plant.observation_space["proprio"]
        self.low, self.high = box.low[self._seats].astype(float), box.high[self._seats].astype(float)
        self.begin()

    @property
    def busy(self) -> bool:
        """Whether it homes or moves."""
        return self.state.busy or self._move is not None

    def begin(self) -> None:
        """The environment was reset: another colon, the tip at its entry."""
        self.moved = False
        observation, _ = self._plant.observe()
        self._base = self._plant.camera
        self.measured = Measured(self._told(observation), np.zeros(len(self.names)), self._pose())
        self.hold()

    def step(self) -> tuple[dict, dict]:
        """A control step of the environment towards the setpoint; what it shows and tells."""
        way = (self.joints - self.measured.joints) / self._plant.dt
        observation, _, _, _, info = self._plant.step(np.clip(way / self._fastest, -1.0, 1.0))
        joints = self._told(observation)
        self.measured = Measured(joints, (joints - self.measured.joints) / self._plant.dt, self._pose())
        return observation, info

    def hold(self) -> None:
        """Stay: what is measured becomes the setpoint."""
        self._move, self.joints = None, self.measured.joints

    def command(self, word: str) -> None:
        """A state_command. Whatever it leads to, a motion does not outlive it."""
        self.state.command(word)
        self.hold()

    def servo_jp(self, joints: Array) -> None:
        """Go to joints (J,), clipped to their limits."""
        require_ready(self.state)
        self._move = None
        self._set(joints)

    def servo_jr(self, change: Array) -> None:
        """Go on by (J,) from the joints' setpoint."""
        self.servo_jp(self.joints + change)

    def move_jp(self, joints: Array) -> None:
        """Travel to joints (J,), clipped to their limits, busy until the setpoint is there."""
        require_ready(self.state)
        start, goal = self.joints, np.clip(joints, self.low, self.high)
        seconds = float(np.max(np.abs(goal - start) / (SPEED * self._fastest))) / self.ratio
        self._move = Move(lambda share: self._set(start + share * (goal - start)), seconds)

    def move_jr(self, change: Array) -> None:
        """Travel on by (J,) from the joints' setpoint."""
        self.move_jp(self.joints + change)

    def refuse_pose(self, _: Any) -> None:
        """servo_cp, move_cp."""
        raise UserError("a flexible scope has no inverse kinematics: the lumen leads its tip; use servo_jp or move_jp")

    def set_ratio(self, ratio: float) -> None:
        """Slow moves down that begin from now on."""
        self.ratio = checked_ratio(ratio)

    def advance(self, seconds: float) -> None:
        """Let time pass: a move leads the setpoint on."""
        self.state.pass_time(seconds)
        if self._move is not None and self._move.advance(seconds):
            self._move = None

    def _set(self, joints: Array) -> None:
        self.joints, self.moved = np.clip(joints, self.low, self.high), True

    def _told(self, observation: dict[str, Array]) -> Array:
        return np.asarray(observation["proprio"], dtype=float)[self._seats]

    def _pose(self) -> Pose:
        """The camera's CRTK frame in the base's."""
        camera, base = self._plant.camera, self._base
        turn = cv2.Rodrigues(TURN @ base.rotation.T @ camera.rotation @ TURN)[0].ravel()    # rotation vector, rad
        angle = float(np.linalg.norm(turn))
        axis = turn / max(angle, 1e-12)
        place = optical_to_crtk(Pose(base.rotation.T @ np.subtract(camera.eye, base.eye), np.array([0.0, 0, 0, 1])))
        return Pose(place.position, np.array([*np.sin(angle / 2) * axis, np.cos(angle / 2)]))
