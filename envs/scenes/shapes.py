"""Triangle meshes of the scene's own bodies: turned parts, a jaw, a bed of tissue. Metres; no foreign meshes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..geometry import Array


class Mesh(NamedTuple):
    """Triangles with one normal and one texture coordinate for each vertex."""

    vertices: Array     # (V, 3) m
    normals: Array      # (V, 3) unit
    uvs: Array          # (V, 2) in [0, 1]
    indices: Array      # (3 F,) int, counter-clockwise seen from outside


def turned(profile: list[tuple[float, float]], sides: int = 16) -> Mesh:
    """Body of revolution about z. profile: (radius, z) in m from one end to the other; edges stay sharp."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)                                     # (S + 1, 2)
    vertices, normals, indices = [], [], []
    for (r0, z0), (r1, z1) in zip(profile, profile[1:], strict=False):
        slope = np.array([z1 - z0, r0 - r1]) / np.hypot(z1 - z0, r1 - r0)                   # outward, (radial, z)
        start = len(vertices) * 2 * (sides + 1)
        vertices.append(np.concatenate([np.column_stack([ring * r, np.full(sides + 1, z)])
                                        for r, z in ((r0, z0), (r1, z1))]))
        normals.append(np.tile(np.column_stack([ring * slope[0], np.full(sides + 1, slope[1])]), (2, 1)))
        low = start + np.arange(sides)
        high = low + sides + 1
        indices.append(np.stack([low, low + 1, high, low + 1, high + 1, high], -1).ravel())
    vertices_all = np.concatenate(vertices)
    return Mesh(vertices_all, np.concatenate(normals), np.zeros((len(vertices_all), 2)), np.concatenate(indices))


def bow(radius: float, tube: float, angle: float, steps: int = 18, sides: int = 8) -> Mesh:
    """Round rod bent to an arc of `angle` rad in the plane z = 0, its middle at the origin, pointed at one end; m."""
    along = np.linspace(-angle / 2, angle / 2, steps + 1)
    around = np.linspace(0, 2 * np.pi, sides + 1)
    thick = tube * np.minimum(1, 0.15 + 4 * (1 - np.linspace(0, 1, steps + 1)))
    outward = np.stack([np.sin(along), np.cos(along), np.zeros(steps + 1)], -1)                 # (n, 3)
    normals = (np.cos(around)[None, :, None] * outward[:, None]
               + np.sin(around)[None, :, None] * np.array([0.0, 0.0, 1.0]))                     # (n, s, 3)
    centre = radius * (outward - np.array([0.0, 1.0, 0.0]))
    vertices = centre[:, None] + thick[:, None, None] * normals
    corner = (np.arange(steps)[:, None] * (sides + 1) + np.arange(sides)).ravel()
    ahead, up = corner + sides + 1, corner + 1
    indices = np.stack([corner, up, ahead, up, ahead + 1, ahead], -1).ravel()
    flat = vertices.reshape(-1, 3)
    return Mesh(flat, normals.reshape(-1, 3), np.zeros((len(flat), 2)), indices)


def prism(sections: list[tuple[float, float, float, float]]) -> Mesh:
    """Four-sided body along z. sections: (z, x low, x high, half thickness in y) in m; flat shaded, ends closed."""
    corners = [np.array([[x0, -y, z], [x1, -y, z], [x1, y, z], [x0, y, z]]) for z, x0, x1, y in sections]
    quads = [(a[i], a[(i + 1) % 4], b[(i + 1) % 4], b[i])
             for a, b in zip(corners, corners[1:], strict=False) for i in range(4)]
    quads += [tuple(corners[0][::-1]), tuple(corners[-1])]
    vertices, normals, indices = [], [], []
    for quad in quads:
        a, b, c, d = quad
        normal = np.cross(c - a, d - b)
        length = np.linalg.norm(normal)
        if length < 1e-15:
            continue
        indices.append(len(vertices) + np.array([0, 1, 2, 0, 2, 3]))
        vertices.extend(quad)
        normals.extend([normal / length] * 4)
    return Mesh(np.array(vertices), np.array(normals), np.zeros((len(vertices), 2)), np.concatenate(indices))


def ellipsoid(half_axes: Array, rings: int = 7, sides: int = 10) -> Mesh:
    """Closed and smooth shaded, about the origin. half_axes: (3,) m."""
    polar, angle = np.linspace(0, np.pi, rings + 1)[:, None], np.linspace(0, 2 * np.pi, sides + 1)[None]
    x, y = np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle)
    unit = np.stack([x, y, np.broadcast_to(np.cos(polar), x.shape)], -1)
    normals = (unit / half_axes).reshape(-1, 3)
    uvs = np.stack(np.broadcast_arrays(angle / (2 * np.pi), polar / np.pi), -1)
    low = (np.arange(rings)[:, None] * (sides + 1) + np.arange(sides)).ravel()
    high = low + sides + 1
    return Mesh((unit * half_axes).reshape(-1, 3), normals / np.linalg.norm(normals, axis=1, keepdims=True),
                uvs.reshape(-1, 2), np.stack([low, high, low + 1, low + 1, high, high + 1], -1).ravel())


