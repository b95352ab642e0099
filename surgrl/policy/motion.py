"""Motion that never exceeds speed, acceleration or jerk and never leaves where the tip may be.

Every step keeps a way out: it is taken only if braking from where it leads stays within all limits to the end.
Braking is one fixed law, so what was found safe once is exactly what happens if nothing else ever is.
Plain floats: three numbers are too few for numpy to pay.
"""

from math import cos, sin, sqrt
from typing import NamedTuple

from .errors import UserError
from .limits import Limits, Vector

TINY = 1e-9             # m, m/s: of rounding
LONGEST_STOP = 1000     # steps; limits that need longer to stop are refused


class State(NamedTuple):
    """Of the commanded tip."""

    position: Vector            # m
    velocity: Vector            # m/s
    acceleration: Vector        # m/s^2

    @property
    def at_rest(self) -> bool:
        """Whether it stands, and goes on standing."""
        return _size(self.velocity) < TINY and _size(self.acceleration) < TINY


class Motion:
    """One tip, step by step."""

    def __init__(self, limits: Limits, dt: float):
        """dt: s of a step. UserError for limits with which the tip cannot be stopped soon."""
        self.limits, self.dt = limits, dt
        self._change = limits.jerk * dt     # m/s^2, of the acceleration in a step
        self.stop_seconds, self.stop_distance = self._full_stop()   # from full speed, s and m
        self.state: State | None = None

    def start(self, position: Vector) -> None:
        """At rest at `position`."""
        self.state = State((float(position[0]), float(position[1]), float(position[2])), ZERO, ZERO)

    def step(self, velocity: Vector) -> tuple[str, ...]:
        """Go on for dt towards the wanted velocity, m/s; how it was limited. The new place is in `state`."""
        assert self.state is not None, "start before you step"
        remarks = []
        speed = _size(velocity)
        if speed > self.limits.speed * (1 + TINY):
            velocity = _times(velocity, self.limits.speed / speed)
            remarks.append(f"speed {speed:.4f} m/s cut to {self.limits.speed:g}")
        now, wanted = self.state, velocity
        for _ in range(3):      # a corner of the box has three faces
            state = self._towards(now, wanted)
            wall, outward = self._in_the_way(state)
            if wall is None:
                break
            if wall not in remarks:
                remarks.append(wall)
            away = _dot(wanted, outward)
            wanted = _minus(wanted, _times(outward, max(away, 0.0)))
        else:
            state = self._towards(now, ZERO)
        if not remarks and _size(_minus(state.velocity, wanted)) > TINY:
            remarks.append("acceleration and jerk cut to their limits")
        self.state = state
        return tuple(remarks)

    def allows(self, position: Vector) -> str | None:
        """Why the tip must not be there, or None."""
        return self._outside(position)[0]

    def _towards(self, state: State, velocity: Vector) -> State:
        """One step of the fixed law: as fast to that velocity as jerk and acceleration let it come to rest there."""
        missing = _minus(velocity, state.velocity)
        size, dt = _size(missing), self.dt
        if size > 0:
            # What jerk can bring back to zero, step by step, just as the velocity is reached.
            ramp = self._change * (sqrt(0.25 + 2 * size / (self._change * dt)) - 0.5)
            wanted = _times(missing, min(self.limits.acceleration, ramp, size / dt) / size)
        else:
            wanted = ZERO
        change = _minus(wanted, state.acceleration)
        most = _size(change)
        if most > self._change:
            change = _times(change, self._change / most)
        acceleration = _plus(state.acceleration, change)
        velocity = _plus(state.velocity, _times(acceleration, dt))
        return State(_plus(state.position, _times(velocity, dt)), velocity, acceleration)

    def _in_the_way(self, state: State) -> tuple[str | None, Vector]:
        """What braking from here would break, if anything, and the direction out through it."""
        if self._far_from_all(state):
            return None, ZERO
        for _ in range(LONGEST_STOP):
            wall, outward = self._outside(state.position)
            if wall is not None:
                return wall, outward
            if _size(state.velocity) > self.limits.speed * (1 + 1e-6):
                return "turning too fast for the speed limit", _times(state.velocity, 1 / _size(state.velocity))
            if state.at_rest:
                return None, ZERO
            state = self._towards(state, ZERO)
        return "not coming to rest", ZERO

    def _far_from_all(self, state: State) -> bool:
        """Whether no way of braking can lead to any limit: most steps are like that, and this is cheap."""
        a = _size(state.acceleration)
        fastest = _size(state.velocity) + a * a / (2 * self.limits.jerk) + a * self.dt
        if fastest > self.limits.speed * (1 + TINY):
            return False
        reach = self.stop_distance + fastest * (a / self.limits.jerk + self.dt)
        inside = all(low + reach < x < high - reach for low, x, high in zip(
            self.limits.box_low, state.position, self.limits.box_high, strict=True))
        cone = self.limits.rcm
        if cone is None or not inside:
            return inside
        arm = _minus(state.position, cone.centre)
        depth, along = _size(arm), _dot(arm, cone.axis)
        aside = sqrt(max(depth * depth - along * along, 0.0))
        return (cone.depth_low + reach < depth < cone.depth_high - reach
                and along * sin(cone.angle) - aside * cos(cone.angle) > reach)

    def _outside(self, position: Vector) -> tuple[str | None, Vector]:
        for axis in range(3):
            if position[axis] < self.limits.box_low[axis] - TINY:
                return "kept inside the workspace box", _unit(axis, -1.0)
            if position[axis] > self.limits.box_high[axis] + TINY:
                return "kept inside the workspace box", _unit(axis, 1.0)
        cone = self.limits.rcm
        if cone is None:
            return None, ZERO
        arm = _minus(position, cone.centre)
        depth = _size(arm)
        if depth < cone.depth_low - TINY or depth > cone.depth_high + TINY:
            outward = 1.0 if depth > cone.depth_high else -1.0
            return "kept within the insertion depth", _times(arm, outward / max(depth, TINY))
        along = _dot(arm, cone.axis)
        if along < depth * cos(cone.angle) - TINY:
            # Out of the cone: away from the axis, at a right angle to the shaft.
            aside = _minus(arm, _times(cone.axis, along))
            out = _minus(aside, _times(arm, _dot(aside, arm) / (depth * depth)))
            return "kept inside the cone of the remote centre", _times(out, 1 / max(_size(out), TINY))
        return None, ZERO

    def _full_stop(self) -> tuple[float, float]:
        state, steps = State(ZERO, (self.limits.speed, 0.0, 0.0), ZERO), 0
        while not state.at_rest and steps <= LONGEST_STOP:
            state, steps = self._towards(state, ZERO), steps + 1
        if steps > LONGEST_STOP:
            limits = self.limits
            raise UserError(f"limits: with acceleration {limits.acceleration:g} m/s^2 and jerk {limits.jerk:g} m/s^3, "
                            f"a stop from speed {limits.speed:g} m/s takes more than {LONGEST_STOP * self.dt:g} s; "
                            "lower limits.speed, or raise the two")
        return steps * self.dt, state.position[0]


ZERO: Vector = (0.0, 0.0, 0.0)


def _unit(axis: int, sign: float) -> Vector:
    return (sign if axis == 0 else 0.0, sign if axis == 1 else 0.0, sign if axis == 2 else 0.0)


def _plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _times(a: Vector, factor: float) -> Vector:
    return a[0] * factor, a[1] * factor, a[2] * factor


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _size(a: Vector) -> float:
    return sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])
