"""What a PSM with a needle driver looks like: shaft, collar, wrist and two jaws, of the project's own shapes."""

import numpy as np

from ..arm import PSM
from ..geometry import Array
from ..kinematics import YAW_TO_TIP
from ..scene import INSTRUMENT
from . import shapes
from .bullet import Bullet
from .occlusion import Rod

METAL, DARK = (0.62, 0.64, 0.68, 1.0), (0.16, 0.16, 0.18, 1.0)
# Profiles in m along each part's own z, out of the trocar; radii and widths of an 8 mm instrument.
SHAFT = [(0.0, -0.16), (0.0042, -0.16), (0.0042, -0.009)]
COLLAR = [(0.0043, -0.009), (0.0043, -0.003), (0.0030, 0.002), (0.0, 0.002)]
CLEVIS = [(-0.001, -0.0026, 0.0026, 0.0024), (0.006, -0.0026, 0.0026, 0.0020), (0.0105, -0.0014, 0.0014, 0.0014)]
JAW = [(-0.0015, 0.0, 0.0020, 0.0016), (0.004, 0.0, 0.0019, 0.0015), (0.0102, 0.0, 0.0008, 0.0009)]


SHAFT_RADIUS, WRIST_RADIUS, JAW_RADIUS, TIP_RADIUS = 0.0042, 0.0026, 0.0019, 0.0008     # m


def rods(arm: PSM) -> list[Rod]:
    """The arm as rods, for contact and sight: shaft, wrist, and the two jaws. About 0.5 mm from what is drawn."""
    frames = arm.frames()
    shaft, yaw, tip = frames[3], frames[5][:3, 3], frames[6]
    half = max(arm.jaw, 0.0) / 2
    opening = tip[:3, 1] * (np.sin(half) * YAW_TO_TIP)
    ahead = yaw + tip[:3, 2] * (np.cos(half) * YAW_TO_TIP)
    return [Rod(shaft[:3, 3] + shaft[:3, 2] * SHAFT[1][1], shaft[:3, 3], SHAFT_RADIUS, SHAFT_RADIUS),
            Rod(shaft[:3, 3], yaw, WRIST_RADIUS, WRIST_RADIUS),
            *(Rod(yaw, ahead + side * opening, JAW_RADIUS, TIP_RADIUS) for side in (-1, 1))]


class DrawnPSM:
    """Bullet bodies that follow one arm."""

    def __init__(self, bullet: Bullet):
        """Make the bodies."""
        mirrored = [(z, -high, -low, thick) for z, low, high, thick in JAW]
        parts = [(shapes.turned(SHAFT), DARK), (shapes.turned(COLLAR), METAL), (shapes.prism(CLEVIS), METAL),
                 (shapes.prism(JAW), METAL), (shapes.prism(mirrored), METAL)]
        self._bullet = bullet
        self._parts = [bullet.body(mesh, colour, label=INSTRUMENT) for mesh, colour in parts]

    def tint(self, brightness: float) -> None:
        """Make the metal brighter or darker by a factor."""
        for body, (*colour, alpha) in zip(self._parts, (DARK, METAL, METAL, METAL, METAL), strict=True):
            self._bullet.tint(body, (*(min(1.0, brightness * c) for c in colour), alpha))

    def draw(self, arm: PSM) -> None:
        """Bring the bodies to where the kinematics say they are."""
        frames = arm.frames()
        shaft, yaw, tip = frames[3], frames[5], frames[6]
        along = (yaw[:3, 3] - shaft[:3, 3]) / np.linalg.norm(yaw[:3, 3] - shaft[:3, 3])
        pitch_axis = frames[4][:3, 2]
        clevis = np.eye(4)      # its z along the link between the wrist's axes, its x along the pitch axis
        clevis[:3, :3] = np.column_stack([pitch_axis, np.cross(along, pitch_axis), along])
        clevis[:3, 3] = shaft[:3, 3]
        hinge = tip.copy()
        hinge[:3, 3] = yaw[:3, 3]
        half = max(arm.jaw, 0.0) / 2
        poses = [shaft, shaft, clevis, hinge @ _about_x(half), hinge @ _about_x(-half)]
        for body, pose in zip(self._parts, poses, strict=True):
            self._bullet.move(body, pose)


def _about_x(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
