"""The inside of a colon, seen from the tip of a flexible endoscope: where ColonNavigate takes place."""

from functools import cache
from math import radians, tan
from typing import Any, NamedTuple

import numpy as np

from .. import textures
from ..camera import Camera
from ..colon import CAP, SIDES, STATIONS, Colon
from ..endoscope import EndoscopeLight
from ..geometry import Array
from ..scene import Channel, Picture
from ..scope import BEND_LIMIT, SHAFT, Scope
from . import shapes
from .bullet import Bullet

FOV = 100.0             # degrees. A colonoscope's lens sees 140-170 through its distortion; a pinhole cannot show those
NEAR, FAR = 0.002, 0.5  # m; NEAR at the corners of a 4:3 image is 5.2 mm from the eye, within scope.TIP
# The lamp sits beside the lens: walls at 2 cm are well lit, the lumen 15 cm ahead is dark.
LIGHT = EndoscopeLight(power=1.0, reference=0.034, cone=0.6, vignette=0.30, gloss=0.25, polish=6,
                       colour=(1.0, 0.98, 0.93))
DEPTH_SEEN = 0.020      # m of lumen ahead that count as seeing it
SECTION = 10            # stations that are drawn or left out together
SHOWN = (0.07, 0.24)    # m of lumen behind and ahead of the camera that is drawn: farther off, the light is spent
SKINS = 4               # textures in the pool
POLYP, SPOT = (0.93, 0.55, 0.50, 1.0), (0.72, 0.40, 0.38, 1.0)
ORIFICE, VALVE = (0.16, 0.06, 0.05, 1.0), (0.97, 0.74, 0.56, 1.0)


class Lumen(NamedTuple):
    """The lumen as the camera sees it: the farthest point of the centre line in the picture that no wall hides."""

    direction: Array    # (3,) unit, camera frame; of the centre line ahead where the lumen is out of the picture
    offset: float       # DVC's d: from the image's centre, in half images; 1 where it is out of the picture


@cache
def skin(index: int) -> Array:
    """One of the pool's textures (512, 512, 3) uint8 RGB, painted once in a process."""
    return textures.mucosa(np.random.default_rng([11, index]))


