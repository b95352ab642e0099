"""What every physical world offers: bodies, arms and an endoscope. It knows no goal."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .arm import PSM
from .camera import Camera
from .geometry import Array
from .randomise import Style
from .state import State

MARKER = 0.0035         # m, radius of the marker, and how high the body "target" is above the tissue
NOTHING, TISSUE, INSTRUMENT, TARGET, FLAP = range(5)
LABELS = {NOTHING: "nothing", TISSUE: "tissue", INSTRUMENT: "instrument", TARGET: "target", FLAP: "flap"}


class Channel(NamedTuple):
    """One number that goes in or comes out. Of an action: what -1 and +1 stand for; of proprio: its range."""

    name: str       # "v_x", "v_y", "v_z": tip velocity in the camera frame; "jaw"; "bend_x", "insertion"
    unit: str
    low: float
    high: float


def checked_action(action: Any, channels: Sequence[Channel]) -> Array:
    """(A,) float; ValueError for what is not a finite number in [-1, 1] for each channel."""
    action = np.asarray(action, dtype=float)
    if action.shape != (len(channels),):
        raise ValueError(f"action has shape {action.shape}; it must be {(len(channels),)}, "
                         f"one number in [-1, 1] for each of {', '.join(channel.name for channel in channels)}")
    if not (np.abs(action) <= 1 + 1e-6).all():      # NaN fails too
        raise ValueError(f"action {action} leaves [-1, 1]; clip it, and look for NaN in what made it")
    return action


class Picture(NamedTuple):
    """One rasterisation of the scene: what the endoscope sees and what only a simulator knows of it."""

    image: Array    # (H, W, 3) uint8 RGB
    labels: Array   # (H, W) uint8, what each pixel shows: see LABELS
    depth: Array    # (H, W) float32 m, along the optical axis

    @property
    def mask(self) -> Array:
        """(H, W) uint8, 1 where the instrument is."""
        return (self.labels == INSTRUMENT).astype(np.uint8)


class Grip(NamedTuple):
    """What an arm's jaws hold of the tissue."""

    vertices: Array     # (K,) indices into the tissue; none where nothing is held
    force: Array        # (3,) N, world: of the tissue on the jaws
    slipped: bool       # whether the tissue was pulled out of the closed jaws in this episode


class Stage(Protocol):
    """What any physical world offers, whatever moves in it; all that SurgicalEnv needs."""

    dt: float                           # s, one control step
    camera: Camera                      # as it stands now: a flexible endoscope takes it along
    arms: tuple[str, ...]               # of a robot like the dVRK; none where an endoscope alone moves
    proprio: tuple[Channel, ...]        # what the robot can tell of itself

    def reset(self, rng: np.random.Generator) -> None:
        """Back to rest."""

    def restyle(self, style: Style) -> None:
        """Look like this from now on; `reset` follows."""

    def step(self) -> None:
        """Let dt seconds pass."""

    def measured(self) -> Array:
        """(P,) the proprio now."""

    def picture(self, height: int, width: int, camera: Camera | None = None) -> Picture:
        """What the endoscope sees now, or another camera in its place."""

    def get_state(self) -> State:
        """All that the next step depends on, as a value: a flat dict of arrays and numbers."""

    def set_state(self, state: State) -> None:
        """Go on from there, exactly."""

    def close(self) -> None:
        """Free the engine."""


class Scene(Stage, Protocol):
    """A world of arms and bodies on tissue."""

    workspace: tuple[Array, Array]      # (3,), (3,) m, world: the box that the tips are kept in

    def place(self, body: str, position: Array, turn: float = 0.0) -> None:
        """Put a body (an arm: its tip) at position (3,) m in the world, turned about the vertical by `turn` rad."""

    def surface(self, x: float, y: float) -> float:
        """Height z (m, world) of the tissue at x, y (m, world)."""

    def command(self, arm: str, twist: Array, jaw: float) -> None:
        """Set what `arm` does from the next step on: twist (6,) m/s, rad/s in the camera frame, jaw in rad."""

    def pose(self, body: str) -> Array:
        """(4, 4) pose in the world of a body, or of an arm's tip."""

    def jaw(self, arm: str) -> float:
        """Opening of the arm's jaws, rad."""

    def arm(self, name: str) -> PSM:
        """The kinematics behind an arm."""

    def force(self, arm: str) -> Array:
        """(3,) N, world: of the tissue on the arm's jaws."""


class TissueScene(Scene, Protocol):
    """A scene with a sheet of tissue that an arm can hold."""

    tissue_shape: tuple[int, int]       # rows, columns; row 0 is anchored

    def tissue(self) -> Array:
        """(rows columns, 3) m, world: where the tissue is, row by row."""

    def strain(self) -> float:
        """The largest strain in the tissue."""

    def grip(self, arm: str) -> Grip:
        """What the arm's jaws hold."""

    def visible(self, body: str) -> float:
        """Share in [0, 1] that the endoscope sees of what it would see of a body without tissue and arm."""
