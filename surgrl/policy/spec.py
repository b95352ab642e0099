"""What goes into a policy and what comes out, in names and units. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UserError

Array = NDArray[Any]
# What robots can tell of themselves, with units. An arm: the pose of its tip and the opening of its jaw. A flexible
# scope: the bend of its tip towards the image's right and bottom, how much of its shaft is in, and its roll.
ARM_PROPRIO = {"x": "m", "y": "m", "z": "m", "qx": "1", "qy": "1", "qz": "1", "qw": "1", "jaw": "rad"}
SCOPE_PROPRIO = {"bend_x": "rad", "bend_y": "rad", "inserted": "m", "roll": "rad"}
PROPRIO = ARM_PROPRIO | SCOPE_PROPRIO


FOCAL = 0.1         # of the trained focal length, by which a camera's may differ


@dataclass(frozen=True)
class ImageSpec:
    """How one camera frame becomes one network input."""

    camera: str                      # tf frame of the camera, optical convention: x right, y down, z forward
    width: int                       # px, of the camera frame that `crop` refers to
    height: int                      # px
    crop: tuple[int, int, int, int]  # top, left, height, width in px of that frame
    size: tuple[int, int]            # height, width in px after resizing
    stack: int                       # frames in one input, newest last
    rate: float                      # Hz, at which frames are stacked and actions are given
    colour: str = "rgb"              # order of the colour planes
    focal: float = 0.0               # focal length over the frame's height; 0: not known

    def __post_init__(self) -> None:
        """Refuse a spec that no frame can meet."""
        top, left, height, width = self.crop
        inside = 0 <= top < top + height <= self.height and 0 <= left < left + width <= self.width
        if not inside:
            raise UserError(f"image crop {self.crop} (top, left, height, width) leaves the "
                            f"{self.width}x{self.height} frame; it must lie inside it")
        sound = self.stack >= 1 and min(self.size) >= 8 and 0 < self.rate <= 1000
        if not (sound and self.colour in ("rgb", "bgr")):
            raise UserError(f"image spec: stack {self.stack} must be >= 1, size {self.size} >= 8 px, "
                            f"rate {self.rate} in (0, 1000] Hz, colour {self.colour!r} one of rgb, bgr")

    def foreign(self, height: int, width: int, focal: float) -> str | None:
        """Why a camera of that size (px) and focal length (px; 0: not calibrated) is not the policy's, or None."""
        if height * self.width != width * self.height:
            return f"it gives {width}x{height} px, another shape than the policy's {self.width}x{self.height}"
        if self.focal and focal and not abs(focal / height / self.focal - 1) <= FOCAL:
            return (f"its focal length is {focal / height:.2f} of the picture's height, the policy was trained with "
                    f"{self.focal:.2f}: it would take distances wrongly")
        return None

    def crop_in(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Crop box (top, left, height, width) in a frame of this size: same field of view, any resolution."""
        if height * self.width != width * self.height:
            raise UserError(f"a {width}x{height} frame has another shape than the {self.width}x{self.height} "
                            "that the policy was made for; crop it to that shape, or give the crop yourself")
        top, left, rows, columns = (round(edge * height / self.height) for edge in self.crop)
        return top, left, rows, columns


@dataclass(frozen=True)
class ProprioSpec:
    """What of the robot's own state the policy reads beside the image; empty for a policy on images alone."""

    names: tuple[str, ...] = ()      # out of PROPRIO, in the order of the network's input
    frame: str = ""                  # tf frame in which the pose is expressed

    def __post_init__(self) -> None:
        """Refuse a name that no robot reports."""
        unknown = [name for name in self.names if name not in PROPRIO]
        if unknown:
            raise UserError(f"proprio {unknown[0]!r} is unknown; allowed: of an arm {', '.join(ARM_PROPRIO)}; "
                            f"of a flexible scope {', '.join(SCOPE_PROPRIO)}")


@dataclass(frozen=True)
class ActionSpec:
    """A policy speaks in -1..1; the robot in SI units. Entries run in parallel."""

    names: tuple[str, ...]           # e.g. ("v_x", "v_y", "v_z", "jaw")
    units: tuple[str, ...]           # e.g. ("m/s", "m/s", "m/s", "rad")
    low: tuple[float, ...]           # value that -1 stands for
    high: tuple[float, ...]          # value that +1 stands for
    frame: str                       # tf frame in which the entries are expressed

    def __post_init__(self) -> None:
        """Refuse entries that do not run in parallel, or a range upside down."""
        if not len(self.names) == len(self.units) == len(self.low) == len(self.high) > 0:
            raise UserError(f"action spec: {len(self.names)} names, {len(self.units)} units, "
                            f"{len(self.low)} low, {len(self.high)} high; as many of each, and at least one")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not low < high:
                raise UserError(f"action {name!r} ranges from {low} to {high}; low must be below high")

    def to_si(self, action: Sequence[float] | Array) -> Array:
        """(A,) in [-1, 1] -> (A,) float64 in self.units; NaN stays NaN, so that the safety filter sees it."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        clipped = np.clip(np.asarray(action, dtype=float), -1.0, 1.0)
        return np.asarray(low + (clipped + 1.0) / 2.0 * (high - low))
