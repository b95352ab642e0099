"""The bed of folded tissue in a cavity: its height, and its body."""

from collections.abc import Callable

import numpy as np

from .. import textures
from ..geometry import Array
from ..randomise import PALETTES, Style
from . import shapes
from .bullet import Bullet

HALF_WIDTH = 0.125      # m
CLEARANCE = 0.001       # m, between a tip and the tissue
SEED = 7                # of the texture as built


def tissue_height(x: Array, y: Array) -> Array:
    """Height in m of the tissue above z = 0: folds of about 4 mm in a cavity whose walls rise around."""
    return (0.0022 * np.sin(62 * x + 0.6) * np.cos(48 * y) + 0.0016 * np.sin(95 * y + 40 * x)
            + 1.6 * np.maximum(np.hypot(x, y - 0.005) - 0.045, 0) ** 1.5)


def draw(bullet: Bullet) -> int:
    """Put the bed there; its body."""
    return bullet.body(shapes.relief(tissue_height, HALF_WIDTH, 38), (1, 1, 1, 1),
                       texture=textures.tissue(np.random.default_rng(SEED), size=1024), backdrop=True)


def dress(bullet: Bullet, bed: int, style: Style) -> None:
    """Paint the bed in a style's palette and texture."""
    seed, base = style.texture if style.texture >= 0 else SEED, PALETTES.get(style.palette)
    bullet.paint(bed, f"bed {seed} {style.palette}",
                 lambda: textures.tissue(np.random.default_rng(seed), 1024, *(() if base is None else (base,))))


class HeightTable:
    """A height looked up at the nearest of many points: ten times faster than the formula, for many at once."""

    def __init__(self, height: Callable[[Array, Array], Array], half_width: float, spacing: float):
        """Square of 2 x half_width m about the origin; beyond it the height at its edge."""
        self._half_width, self._per_metre = half_width, 1 / spacing
        line = np.arange(-half_width, half_width + spacing / 2, spacing)
        self._last = len(line) - 1
        self._heights = height(line[:, None], line[None, :]).ravel()

    def __call__(self, x: Array, y: Array) -> Array:
        """Heights (N,) m at x, y (N,) m."""
        column = np.minimum(np.maximum((x + self._half_width) * self._per_metre + 0.5, 0), self._last).astype(np.intp)
        row = np.minimum(np.maximum((y + self._half_width) * self._per_metre + 0.5, 0), self._last).astype(np.intp)
        return self._heights[column * (self._last + 1) + row]
