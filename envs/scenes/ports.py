"""How the theatre is set up: where the endoscope looks from, where PSM1's trocar is, where its tip may go."""

import numpy as np

from ..arm import PSM
from ..camera import Camera
from ..geometry import look_at

RCM = np.array([0.085, 0.055, 0.120])                   # m, world: where PSM1's trocar is
HOME = np.array([0.0, 0.0, 0.16, 0.6, 0.45, -0.35])     # rad, m: a wrist slightly bent, as it is held in use
WORKSPACE = (np.array([-0.038, -0.034, -0.004]), np.array([0.038, 0.042, 0.045]))     # m, world
CAMERA = Camera("endoscope_left", eye=(0.0, -0.058, 0.088), target=(0.0, 0.004, 0.004), fov=56.0,
                near=0.02, far=0.40)


def psm1() -> PSM:
    """The arm behind PSM1's trocar, at home."""
    base = np.eye(4)
    towards = look_at(RCM, np.array([0.0, 0.0, 0.01]), np.array([0.0, 0.0, 1.0]))
    base[:3, :3] = towards @ np.diag([1, -1, -1.0])     # an instrument points along -z of its base
    base[:3, 3] = RCM
    return PSM(base, HOME)
