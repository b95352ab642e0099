"""A cavity with a bed of folded tissue, one PSM, one marker, and an endoscope: where Reach takes place."""

import numpy as np

from .. import textures
from ..arm import PSM
from ..camera import Camera
from ..geometry import Array, look_at
from ..proprio import arm_channels, arm_measured
from ..scene import MARKER, Picture
from . import shapes
from .bullet import Bullet
from .instrument import DrawnPSM

BED = 0.125             # m, half the width of the tissue
CLEARANCE = 0.001       # m, between the tip and the tissue
RCM = np.array([0.085, 0.055, 0.120])                   # m, world: where PSM1's trocar is
HOME = np.array([0.0, 0.0, 0.16, 0.6, 0.45, -0.35])     # rad, m: a wrist slightly bent, as it is held in use
WORKSPACE = (np.array([-0.038, -0.034, -0.004]), np.array([0.038, 0.042, 0.045]))     # m, world
CAMERA = Camera("endoscope_left", eye=(0.0, -0.058, 0.088), target=(0.0, 0.004, 0.004), fov=56.0,
                near=0.02, far=0.40)


def tissue_height(x: Array, y: Array) -> Array:
    """Height in m of the tissue above z = 0: folds of about 4 mm in a cavity whose walls rise around."""
    return (0.0022 * np.sin(62 * x + 0.6) * np.cos(48 * y) + 0.0016 * np.sin(95 * y + 40 * x)
            + 1.6 * np.maximum(np.hypot(x, y - 0.005) - 0.045, 0) ** 1.5)


class Cavity:
    """Bodies: the arm PSM1 and the marker `target`. States are exact for a seed."""

    def __init__(self, dt: float = 1 / 30, camera: Camera = CAMERA):
        """dt: s, one control step."""
        self.dt, self.camera, self.workspace = dt, camera, WORKSPACE
        self.proprio = arm_channels(camera, WORKSPACE)
        base = np.eye(4)
        towards = look_at(RCM, np.array([0.0, 0.0, 0.01]), np.array([0.0, 0.0, 1.0]))
        base[:3, :3] = towards @ np.diag([1, -1, -1.0])     # an instrument points along -z of its base
        base[:3, 3] = RCM
        self.arms = ("PSM1",)
        self._arms = {"PSM1": PSM(base, HOME)}
        self._commands = {name: (np.zeros(6), arm.jaw) for name, arm in self._arms.items()}
        self._camera_rotation = camera.rotation
        self._target = np.array([0.0, 0.0, 0.01])
        self.bullet = Bullet()
        self.bullet.body(shapes.relief(tissue_height, BED, 38), (1, 1, 1, 1),
                         texture=textures.tissue(np.random.default_rng(7), size=1024))
        arc = np.linspace(-np.pi / 2, np.pi / 2, 9)
        ball = [(MARKER * float(np.cos(a)), MARKER * float(np.sin(a))) for a in arc]
        self._marker = self.bullet.body(shapes.turned(ball, 14), (0.10, 0.75, 0.42, 1.0))
        self._drawn = DrawnPSM(self.bullet)

    def reset(self, rng: np.random.Generator) -> None:
        """Arm at home, at rest. Nothing is rebuilt."""
        for name, arm in self._arms.items():
            arm.reset()
            self._commands[name] = (np.zeros(6), arm.jaw)

    def place(self, body: str, position: Array) -> None:
        """Put the target, or an arm's tip, at position (3,) m in the world."""
        if body in self._arms:
            self._arms[body].place(position)
        else:
            self._target = np.array(position, dtype=float)

    def surface(self, x: float, y: float) -> float:
        """Height z (m) of the tissue at x, y (m)."""
        return float(tissue_height(np.float64(x), np.float64(y)))

    def command(self, arm: str, twist: Array, jaw: float) -> None:
        """Twist (6,) m/s, rad/s in the camera frame and jaw in rad, from the next step on."""
        turned = np.concatenate([self._camera_rotation @ twist[:3], self._camera_rotation @ twist[3:]])
        self._commands[arm] = (turned, jaw)

    def step(self) -> None:
        """Let dt seconds pass: each arm follows its command and stays above the tissue."""
        for name, arm in self._arms.items():
            twist, jaw = self._commands[name]
            ahead = arm.tip[:3, 3] + twist[:3] * self.dt
            low = self.workspace[0].copy()
            low[2] = max(low[2], self.surface(ahead[0], ahead[1]) + CLEARANCE)
            arm.move(twist, jaw, self.dt, low, self.workspace[1])

    def pose(self, body: str) -> Array:
        """(4, 4) in the world: an arm's tip, or the target."""
        if body in self._arms:
            return self._arms[body].tip
        pose = np.eye(4)
        pose[:3, 3] = self._target
        return pose

    def jaw(self, arm: str) -> float:
        """Opening of the arm's jaws, rad."""
        return self._arms[arm].jaw

    def arm(self, name: str) -> PSM:
        """The kinematics behind an arm."""
        return self._arms[name]

    def measured(self) -> Array:
        """(8,) the arm's tip and jaw: see `proprio`."""
        return arm_measured(self.camera, self.pose("PSM1"), self.jaw("PSM1"))

    def picture(self, height: int, width: int) -> Picture:
        """What the endoscope sees now."""
        self._drawn.draw(self._arms["PSM1"])
        self.bullet.move(self._marker, self.pose("target"))
        return self.bullet.picture(self.camera, height, width)

    def close(self) -> None:
        """Free the engine."""
        self.bullet.close()
