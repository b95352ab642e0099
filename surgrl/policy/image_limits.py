"""When a fault of the picture holds the robot: numbers only, so that who declares them need not see pictures."""

from dataclasses import dataclass

import numpy as np

from .errors import UserError

GRID = 8                # tiles along each edge of the region that is looked at


@dataclass(frozen=True)
class ImageLimits:
    """When a fault of the picture holds the robot, and when it stays held."""

    frozen_frames: int = 5      # frames in a row that show nothing new; 0: off, as noiseless simulators need
    overlay_tiles: int = 8      # of the 64 tiles of the region: those that may change in a frozen picture, e.g. a clock
    blank_frames: int = 2       # frames in a row that are black, white or a test picture; 0: off
    strange_frames: int = 4     # frames in a row that do not fit the profile; 0: off
    tolerance: float = 1.0      # factor on the profile's ranges and distances: above 1 lets more pass
    strange_latch: float = 2.0  # s of frames spoilt by lens, light or colour, until an operator must look
    unlike_latch: float = 1.0   # s of frames unlike any of training, until then
    good_frames: int = 5        # frames in a row that must be good before the robot may move, at first and again

    def __post_init__(self) -> None:
        """Refuse limits that could never act."""
        for name in ("frozen_frames", "overlay_tiles", "blank_frames", "strange_frames", "good_frames"):
            value, least = getattr(self, name), int(name == "good_frames")
            if not value >= least:
                raise UserError(f"image limit {name} is {value}; it must be at least {least}")
        if not self.overlay_tiles < GRID * GRID:
            raise UserError(f"image limit overlay_tiles is {self.overlay_tiles}; it must be below {GRID * GRID}, "
                            "which is the whole region")
        for name in ("tolerance", "strange_latch", "unlike_latch"):
            if not 0 < getattr(self, name) < np.inf:
                raise UserError(f"image limit {name} is {getattr(self, name)}; it must be positive and finite")
