"""What a CRTK arm's controller does between commands and motors: setpoints, moves, limits, states. Knows no ROS.

As a dVRK does: it refuses commands while it is not ready, clips joints to their limits, does not move where no joints
reach, and stays at its last setpoint when commands cease. Poses are in the camera's optical frame.
"""

from typing import Any, NamedTuple

import numpy as np

from surgrl.policy.errors import UserError
from surgrl.policy.spec import Array

from .crtk import OperatingState
from .messages import Pose
from .motion import Move, Way, turn_between

HOMING = 0.5                                                    # s; the arm stands where it is at home already
JOINT_SPEED = np.array([0.3, 0.3, 0.05, 1.0, 1.0, 1.0])         # rad/s, m/s, of moves, at their fastest
TIP_SPEED, TURN_SPEED, JAW_SPEED = 0.03, 0.6, 1.5               # m/s, rad/s, rad/s, likewise


class NotReadyError(UserError):
    """A command that would be fine, if the arm were ENABLED, homed and not homing."""


class UnreachableError(UserError):
    """A place that the arm cannot reach."""


class Measured(NamedTuple):
    """What the arm's sensors tell."""

    joints: Array           # (6,) rad, m
    speeds: Array           # (6,) rad/s, m/s
    tip: Pose
    linear: Array           # (3,) m/s, of the tip
    angular: Array          # (3,) rad/s
    jaw: float              # rad


