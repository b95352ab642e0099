"""What every physical world offers: bodies, arms and an endoscope. It knows no goal."""

from typing import NamedTuple, Protocol

import numpy as np

from .camera import Camera
from .geometry import Array

MARKER = 0.0035         # m, radius of the body "target"


class Channel(NamedTuple):
    """One number that goes in or comes out. Of an action: what -1 and +1 stand for; of proprio: its range."""

    name: str       # "v_x", "v_y", "v_z": tip velocity in the camera frame; "jaw"; "bend_x", "insertion"
    unit: str
    low: float
    high: float


class Picture(NamedTuple):
    """One rasterisation of the scene: what the endoscope sees and what only a simulator knows of it."""

    image: Array    # (H, W, 3) uint8 RGB
    mask: Array     # (H, W) uint8, 1 where the instrument is
    depth: Array    # (H, W) float32 m, along the optical axis


class Stage(Protocol):
    """What any physical world offers, whatever moves in it; all that SurgicalEnv needs."""

    dt: float                           # s, one control step
    camera: Camera                      # as it stands now: a flexible endoscope takes it along
    arms: tuple[str, ...]               # of a robot like the dVRK; none where an endoscope alone moves
    proprio: tuple[Channel, ...]        # what the robot can tell of itself

    def reset(self, rng: np.random.Generator) -> None:
        """Back to rest."""

    def step(self) -> None:
        """Let dt seconds pass."""

    def measured(self) -> Array:
        """(P,) the proprio now."""

    def picture(self, height: int, width: int) -> Picture:
        """What the endoscope sees now."""

    def close(self) -> None:
        """Free the engine."""


class Scene(Stage, Protocol):
    """A world of arms and bodies on tissue."""

    workspace: tuple[Array, Array]      # (3,), (3,) m, world: the box that the tips are kept in

    def place(self, body: str, position: Array) -> None:
        """Put a body (an arm: its tip) at position (3,) m in the world."""

    def surface(self, x: float, y: float) -> float:
        """Height z (m, world) of the tissue at x, y (m, world)."""

    def command(self, arm: str, twist: Array, jaw: float) -> None:
        """Set what `arm` does from the next step on: twist (6,) m/s, rad/s in the camera frame, jaw in rad."""

    def pose(self, body: str) -> Array:
        """(4, 4) pose in the world of a body, or of an arm's tip."""

    def jaw(self, arm: str) -> float:
        """Opening of the arm's jaws, rad."""
