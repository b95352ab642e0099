"""A cavity with a bed of folded tissue, one PSM, one marker, and an endoscope: where Reach takes place."""

import numpy as np

from ..arm import PSM
from ..camera import Camera
from ..geometry import Array, look_at, rotation_by
from ..proprio import arm_channels, arm_measured
from ..randomise import Style
from ..scene import MARKER, TARGET, Picture
from ..state import State
from . import bed, ports, shapes
from .arms import Arms
from .bullet import Bullet
from .instrument import DrawnPSM
from .theatre import restyle

NEEDLE = 0.0083         # m, radius of a half-circle needle 26 mm long (as SH and RB-1 classes are told)


def _ball() -> shapes.Mesh:
    arc = np.linspace(-np.pi / 2, np.pi / 2, 9)
    return shapes.turned([(MARKER * float(np.cos(a)), MARKER * float(np.sin(a))) for a in arc], 14)


def _needle() -> shapes.Mesh:
    return shapes.bow(NEEDLE, 0.0006, np.pi)


TARGETS = {"marker": (_ball, (0.10, 0.75, 0.42, 1.0)), "needle": (_needle, (0.80, 0.82, 0.86, 1.0))}


class Cavity:
    """Bodies: the arm PSM1 and the body `target`: a marker or a needle. States are exact for a seed."""

    def __init__(self, dt: float = 1 / 30, camera: Camera = ports.CAMERA, target: str = "marker"):
        """dt: s, one control step. target: a ball, `marker`, or a suturing needle, `needle`."""
        if target not in TARGETS:
            raise ValueError(f"target {target!r} is unknown; allowed: {', '.join(TARGETS)}")
        self.dt, self.camera, self.workspace = dt, camera, ports.WORKSPACE
        self.proprio = arm_channels(camera, ports.WORKSPACE)
        self.arms = ("PSM1",)
        self._arms = Arms({"PSM1": ports.psm1()}, camera.rotation, self.workspace)
        self._target = np.eye(4)
        self.bullet = Bullet()
        self._bed = bed.draw(self.bullet)
        mesh, colour = TARGETS[target]
        self._target_body = self.bullet.body(mesh(), colour, label=TARGET)
        self._drawn = DrawnPSM(self.bullet)

    def restyle(self, style: Style) -> None:
        """Look like this from now on."""
        self.camera = restyle(style, bullet=self.bullet, bed_body=self._bed, arms=self._arms, drawn=self._drawn)

    def reset(self, rng: np.random.Generator) -> None:
        """Arm at home, at rest. Nothing is rebuilt."""
        self._arms.reset()

    def place(self, body: str, position: Array, turn: float = 0.0) -> None:
        """Put an arm's tip, or the target, at position (3,) m in the world; the target lies along the tissue."""
        if body in self._arms:
            self._arms[body].place(position)
        else:
            x, y = float(position[0]), float(position[1])
            slopes = [(self.surface(x + a, y + b) - self.surface(x - a, y - b)) / 0.004
                      for a, b in ((0.002, 0), (0, 0.002))]
            upright = look_at(np.zeros(3), np.array([-slopes[0], -slopes[1], 1.0]), np.array([0.0, 1.0, 0.0]))
            self._target[:3, :3] = upright @ rotation_by(np.array([0.0, 0.0, turn]))
            self._target[:3, 3] = position

    def surface(self, x: float, y: float) -> float:
        """Height z (m) of the tissue at x, y (m)."""
        return float(bed.tissue_height(np.float64(x), np.float64(y)))

    def command(self, arm: str, twist: Array, jaw: float) -> None:
        """Twist (6,) m/s, rad/s in the camera frame and jaw in rad, from the next step on."""
        self._arms.command(arm, twist, jaw)

    def step(self) -> None:
        """Let dt seconds pass: each arm follows its command and stays above the tissue."""
        self._arms.step(self.dt, self.surface)

    def pose(self, body: str) -> Array:
        """(4, 4) in the world: an arm's tip, or the target."""
        if body in self._arms:
            return self._arms[body].tip
        return self._target

    def jaw(self, arm: str) -> float:
        """Opening of the arm's jaws, rad."""
        return self._arms[arm].jaw

    def arm(self, name: str) -> PSM:
        """The kinematics behind an arm."""
        return self._arms[name]

    def force(self, arm: str) -> Array:
        """(3,) N, world: none, there is nothing to take hold of."""
        return np.zeros(3)

    def get_state(self) -> State:
        """All that the next step depends on, as a value."""
        return self._arms.get_state() | {"target": self._target.copy()}

    def set_state(self, state: State) -> None:
        """Go on from there, exactly."""
        self._arms.set_state(state)
        self._target = np.array(state["target"])

    def measured(self) -> Array:
        """(8,) the arm's tip and jaw: see `proprio`."""
        return arm_measured(self.camera, self.pose("PSM1"), self.jaw("PSM1"))

    def picture(self, height: int, width: int, camera: Camera | None = None) -> Picture:
        """What the endoscope sees now, or another camera in its place."""
        self._show()
        return self.bullet.picture(camera or self.camera, height, width)

    def close(self) -> None:
        """Free the engine."""
        self.bullet.close()

    def _show(self) -> None:
        """Bring the bodies to where the state has them."""
        self._drawn.draw(self._arms["PSM1"])
        self.bullet.move(self._target_body, self._target)
