"""A lesion: a dome on the bed of tissue, hidden until what lies over it is lifted."""

import numpy as np

from .. import textures
from ..geometry import Array
from ..scene import TARGET
from . import shapes
from .bed import tissue_height
from .bullet import Bullet

RADIUS = 0.0065         # m, where the dome meets the bed
HEIGHT = 0.0026         # m
SAMPLES = 64            # points on the dome for the share that is visible


def dome(x: Array, y: Array) -> Array:
    """Height m over the plane of the bed at x, y m from the lesion's axis; below 0 outside of it."""
    return HEIGHT * (1 - (x * x + y * y) / RADIUS ** 2)


def pose(x: float, y: float) -> Array:
    """(4, 4) in the world of a lesion at x, y m: on the bed, along its normal."""
    step = 1e-4
    slope = [float(tissue_height(np.float64(x + a * step), np.float64(y + b * step))
                   - tissue_height(np.float64(x - a * step), np.float64(y - b * step))) / (2 * step)
             for a, b in ((1, 0), (0, 1))]
    normal = np.array([-slope[0], -slope[1], 1.0])
    normal /= np.sqrt(normal @ normal)
    right = np.array([1.0, 0.0, slope[0]])
    right /= np.sqrt(right @ right)
    frame = np.eye(4)
    frame[:3, 0], frame[:3, 2] = right, normal
    frame[:3, 1] = (normal[1] * right[2] - normal[2] * right[1], normal[2] * right[0] - normal[0] * right[2],
                    normal[0] * right[1] - normal[1] * right[0])
    frame[:3, 3] = x, y, float(tissue_height(np.float64(x), np.float64(y)))
    return frame


def samples() -> tuple[Array, Array, Array]:
    """Points (P, 3) m on the dome, unit normals (P, 3) and the areas (P,) m^2 they stand for, in the lesion's frame."""
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(SAMPLES)            # a sunflower's: even over the disc
    radius = RADIUS * np.sqrt((np.arange(SAMPLES) + 0.5) / SAMPLES)
    x, y = radius * np.cos(turn), radius * np.sin(turn)
    normals = np.stack([2 * HEIGHT * x / RADIUS ** 2, 2 * HEIGHT * y / RADIUS ** 2, np.ones(SAMPLES)], -1)
    length = np.linalg.norm(normals, axis=1)
    return np.stack([x, y, dome(x, y)], -1), normals / length[:, None], np.pi * RADIUS ** 2 / SAMPLES * length


def draw(bullet: Bullet) -> int:
    """Its body. The dome goes on below the bed, so that no edge shows."""
    def knobbly(x: Array, y: Array) -> Array:
        return dome(x, y) + 0.00018 * np.sin(1900 * x) * np.cos(1700 * y + 0.5)
    return bullet.body(shapes.relief(knobbly, RADIUS * 1.2, 12), (1, 1, 1, 1),
                       texture=textures.tumour(np.random.default_rng(3)), label=TARGET)
