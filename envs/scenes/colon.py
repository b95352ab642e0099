"""The inside of a colon, seen from the tip of a flexible endoscope: where ColonNavigate takes place."""

from math import radians, tan
from typing import NamedTuple

import numpy as np

from ..anatomy import STATIONS
from ..camera import Camera
from ..colon import Colon
from ..endoscope import EndoscopeLight
from ..geometry import Array
from ..randomise import Style, styled_light
from ..scene import Channel, Picture
from ..scope import BEND_LIMIT, SHAFT, STIFFNESS, Scope
from ..state import State, part, prefixed
from .bullet import Bullet
from .lumen import DrawnColon

FOV = 100.0             # degrees. A colonoscope's lens sees 140-170 through its distortion; a pinhole cannot show those
NEAR, FAR = 0.002, 0.5  # m; NEAR at the corners of a 4:3 image is 5.2 mm from the eye, within scope.TIP
# The lamp sits beside the lens: walls at 2 cm are well lit, the lumen 15 cm ahead is dark.
LIGHT = EndoscopeLight(power=1.0, reference=0.034, cone=0.6, vignette=0.30, gloss=0.25, polish=6, blur=0.06,
                       colour=(1.0, 0.98, 0.93))
DEPTH_SEEN = 0.020      # m of lumen ahead that count as seeing it


class Lumen(NamedTuple):
    """The lumen as the camera sees it: the farthest point of the centre line in the picture that no wall hides."""

    direction: Array    # (3,) unit, camera frame; of the centre line ahead where the lumen is out of the picture
    offset: float       # DVC's d: from the image's centre, in half images; 1 where it is out of the picture


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
        self._drawn = DrawnColon(self.bullet)
        self._fov, self._stiffness = FOV, STIFFNESS
        self._begin(Colon(0))

    def restyle(self, style: Style) -> None:
        """Look and yield like this from now on; `reset` must follow. The camera is the robot: only its lens varies."""
        self.bullet.relight(styled_light(LIGHT, style))
        self._fov, self._stiffness = FOV * style.fov_scale, STIFFNESS * style.stiffness
        self._drawn.dress(style)

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
            self._camera = Camera("colonoscope", tuple(eye.tolist()), tuple(target.tolist()), self._fov, NEAR, FAR,
                                  tuple(up.tolist()))
        return self._camera

    def lumen(self) -> Lumen:
        """Where the lumen ahead goes out of sight."""
        if self._lumen is None:
            scope, colon = self.scope, self.colon
            seen = colon.in_sight(scope.position, scope.station)
            seen = seen[colon.arc[seen] - scope.arc >= DEPTH_SEEN]
            points = (colon.centre[seen] - scope.position) @ scope.rotation                     # (K, 3) camera frame
            off = np.hypot(points[:, 0], points[:, 1]) / np.maximum(points[:, 2], 1e-9) / tan(radians(self._fov) / 2)
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

    def picture(self, height: int, width: int, camera: Camera | None = None) -> Picture:
        """What the endoscope sees now, or another camera in its place."""
        self._drawn.draw(self.colon, self.scope)
        return self.bullet.picture(camera or self.camera, height, width)

    def get_state(self) -> State:
        """A value from which `set_state` goes on exactly."""
        bend, insertion, roll = self._command
        return {"colon": self.colon.seed, "command": np.array([*bend, insertion, roll]),
                **prefixed("scope", self.scope.get_state())}

    def set_state(self, state: State) -> None:
        """Be as `get_state` said."""
        if state["colon"] != self.colon.seed:
            self._begin(Colon(int(state["colon"])))
        self.scope.set_state(part(state, "scope"))
        bend_x, bend_y, insertion, roll = (float(v) for v in state["command"])
        self.drive(np.array([bend_x, bend_y]), insertion, roll)
        self._camera = self._lumen = None

    def close(self) -> None:
        """Free the engine."""
        self.bullet.close()

    def _begin(self, colon: Colon) -> None:
        self.colon, self.scope = colon, Scope(colon, stiffness=self._stiffness)
        self._command = (np.zeros(2), 0.0, 0.0)
        self._camera: Camera | None = None
        self._lumen: Lumen | None = None
