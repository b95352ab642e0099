"""What a colon looks like from inside: its wall in sections, lesions, and the landmarks of the caecum."""

from functools import cache

import numpy as np

from .. import textures
from ..anatomy import CAP, SIDES, STATIONS
from ..colon import Colon
from ..geometry import Array
from ..randomise import PALETTES, Style
from ..scope import Scope
from . import shapes
from .bullet import Bullet, Colour

SECTION = 10            # stations that are drawn or left out together
SHOWN = (0.07, 0.24)    # m of lumen behind and ahead of the camera that is drawn: farther off, the light is spent
SKINS = 4               # textures in the pool
MUCOSA = np.array([222.0, 142.0, 124.0])        # RGB, mean of the textures: a palette is a tint of it
POLYP, SPOT = (0.93, 0.55, 0.50, 1.0), (0.72, 0.40, 0.38, 1.0)
ORIFICE, VALVE = (0.16, 0.06, 0.05, 1.0), (0.97, 0.74, 0.56, 1.0)


@cache
def skin(index: int) -> Array:
    """One of the pool's textures (512, 512, 3) uint8 RGB, painted once in a process."""
    return textures.mucosa(np.random.default_rng([11, index]))


class DrawnColon:
    """Bullet bodies of one colon at a time; a new colon replaces them all."""

    def __init__(self, bullet: Bullet):
        """Paint the pool of textures; draw nothing yet."""
        self._bullet = bullet
        self._style = Style()
        self._seed: int | None = None                           # of the colon that Bullet holds
        self._bodies: dict[int, tuple[float, float]] = {}       # by id: from where to where along the centre line, m
        self._shown: set[int] = set()
        for index in range(SKINS):
            skin(index)

    def dress(self, style: Style) -> None:
        """Draw colons in a style's palette and texture from now on."""
        self._style, self._seed = style, None

    def draw(self, colon: Colon, scope: Scope) -> None:
        """Have Bullet hold this colon, and show the stretch of it that the scope's lamp reaches."""
        if self._seed != colon.seed:
            self._build(colon)
        behind, ahead = SHOWN if scope.rotation[:, 2] @ colon.frames[scope.station, :, 2] > 0 else SHOWN[::-1]
        for body, (first, last) in self._bodies.items():
            visible = first <= scope.arc + ahead and last >= scope.arc - behind
            if visible != (body in self._shown):
                self._bullet.show(body, visible)
                self._shown ^= {body}

    def _build(self, colon: Colon) -> None:
        self._bullet.clear()
        self._bodies = {}
        palette, seed = PALETTES.get(self._style.palette), self._style.texture
        tint = colon.tint if palette is None else np.minimum(np.array(palette) / MUCOSA, 1)
        colour = (*tint.tolist(), 1.0)
        texture = self._bullet.texture(skin(colon.skin % SKINS if seed < 0 else seed))
        vertices, normals, uvs, indices = colon.surface()
        ring, faces = SIDES + 1, 6 * SIDES
        for first in range(0, STATIONS - 1, SECTION):
            last = min(first + SECTION, STATIONS - 1)
            part = slice(first * ring, (last + 1) * ring)
            mesh = shapes.Mesh(vertices[part], normals[part], uvs[part],
                               indices[first * faces:last * faces] - first * ring)
            body = self._bullet.body(mesh, colour, texture=texture)
            self._bodies[body] = (float(colon.arc[first]), float(colon.arc[last]))
        marks = [(lesion.pose, lesion.size, SPOT if lesion.flat else POLYP) for lesion in colon.lesions]
        for pose, half_axes, colour in marks + _landmarks(colon):
            body = self._bullet.body(shapes.ellipsoid(half_axes), colour)
            self._bullet.move(body, pose)
            arc = float(colon.arc[colon.station(pose[:3, 3])])
            self._bodies[body] = (arc, arc)
        self._seed, self._shown = colon.seed, set(self._bodies)


def _landmarks(colon: Colon) -> list[tuple[Array, Array, Colour]]:
    """What a caecum is known by: the appendix's orifice beside the pole, the yellowish lips of the ileal valve."""
    side = colon.skin // SKINS % SIDES
    lips = colon.on_wall(STATIONS - CAP - 2, (side + SIDES // 2) % SIDES)
    marks = [(colon.on_wall(STATIONS - 2, side), np.array([0.0026, 0.0046, 0.0006]), ORIFICE),
             (lips, np.array([0.0012, 0.0080, 0.0022]), ORIFICE)]
    for away in (-0.0032, 0.0032):
        lip = lips.copy()
        lip[:3, 3] += away * lip[:3, 0]
        marks.append((lip, np.array([0.0028, 0.0100, 0.0040]), VALVE))
    return marks
