"""What an arm may do, checked whole before anything moves."""

from dataclasses import dataclass, fields

import numpy as np

from .errors import UserError

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Cone:
    """Where the tip may be, seen from the remote centre of motion: a cone around the cannula's axis."""

    centre: Vector              # m, the remote centre
    axis: Vector                # from the centre into the patient, of any length
    angle: float                # rad, between the axis and the shaft, at most
    depth_low: float            # m, of the tip beyond the centre; a dVRK needs 0.045 for Cartesian motion
    depth_high: float           # m

    def __post_init__(self) -> None:
        """Refuse a cone without an inside; the axis is kept at length 1."""
        length = float(np.linalg.norm(self.axis))
        sound = len(self.centre) == 3 == len(self.axis) and np.isfinite(self.centre).all() and 1e-6 < length < np.inf
        if not (sound and 0 < self.angle < np.pi / 2 and 0 < self.depth_low < self.depth_high < np.inf):
            raise UserError(f"limits.rcm: centre {list(self.centre)} m, axis {list(self.axis)}, angle "
                            f"{self.angle} rad, depth {self.depth_low} to {self.depth_high} m cannot be; give "
                            "three numbers each, an axis that is not zero, an angle between 0 and 1.57, "
                            "and 0 < low < high")
        object.__setattr__(self, "axis", tuple(float(value) / length for value in self.axis))


@dataclass(frozen=True)
class Limits:
    """Of one arm, in the command frame (CRTK camera: x left, y up, z away)."""

    speed: float                        # m/s, of the tip
    acceleration: float                 # m/s^2
    jerk: float                         # m/s^3
    box_low: Vector                     # m, corner of the workspace
    box_high: Vector                    # m, the opposite corner
    max_lead: float = 0.01              # m, of the command ahead of the measured tip
    jaw_speed: float = 2.0              # rad/s; a needle driver closes in about half a second
    jaw_low: float = -0.35              # rad, closed firmly (dVRK: -20 degrees)
    jaw_high: float = 1.4               # rad, open
    max_image_age: float = 0.1          # s, oldest image that is acted on: three frames at 30 Hz
    max_action_age: float = 0.1         # s since the policy was last heard
    max_state_age: float = 0.05         # s, oldest measured_* and setpoint_* acted on: five messages of a dVRK
    max_enable_age: float = 0.2         # s since the operator's pedal was last heard
    good_frames: int = 5                # actions in a row, after a hold, before anything moves
    wild_actions: int = 10              # actions outside [-1, 1] in a row, from which on the gate latches
    oscillation: float = 0.25           # of the mean squared change of wanted velocity, 1 = from -speed to speed
    rcm: Cone | None = None             # None: the box alone bounds the tip

    def __post_init__(self) -> None:
        """Refuse limits that are not finite, not positive, or upside down."""
        anywhere = ("box_low", "box_high", "jaw_low", "jaw_high", "rcm")
        for name in (entry.name for entry in fields(self) if entry.name not in anywhere):
            if not 0 < getattr(self, name) < np.inf:
                raise UserError(f"limits.{name} is {getattr(self, name)}; it must be positive and finite")
        for name, corner in (("box_low", self.box_low), ("box_high", self.box_high)):
            if len(corner) != 3:
                raise UserError(f"limits.{name} is {list(corner)}; it must be three numbers: x, y, z in m")
        for axis, low, high in zip("xyz", self.box_low, self.box_high, strict=True):
            if not -np.inf < low < high < np.inf:
                raise UserError(f"limits: the workspace box in {axis} runs from {low} to {high} m; "
                                "low must be below high, both finite")
        if not -np.pi <= self.jaw_low < self.jaw_high <= np.pi:
            raise UserError(f"limits: the jaw runs from {self.jaw_low} to {self.jaw_high} rad; "
                            "low must be below high, both within -3.14 and 3.14")
