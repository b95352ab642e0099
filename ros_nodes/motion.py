"""How a setpoint travels: smoothly, in a bounded time, and from pose to pose in a straight line."""

from collections.abc import Callable

import numpy as np

from surgrl.policy.spec import Array

from .messages import Pose

PEAK = 1.875    # fastest over mean speed of a minimum-jerk move


class Move:
    """A minimum-jerk journey of a setpoint (Flash & Hogan 1985)."""

    def __init__(self, go: Callable[[float], None], seconds: float):
        """go: puts the setpoint at a share in [0, 1] of the way. seconds: that it would take at its fastest speed."""
        self._go, self._seconds, self._passed = go, PEAK * seconds, 0.0

    def advance(self, seconds: float) -> bool:
        """Get on; whether it has arrived."""
        self._passed += seconds
        time = 1.0 if self._passed >= self._seconds else self._passed / self._seconds
        self._go(time ** 3 * (10 - 15 * time + 6 * time ** 2))
        return time == 1.0


class Way:
    """Straight from one pose to another, turning evenly."""

    def __init__(self, start: Pose, goal: Pose):
        """The shorter way round."""
        self._start, self._distance = start, goal.position - start.position
        self.length = float(np.linalg.norm(self._distance))         # m
        turn = turn_between(start.quaternion, goal.quaternion)
        self.turn = float(np.linalg.norm(turn))                     # rad
        self._axis = turn / max(self.turn, 1e-12)

    def at(self, share: float) -> Pose:
        """The pose at a share in [0, 1] of the way."""
        half = share * self.turn / 2
        turned = _product(np.array([*np.sin(half) * self._axis, np.cos(half)]), self._start.quaternion)
        return Pose(self._start.position + share * self._distance, turned)


def turn_between(before: Array, after: Array) -> Array:
    """Rotation vector (3,) rad that leads from one orientation (4,) x y z w to the other, in their common frame."""
    *vector, real = _product(after, before * [-1, -1, -1, 1])
    sine = float(np.linalg.norm(vector))
    if sine < 1e-12:
        return np.zeros(3)
    angle = 2 * np.arctan2(sine, real)
    return (angle - 2 * np.pi * (angle > np.pi)) / sine * np.array(vector)


def _product(a: Array, b: Array) -> Array:
    """Of two quaternions: first b, then a."""
    vector = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.array([*vector, a[3] * b[3] - a[:3] @ b[:3]])
