"""A PSM that goes where it is told, within joint limits: kinematics without an engine."""

import numpy as np

from . import kinematics
from .geometry import Array, rotation_by
from .state import State

JAW_SPEED = 2.0     # rad/s, a needle driver opens or closes in about half a second


class PSM:
    """State of one arm. Poses are (4, 4) in the world frame."""

    def __init__(self, base: Array, home: Array):
        """base: T_world_base (4, 4), the frame at the remote centre of motion. home: joints (6,) rad, m."""
        self.base, self._to_base = base, np.linalg.inv(base)
        self.home = np.asarray(home, dtype=float)
        self.reset()

    def reset(self) -> None:
        """Back to the home joints, jaws half open."""
        self.q, self.jaw = self.home.copy(), 0.5
        self.tip = self.base @ kinematics.forward(self.q)

    def frames(self) -> list[Array]:
        """The seven link frames (4, 4) in the world: one per joint, then the tip."""
        return [self.base @ frame for frame in kinematics.link_frames(self.q)]

    def place(self, position: Array) -> None:
        """Put the tip at position (3,) m in the orientation of home. ValueError where no joints reach it."""
        tip = self.base @ kinematics.forward(self.home)
        tip[:3, 3] = position
        if not self._take(tip):
            raise ValueError(f"PSM cannot bring its tip to {np.round(position, 4)} m (world) within its joint limits")

    def move(self, twist: Array, jaw: float, dt: float, low: Array, high: Array) -> None:
        """Follow a twist (6,) m/s, rad/s in the world for dt s, the tip kept in the box low..high (3,) m.

        What the joint limits do not allow is not done at all: the arm stays where it is.
        """
        tip = self.tip.copy()
        tip[:3, 3] = np.minimum(np.maximum(tip[:3, 3] + twist[:3] * dt, low), high)
        if twist[3:].any():
            tip[:3, :3] = rotation_by(twist[3:] * dt) @ tip[:3, :3]
        self._take(tip)
        wanted = min(max(jaw, kinematics.JAW_LOW), kinematics.JAW_HIGH)
        self.jaw += min(max(wanted - self.jaw, -JAW_SPEED * dt), JAW_SPEED * dt)

    def get_state(self) -> State:
        """Joints (6,) rad, m, jaw rad, and the tip (4, 4) as it was commanded: not rounded through the joints."""
        return {"q": self.q.copy(), "jaw": self.jaw, "tip": self.tip.copy()}

    def set_state(self, state: State) -> None:
        """Be there, exactly."""
        self.q, self.jaw, self.tip = np.array(state["q"]), float(state["jaw"]), np.array(state["tip"])

    def _take(self, tip: Array) -> bool:
        q = kinematics.inverse(self._to_base @ tip)
        q[3] = self.q[3] + (q[3] - self.q[3] + np.pi) % (2 * np.pi) - np.pi     # roll has more than one turn
        if not kinematics.within_limits(q):
            return False
        self.q, self.tip = q, tip
        return True
