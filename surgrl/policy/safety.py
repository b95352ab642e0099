"""The last word before the robot. Pure arithmetic on SI values; holds no learned part."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .errors import UserError
from .spec import Array

ROUNDING = 1e-6     # m, how far outside the box a setpoint may lie before it counts as outside
FUTURE = 5e-3       # s, how far a stamp may run ahead of our clock: two machines' clocks, kept in step, do


@dataclass(frozen=True)
class Limits:
    """What the arm may do, in the command frame. Checked whole before anything moves."""

    speed: float                            # m/s, of the tip
    acceleration: float                     # m/s^2, of the tip
    box_low: tuple[float, float, float]     # m, corner of the workspace
    box_high: tuple[float, float, float]    # m
    max_lead: float                         # m, how far the command may run ahead of the measured tip
    max_age: Mapping[str, float]            # s, oldest input of each name that may still be acted on
    jaw_speed: float = 2.0                  # rad/s, of the jaw; a needle driver closes in about half a second

    def __post_init__(self) -> None:
        """Refuse limits that are not finite, not positive, or upside down."""
        positive = {"speed": self.speed, "acceleration": self.acceleration, "max_lead": self.max_lead,
                    "jaw_speed": self.jaw_speed,
                    **{f"max_age of {name}": age for name, age in self.max_age.items()}}
        for name, value in positive.items():
            if not 0 < value < np.inf:
                raise UserError(f"limit {name} is {value}; it must be positive and finite")
        for name, corner in (("box_low", self.box_low), ("box_high", self.box_high)):
            if len(corner) != 3:
                raise UserError(f"limit {name} is {list(corner)}; it must be three numbers: x, y, z in m")
        for axis, low, high in zip("xyz", self.box_low, self.box_high, strict=True):
            if not -np.inf < low < high < np.inf:
                raise UserError(f"workspace box in {axis} runs from {low} to {high} m; "
                                "low must be below high, both finite")


class Verdict(NamedTuple):
    """What is really sent, and why it is not what was asked."""

    target: Array               # (3,) m; the last target again when holding
    hold: bool                  # True: nothing may move
    reasons: tuple[str, ...]    # empty when the target went through unchanged


class SafetyFilter:
    """Turns wanted tip velocities into bounded absolute targets; holds on what is stale or not finite."""

    def __init__(self, limits: Limits, dt: float):
        """dt: s between two commands."""
        if not 0 < dt < np.inf:
            raise UserError(f"command period is {dt} s; it must be positive and finite")
        self.limits, self.dt = limits, dt
        self.seed(None)

    def seed(self, setpoint: Array | None, jaw: float | None = None) -> None:
        """Start from where the robot was last told to be: (3,) m, jaw rad; None: hold until seeded."""
        self._target = None if setpoint is None else np.array(setpoint, dtype=float)
        self._jaw = jaw
        self._velocity = np.zeros(3)
        self._due = 0.0         # s of motion that time has allowed and no command has used yet
        self._step = 0.0        # s of motion in the last command

    def filter(self, velocity: Array, measured: Array, ages: Mapping[str, float],
               elapsed: float | None = None) -> Verdict:
        """Wanted tip velocity (3,) m/s, measured tip (3,) m, age of each input s -> absolute target to send.

        Every name in limits.max_age must come with an age; a negative one (a stamp from the future) holds.
        elapsed: s since the last call, None for dt. Images that arrive in a burst thus share the motion of
        the time they took: over any t seconds the target moves no further than speed * (t + 2 dt).
        """
        reason = self.refuses(measured, ages)
        if reason is None and (np.shape(velocity) != (3,) or not np.isfinite(velocity).all()):
            reason = f"policy's velocity {np.asarray(velocity)} is not three finite numbers"
        if reason is not None:
            self._velocity = np.zeros(3)
            last = np.full(3, np.nan) if self._target is None else self._target
            return Verdict(last.copy(), True, (reason,))
        assert self._target is not None
        self._due = min(self._due + max(self.dt if elapsed is None else elapsed, 0.0), 2 * self.dt)
        self._step = min(self.dt, self._due)
        self._due -= self._step
        if not self._step > 0:
            return Verdict(self._target.copy(), False, ("no time has passed since the last command",))
        reasons = []
        wanted = np.asarray(velocity, dtype=float)
        speed = float(np.linalg.norm(wanted))
        if speed > self.limits.speed:
            wanted = wanted * (self.limits.speed / speed)
            reasons.append(f"speed {speed:.4f} m/s cut to {self.limits.speed:g}")
        change = wanted - self._velocity
        most, size = self.limits.acceleration * self._step, float(np.linalg.norm(change))
        if size > most:
            wanted = self._velocity + change * (most / size)
            reasons.append(f"acceleration {size / self._step:.3f} m/s2 cut to {self.limits.acceleration:g}")
        free = self._target + wanted * self._step
        target = np.clip(free, self.limits.box_low, self.limits.box_high)
        if not np.array_equal(target, free):
            reasons.append("target kept inside the workspace box")
        self._velocity = (target - self._target) / self._step
        self._target = target
        return Verdict(target.copy(), False, tuple(reasons))

    def filter_jaw(self, wanted: float) -> float:
        """Wanted jaw angle rad -> the angle to send, after `filter` let the tip's command through."""
        assert self._jaw is not None, "seed the jaw before it is commanded"
        most = self.limits.jaw_speed * self._step
        self._jaw += float(np.clip(wanted - self._jaw, -most, most))
        return self._jaw

    def refuses(self, measured: Array, ages: Mapping[str, float]) -> str | None:
        """Why nothing may move, or None: measured tip (3,) m, age of each input s."""
        for name, limit in self.limits.max_age.items():
            age = ages.get(name, np.nan)
            if not np.isfinite(age):
                return f"{name} is missing"
            if age < -FUTURE:
                return f"{name} comes from the future by {-age * 1e3:.0f} ms; are the clocks in step?"
            if not age <= limit:
                return f"{name} is {age * 1e3:.0f} ms old, limit {limit * 1e3:.0f} ms"
        if np.shape(measured) != (3,) or not np.isfinite(measured).all():
            return "measured position is not three finite numbers"
        if self._target is None or not np.isfinite(self._target).all():
            return "no setpoint to start from"
        low, high = np.asarray(self.limits.box_low), np.asarray(self.limits.box_high)
        # The measured tip needs no box of its own: it may lie max_lead from a setpoint inside, no further.
        if not ((self._target >= low - ROUNDING) & (self._target <= high + ROUNDING)).all():
            return (f"setpoint {np.round(self._target, 4)} m is outside the workspace box "
                    f"{np.round(low, 4)} to {np.round(high, 4)}; move the arm into it")
        lead = float(np.linalg.norm(self._target - measured))
        if not lead <= self.limits.max_lead:
            return (f"robot is {lead * 1e3:.1f} mm behind its command, "
                    f"limit {self.limits.max_lead * 1e3:.1f} mm")
        return None
