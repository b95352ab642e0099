"""Films of our own scenes for intuitive physics: an instrument moves, things keep their places, every object is told.

The arm is put on a path (`scene.place`) that obeys what the simulator would hold it to: its speed and workspace, the
tissue, and a flap that stands up like a wall. Flap and lesion do not move: the simulator's sheet would fall, and its
jaws meet it only when they close, so here somebody else holds it. Marker and lesion are not solid, as in Reach.
"""

from typing import Any, NamedTuple

import numpy as np

from .policy.spec import Array
from .world import make_env

FRAMES = 15             # as Piloto et al. 2022
PERIOD = 4              # control steps between two frames
SPEED = 0.05            # m/s along each axis: the fastest that Reach's actions are
CLEARANCE = 0.001       # m, that the simulator keeps between tip and tissue
SOLID = 0.0027          # m, from the middle of the flap to the middle of the jaws that touch it: 1.9 + 0.8 mm
LOW, HIGH = np.array([-0.030, -0.026, 0.0]), np.array([0.030, 0.034, 0.036])    # m, where the tip wanders
BALL = 0.0035           # m, radius of the marker
ROWS, COLUMNS = 20, 20  # of the flap's vertices
AWAY = np.array([0.0, 0.0, -0.05])      # m, of what is not to be seen: it lies under the bed


class Film(NamedTuple):
    """What the endoscope saw, and which object every pixel shows."""

    images: Array       # (T, H, W, 3) uint8 RGB
    labels: Array       # (T, H, W) uint8: 1 tissue, 2 instrument, 3 target (marker or lesion), 4 flap


class Wall(NamedTuple):
    """A flap that stands up along y. Its foot is at x + slope y; it leans towards +x."""

    x: float            # m, where y is 0
    slope: float
    lean: float         # of x over height
    height: float       # m
    low: float          # m, its ends in y
    high: float

    def middle(self, y: Array, above: Array) -> Array:
        """x (m) of its middle at y, `above` m over the tissue."""
        return self.x + self.slope * y + self.lean * above


class Studio:
    """Two scenes: a cavity with a marker, and a cavity with a flap and a lesion."""

    def __init__(self, side: int = 64):
        """side: px of the square pictures."""
        self._side = side
        self._cavity, self._theatre = (make_env(task).unwrapped for task in ("surgrl/Reach-v0", "surgrl/Retract-v0"))
        for env in (self._cavity, self._theatre):
            env.reset(seed=0)
        self.step = self._cavity.dt * PERIOD        # s, between two frames
        self.eye = np.array(self._cavity.camera.eye)
        frames = self._cavity.scene.arm("PSM1").frames()
        self.trocar = frames[0][:3, 3]              # (3,) m, world
        # From the end of the shaft to the tip. It hardly depends on where the arm is: `place` keeps the tip's turn.
        self.wrist_to_tip = frames[6][:3, 3] - frames[3][:3, 3]

    def ground(self, x: float, y: float) -> float:
        """Height (m) of the tissue."""
        return self._cavity.scene.surface(x, y)

    def lowest(self, tip: Array) -> Array:
        """The tip (3,) m, lifted to where the tissue lets it be."""
        return np.array([*tip[:2], max(tip[2], self.ground(*tip[:2]) + CLEARANCE)])

    def with_marker(self, path: Array, marker: Array | None) -> Film:
        """path (T, 3) m of the tip; marker (2,) m, or None where there is none."""
        scene = self._cavity.scene
        scene.place("target", AWAY if marker is None else np.array([*marker, self.ground(*marker) + BALL]))
        return self._film(scene, path)

    def with_flap(self, path: Array, wall: Wall | None, lesion: Array) -> Film:
        """path (T, 3) m of the tip; wall: the flap, or None where there is none; lesion (2,) m."""
        env = self._theatre
        env.scene.place("lesion", np.array([*lesion, 0.0]))
        env.set_state(env.get_state() | {"scene/sheet/x": self._sheet(wall).T.copy()})
        return self._film(env.scene, path)

    def close(self) -> None:
        """Free both scenes."""
        self._cavity.close()
        self._theatre.close()

    def _film(self, scene: Any, path: Array) -> Film:
        seen = []
        for tip in path:
            scene.place("PSM1", tip)
            seen.append(scene.picture(self._side, self._side))
        return Film(np.stack([picture.image for picture in seen]), np.stack([picture.labels for picture in seen]))

    def _sheet(self, wall: Wall | None) -> Array:
        """(ROWS COLUMNS, 3) m: row 0 is its foot."""
        shown = wall or Wall(0.0, 0.0, 0.0, 0.012, -0.02, 0.02)
        up, y = np.meshgrid(np.linspace(0, shown.height, ROWS), np.linspace(shown.low, shown.high, COLUMNS),
                            indexing="ij")
        foot = np.array([[self.ground(shown.middle(b, 0.0), b) for b in row] for row in y])
        points = np.stack([shown.middle(y, up), y, foot + up], -1).reshape(-1, 3)
        return points if wall else points + AWAY