class SimArm:
    """Setpoint of one arm of an environment (`plant`), and what leads it there."""

    def __init__(self, plant: Any, *, ready: bool, tracking_error: float = 0.0):
        """plant: offers arm(), workspace. tracking_error: m that the tip may be behind before FAULT; 0: any."""
        self.state = OperatingState(ready=ready, homing=HOMING)
        self.ratio = 1.0            # of the moves' speeds, in ]0, 1]
        self.moved = False          # whether a command has moved the arm since `begin`
        self._plant, self._allowed_error = plant, tracking_error
        self._moves: dict[str, Move] = {}       # "arm", "jaw"
        self.begin()

    @property
    def busy(self) -> bool:
        """Whether it homes or moves; a servo command makes no arm busy."""
        return self.state.busy or bool(self._moves)

    def begin(self) -> None:
        """The environment was reset: the arm stands elsewhere, at rest."""
        self.view = self._plant.arm("PSM1")
        self.moved = False
        self._tell(np.zeros(6), np.zeros(3), np.zeros(3))
        self.hold()

    def step(self) -> tuple[dict, dict]:
        """A control step of the environment towards the setpoint; what it shows and tells."""
        observation, _, _, _, info = self._plant.servo(self.setpoint.position, self.setpoint.quaternion, self.jaw)
        self.measure(self._plant.dt)
        return observation, info

    def measure(self, seconds: float) -> None:
        """The environment has made a step of that length: see where the arm is and how fast it came there."""
        before, tip = self.measured, Pose(*self.view.tip)
        self._tell((self.view.joints - before.joints) / seconds, (tip.position - before.tip.position) / seconds,
                   turn_between(before.tip.quaternion, tip.quaternion) / seconds)

    def hold(self) -> None:
        """Stay: where the arm is now becomes the setpoint."""
        self._moves.clear()
        self.joints, self.jaw = self.view.joints, self.view.jaw     # setpoints: (6,) rad, m; rad
        self.setpoint = Pose(*self.view.tip)

    def command(self, word: str) -> None:
        """A state_command. Whatever it leads to, a motion does not outlive it."""
        self.state.command(word)
        self.hold()

    def servo_cp(self, pose: Pose) -> None:
        """Go to a pose. UserError, and no motion, where the arm is not ready or cannot get there."""
        self._begin_motion()
        self._set(pose)

    def servo_jp(self, joints: Array) -> None:
        """Go to joints (6,), clipped to their limits."""
        self._begin_motion()
        self._set(self._reached(joints))

    def servo_jr(self, change: Array) -> None:
        """Go on by (6,) from the joints' setpoint."""
        self.servo_jp(self.joints + change)

    def move_cp(self, pose: Pose) -> None:
        """Travel straight to a pose, busy until the setpoint is there."""
        self._begin_motion()
        way = Way(self.setpoint, self._checked(pose)[0])
        self._moves["arm"] = Move(lambda share: self._set(way.at(share)),
                                  max(way.length / TIP_SPEED, way.turn / TURN_SPEED) / self.ratio)

    def move_jp(self, joints: Array) -> None:
        """Travel to joints (6,), clipped to their limits, busy until the setpoint is there."""
        self._begin_motion()
        start, goal = self.joints, np.clip(joints, self.view.low, self.view.high)
        self._moves["arm"] = Move(lambda share: self._set(self._reached(start + share * (goal - start))),
                                  float(np.max(np.abs(goal - start) / JOINT_SPEED)) / self.ratio)

    def move_jr(self, change: Array) -> None:
        """Travel on by (6,) from the joints' setpoint."""
        self.move_jp(self.joints + change)

    def servo_jaw(self, jaw: float) -> None:
        """Open or close the jaws to rad, clipped to their range."""
        require_ready(self.state)
        self._moves.pop("jaw", None)
        self.jaw = float(np.clip(jaw, *self.view.jaw_range))

    def move_jaw(self, jaw: float) -> None:
        """The same with a bounded speed, busy until the setpoint is there."""
        require_ready(self.state)
        start, goal = self.jaw, float(np.clip(jaw, *self.view.jaw_range))
        self._moves["jaw"] = Move(lambda share: setattr(self, "jaw", start + share * (goal - start)),
                                  abs(goal - start) / JAW_SPEED / self.ratio)

    def set_ratio(self, ratio: float) -> None:
        """Slow moves down that begin from now on."""
        self.ratio = checked_ratio(ratio)

    def advance(self, seconds: float) -> None:
        """Let time pass: moves lead the setpoint on. UserError when one cannot go on, or the arm has failed."""
        self.state.pass_time(seconds)
        behind = float(np.linalg.norm(self.setpoint.position - self.view.tip[0]))
        if self.state.ready and 0 < self._allowed_error < behind:
            self.state.fail()
            self.hold()
            raise UserError(f"the tip was {behind * 1e3:.1f} mm behind its setpoint; tracking_error allows "
                            f"{self._allowed_error * 1e3:.1f} mm. Enable the arm again")
        for name, move in list(self._moves.items()):
            try:
                done = move.advance(seconds)
            except UnreachableError:
                self.hold()
                raise
            if done:
                self._moves.pop(name, None)

    def _tell(self, speeds: Array, linear: Array, angular: Array) -> None:
        self.measured = Measured(self.view.joints, speeds, Pose(*self.view.tip), linear, angular, self.view.jaw)

    def _begin_motion(self) -> None:
        require_ready(self.state)
        self._moves.pop("arm", None)

    def _reached(self, joints: Array) -> Pose:
        return Pose(*self.view.forward(np.clip(joints, self.view.low, self.view.high)))

    def _checked(self, pose: Pose) -> tuple[Pose, Array]:
        """The pose, kept in the workspace, and its joints."""
        low, high = self._plant.workspace
        kept = Pose(np.clip(pose.position, low, high), pose.quaternion)
        try:
            return kept, self.view.inverse(*kept, near=self.joints)
        except ValueError as error:
            raise UnreachableError(f"no motion: {error}") from error

    def _set(self, pose: Pose) -> None:
        self.setpoint, self.joints = self._checked(pose)
        self.moved = True


def checked_ratio(ratio: float) -> float:
    """The ratio of trajectory_j/set_ratio; UserError for one that slows nothing down."""
    if not 0 < ratio <= 1:
        raise UserError(f"trajectory_j/set_ratio {ratio}: it must be above 0 and at most 1")
    return ratio


def require_ready(state: OperatingState) -> None:
    """NotReadyError while an arm takes no commands that move it."""
    if not state.ready:
        raise NotReadyError(f"arm not ready ({state.word if state.homed else f'{state.word}, not homed'})")