class ColonScene:
    """One colon, one colonoscope. There is no instrument: masks are 0 everywhere. States are exact for a seed.

    Each colon is a new mesh, uploaded when the first picture of it is asked for.
    """

    arms: tuple[str, ...] = ()
    proprio = (Channel("bend_x", "rad", -BEND_LIMIT[0], BEND_LIMIT[0]),
               Channel("bend_y", "rad", -BEND_LIMIT[1], BEND_LIMIT[1]),
               Channel("inserted", "m", 0.0, SHAFT), Channel("roll", "rad", -np.pi, np.pi))

    def __init__(self, dt: float = 1 / 15):
        """dt: s, one control step."""
        self.dt = dt
        self.bullet = Bullet(LIGHT, ambient=0.5)
        self._drawn: int | None = None          # seed of the colon that Bullet holds
        for index in range(SKINS):
            skin(index)
        self._begin(Colon(0))

    def reset(self, rng: np.random.Generator) -> None:
        """A new colon; the tip at its entry."""
        self._begin(Colon(int(rng.integers(1 << 62))))

    def enter(self, depth: float, bend: Array) -> None:
        """Put the tip on the centre line, depth m from the entry, bent by (2,) rad."""
        self.scope.enter(self.colon, depth=depth, bend=bend)
        self._camera = self._lumen = None

    def drive(self, bend: Array, insertion: float, roll: float = 0.0) -> None:
        """What the scope does from the next step on: (2,) rad/s towards the image's right and bottom, m/s, rad/s."""
        self._command = (np.array(bend, dtype=float), float(insertion), float(roll))

    def step(self) -> None:
        """Let dt seconds pass."""
        self.scope.move(*self._command, self.dt)
        self._camera = self._lumen = None

    @property
    def camera(self) -> Camera:
        """At the tip, looking where it points."""
        if self._camera is None:
            eye, rotation = self.scope.position, self.scope.rotation
            target, up = eye + 0.1 * rotation[:, 2], -rotation[:, 1]
            self._camera = Camera("colonoscope", tuple(eye.tolist()), tuple(target.tolist()), FOV, NEAR, FAR,
                                  tuple(up.tolist()))
        return self._camera

    def lumen(self) -> Lumen:
        """Where the lumen ahead goes out of sight."""
        if self._lumen is None:
            scope, colon = self.scope, self.colon
            seen = colon.in_sight(scope.position, scope.station)
            seen = seen[colon.arc[seen] - scope.arc >= DEPTH_SEEN]
            points = (colon.centre[seen] - scope.position) @ scope.rotation                     # (K, 3) camera frame
            off = np.hypot(points[:, 0], points[:, 1]) / np.maximum(points[:, 2], 1e-9) / tan(radians(FOV) / 2)
            shown = np.flatnonzero(off < 1)
            if len(shown):
                self._lumen = Lumen(points[shown[-1]] / np.linalg.norm(points[shown[-1]]), float(off[shown[-1]]))
            else:
                ahead = (colon.centre[min(scope.station + 4, STATIONS - 1)] - scope.position) @ scope.rotation
                self._lumen = Lumen(ahead / max(float(np.linalg.norm(ahead)), 1e-9), 1.0)
        return self._lumen

    def measured(self) -> Array:
        """(4,) what the scope's handle and drive can tell: see `proprio`."""
        return np.array([*self.scope.bend, self.scope.inserted, self.scope.roll])

    def picture(self, height: int, width: int) -> Picture:
        """What the endoscope sees now."""
        self.draw()
        return self.bullet.picture(self.camera, height, width)

    def draw(self) -> None:
        """Have Bullet hold this colon, and show the stretch of it that the lamp reaches."""
        if self._drawn != self.colon.seed:
            self._build()
        scope = self.scope
        behind, ahead = SHOWN if scope.rotation[:, 2] @ self.colon.frames[scope.station, :, 2] > 0 else SHOWN[::-1]
        for body, (first, last) in self._bodies.items():
            visible = first <= scope.arc + ahead and last >= scope.arc - behind
            if visible != (body in self._shown):
                self.bullet.show(body, visible)
                self._shown ^= {body}

    def get_state(self) -> dict[str, Any]:
        """A value from which `set_state` goes on exactly."""
        bend, insertion, roll = self._command
        return {"colon": self.colon.seed, "scope": self.scope.get_state(),
                "command": np.array([*bend, insertion, roll])}

    def set_state(self, state: dict[str, Any]) -> None:
        """Be as `get_state` said."""
        if state["colon"] != self.colon.seed:
            self._begin(Colon(state["colon"]))
        self.scope.set_state(state["scope"])
        bend_x, bend_y, insertion, roll = (float(v) for v in state["command"])
        self.drive(np.array([bend_x, bend_y]), insertion, roll)
        self._camera = self._lumen = None

    def close(self) -> None:
        """Free the engine."""
        self.bullet.close()

    def _build(self) -> None:
        self.bullet.clear()
        self._bodies: dict[int, tuple[float, float]] = {}       # by id: where along the centre line, m
        colour = (*self.colon.tint.tolist(), 1.0)
        texture = self.bullet.texture(skin(self.colon.skin % SKINS))
        vertices, normals, uvs, indices = self.colon.surface()
        ring, faces = SIDES + 1, 6 * SIDES
        for first in range(0, STATIONS - 1, SECTION):
            last = min(first + SECTION, STATIONS - 1)
            part = slice(first * ring, (last + 1) * ring)
            mesh = shapes.Mesh(vertices[part], normals[part], uvs[part],
                               indices[first * faces:last * faces] - first * ring)
            body = self.bullet.body(mesh, colour, texture=texture)
            self._bodies[body] = (self.colon.arc[first], self.colon.arc[last])
        for lesion in self.colon.lesions:
            self._stick(lesion.pose, lesion.size, SPOT if lesion.flat else POLYP)
        for pose, size, shade in self._landmarks():
            self._stick(pose, size, shade)
        self._drawn, self._shown = self.colon.seed, set(self._bodies)

    def _begin(self, colon: Colon) -> None:
        self.colon, self.scope = colon, Scope(colon)
        self._command = (np.zeros(2), 0.0, 0.0)
        self._camera: Camera | None = None
        self._lumen: Lumen | None = None

    def _stick(self, pose: Array, size: Array, colour: tuple[float, float, float, float]) -> None:
        """An ellipsoid on the wall."""
        body = self.bullet.body(shapes.ellipsoid(size), colour)
        self.bullet.move(body, pose)
        arc = float(self.colon.arc[self.colon.station(pose[:3, 3])])
        self._bodies[body] = (arc, arc)

    def _landmarks(self) -> list[tuple[Array, Array, tuple[float, float, float, float]]]:
        """What a caecum is known by: the appendix's orifice near the pole, the yellowish lips of the ileal valve."""
        turn = self.colon.skin // SKINS % SIDES
        orifice = self.colon.on_wall(STATIONS - 2, turn)
        lips = self.colon.on_wall(STATIONS - CAP - 2, (turn + SIDES // 2) % SIDES)
        shapes_of = []
        for side in (-1, 1):
            lip = lips.copy()
            lip[:3, 3] += side * 0.0032 * lip[:3, 0]
            shapes_of.append((lip, np.array([0.0028, 0.010, 0.0040]), VALVE))
        cleft = lips.copy()
        return [(orifice, np.array([0.0022, 0.0040, 0.0006]), ORIFICE), *shapes_of,
                (cleft, np.array([0.0012, 0.008, 0.0022]), ORIFICE)]