def relief(height: Callable[[Array, Array], Array], half_width: float, cells: int) -> Mesh:
    """Surface z = height(x, y) over a square of 2 x half_width m, smooth shaded."""
    line = np.linspace(-half_width, half_width, cells + 1)
    x, y = np.meshgrid(line, line, indexing="ij")
    z = height(x, y)
    step = 1e-5
    dx = (height(x + step, y) - height(x - step, y)) / (2 * step)
    dy = (height(x, y + step) - height(x, y - step)) / (2 * step)
    normals = np.stack([-dx, -dy, np.ones_like(z)], -1).reshape(-1, 3)
    uvs = (np.stack([x, y], -1).reshape(-1, 2) / half_width + 1) / 2
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    right, up = corner + cells + 1, corner + 1
    indices = np.stack([corner, right, right + 1, corner, right + 1, up], -1).ravel()
    return Mesh(np.stack([x, y, z], -1).reshape(-1, 3), normals / np.linalg.norm(normals, axis=1, keepdims=True),
                uvs, indices)


def slab(rows: int, columns: int) -> tuple[Mesh, Array]:
    """A sheet with two sides and a rim around, and which of `thicken`'s vertices (V,) make it.

    The upper side has rows x columns vertices, the lower one every other row and column of them and the last: seen
    less, it is to cost less. As it is here, all of it faces up, the lower side spread out around the upper one: Bullet
    draws a soft body with the normals that it came with. Texture: the upper half of the image above, the lower half
    below.
    """
    v, u = np.meshgrid(np.linspace(1, 0, rows), np.linspace(0, 1, columns), indexing="ij")
    upper = np.stack([u, v, np.zeros_like(u)], -1).reshape(-1, 3)
    lower = (upper - 0.5) * [1.2, 1.2, 0] + [0.5, 0.5, -0.02]
    uvs = [np.stack([u, half + 0.01 + 0.48 * v], -1).reshape(-1, 2) for half in (0.5, 0.0)]
    number = np.arange(rows * columns).reshape(rows, columns)
    below = number[np.ix_(*(np.unique([*range(0, n, 2), n - 1]) for n in (rows, columns)))]
    used = np.concatenate([number.ravel(), rows * columns + below.ravel()])
    ring = [*number[0], *number[1:, -1], *number[-1, -2::-1], *number[-2:0:-1, 0], 0]
    faces = [_cells(number), rows * columns + _cells(below)]
    foot = rows * columns       # under the last corner of the ring that the lower side has
    for here, ahead in zip(ring, ring[1:], strict=False):
        faces.append([[here, ahead, foot]])
        if ahead in below:
            faces.append([[ahead, rows * columns + ahead, foot]])
            foot = rows * columns + ahead
    sides = Mesh(np.concatenate([upper, lower]), np.tile([0.0, 0.0, 1.0], (2 * rows * columns, 1)),
                 np.concatenate(uvs), np.searchsorted(used, np.concatenate(faces).ravel()))
    return Mesh(sides.vertices[used], sides.normals[used], sides.uvs[used], sides.indices), used


def _cells(number: Array) -> Array:
    """Both triangles of each cell of a grid of vertices, (T, 3)."""
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    return np.stack([a, b, c, a, c, d], -1).reshape(-1, 3)


def thicken(middle: Array, rows: int, columns: int, thickness: float) -> Array:
    """Both sides of a sheet: (rows columns, 3) m -> (2 rows columns, 3) m, the upper one first, thickness m apart."""
    grid = middle.reshape(rows, columns, 3)
    along, across = np.empty_like(grid), np.empty_like(grid)
    along[1:-1], along[0], along[-1] = grid[2:] - grid[:-2], grid[1] - grid[0], grid[-1] - grid[-2]
    across[:, 1:-1] = grid[:, 2:] - grid[:, :-2]
    across[:, 0], across[:, -1] = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    normal = np.empty_like(grid)
    for k in range(3):      # np.cross takes several times as long
        i, j = (k + 1) % 3, (k + 2) % 3
        normal[..., k] = along[..., i] * across[..., j] - along[..., j] * across[..., i]
    normal *= (thickness / 2 / np.maximum(np.sqrt(np.einsum("ijk,ijk->ij", normal, normal)), 1e-12))[..., None]
    return np.concatenate([(grid + normal).reshape(-1, 3), (grid - normal).reshape(-1, 3)])
