"""What every physical world offers: bodies, arms and an endoscope. It knows no goal."""

from typing import NamedTuple, Protocol

import numpy as np

from .camera import Camera
from .geometry import Array
from .state import State

MARKER = 0.0035         # m, radius of the body "target"


class Picture(NamedTuple):
    """One rasterisation of the scene: what the endoscope sees and what only a simulator knows of it."""

    image: Array    # (H, W, 3) uint8 RGB
    mask: Array     # (H, W) uint8, 1 where the instrument is
    depth: Array    # (H, W) float32 m, along the optical axis


class Scene(Protocol):
    """The physical world."""

    dt: float                           # s, one control step
    camera: Camera
    workspace: tuple[Array, Array]      # (3,), (3,) m, world: the box that the tips are kept in

    def reset(self, rng: np.random.Generator) -> None:
        """Back to rest."""

    def place(self, body: str, position: Array) -> None:
        """Put a body (an arm: its tip) at position (3,) m in the world."""

    def surface(self, x: float, y: float) -> float:
        """Height z (m, world) of the tissue at x, y (m, world)."""

    def command(self, arm: str, twist: Array, jaw: float) -> None:
        """Set what `arm` does from the next step on: twist (6,) m/s, rad/s in the camera frame, jaw in rad."""

    def step(self) -> None:
        """Let dt seconds pass."""

    def pose(self, body: str) -> Array:
        """(4, 4) pose in the world of a body, or of an arm's tip."""

    def jaw(self, arm: str) -> float:
        """Opening of the arm's jaws, rad."""

    def picture(self, height: int, width: int) -> Picture:
        """What the endoscope sees now."""

    def get_state(self) -> State:
        """All that the next step depends on, as a value: a flat dict of arrays and numbers."""

    def set_state(self, state: State) -> None:
        """Go on from there, exactly."""

    def close(self) -> None:
        """Free the engine."""
