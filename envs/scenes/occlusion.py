"""How much of a surface an endoscope sees past a sheet and an arm: by rays, without a picture.

The surface is a set of points with the image area each stands for. A point is hidden where the line to the eye meets
a triangle of the sheet or a tapered rod. Whatever covers a point in the image counts as before it: nothing lies
behind the surface but the bed it stands on.
"""

from typing import NamedTuple

import numpy as np

from ..camera import Camera
from ..geometry import Array


class Rod(NamedTuple):
    """A part of an instrument: a cone's frustum with round ends."""

    start: Array            # (3,) m, world
    end: Array              # (3,) m, world
    radius: float           # m, at the start
    end_radius: float       # m, at the end


class Onlooker:
    """An endoscope's eye on one surface."""

    def __init__(self, camera: Camera):
        """camera: its pose; size and intrinsics of the image do not matter."""
        self._to_camera, self._eye, self._near = camera.rotation.T.copy(), np.array(camera.eye), camera.near

    def look_at(self, points: Array, normals: Array, areas: Array) -> None:
        """The surface: points (P, 3) m, unit normals (P, 3) and areas (P,) m^2 in the world; what faces away is left."""
        ray = points - self._eye
        distance = np.linalg.norm(ray, axis=1)
        facing = -np.einsum("ij,ij->i", ray, normals) / distance
        seen = facing > 0
        depth = ray[seen] @ self._to_camera[2]
        weights = areas[seen] * facing[seen] * distance[seen] / depth ** 3          # area in the image at z = 1
        self._weights = weights / weights.sum()
        uv = self._project(points[seen].T)
        self._points = np.concatenate([uv, np.ones((1, uv.shape[1]))])              # (3, P), homogeneous
        self._low, self._high = uv.min(axis=1), uv.max(axis=1)

    def visible(self, sides: list[Array], rods: list[Rod]) -> float:
        """Share of the surface's image in [0, 1] past the sides (rows, columns, 3) m of a sheet and past rods."""
        hidden = np.zeros(self._points.shape[1], bool)
        for side in sides:
            if not hidden.all():
                hidden |= self._behind_sheet(side)
        if not hidden.all():
            for rod in rods:
                hidden |= self._behind_rod(rod)
        return float(self._weights[~hidden].sum())

    def _project(self, points: Array) -> Array:
        """(3, N) m in the world -> (2, N) at z = 1 of the camera frame."""
        seen = self._to_camera @ points - (self._to_camera @ self._eye)[:, None]
        return seen[:2] / np.maximum(seen[2], self._near)

    def _behind_sheet(self, side: Array) -> Array:
        rows, columns = side.shape[:2]
        u, v = self._project(side.reshape(-1, 3).T).reshape(2, rows, columns)
        margin = 0.04       # at z = 1. A cell across the surface's frame has a corner this near: 5 mm seen from 6 cm
        close = ((u > self._low[0] - margin) & (u < self._high[0] + margin)
                 & (v > self._low[1] - margin) & (v < self._high[1] + margin))
        cells = np.flatnonzero(close[1:, 1:] | close[:-1, :-1] | close[1:, :-1] | close[:-1, 1:])
        if not cells.size:
            return np.zeros(self._points.shape[1], bool)
        row, column = np.divmod(cells, columns - 1)
        corner = row * columns + column
        x, y = u.ravel(), v.ravel()
        # Both triangles of each cell: (a, b, c) and (a, c, d), as the display draws them.
        a = np.concatenate([corner, corner])
        b = np.concatenate([corner + columns, corner + columns + 1])
        c = np.concatenate([corner + columns + 1, corner + 1])
        ax, ay, bx, by, cx, cy = x[a], y[a], x[b], y[b], x[c], y[c]
        turn = np.where((bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0, -1.0, 1.0)
        # A point is inside where all three edges have it on the same side; each side is linear in the point.
        edges = np.array([[ay - by, bx - ax, ax * by - ay * bx], [by - cy, cx - bx, bx * cy - by * cx],
                          [cy - ay, ax - cx, cx * ay - cy * ax]]) * turn            # (3 edges, 3, T)
        sides = np.matmul(edges.transpose(0, 2, 1), self._points)                   # (3, T, P)
        inside = (sides[0] >= 0) & (sides[1] >= 0) & (sides[2] >= 0)
        return inside.any(axis=0)

    def _behind_rod(self, rod: Rod) -> Array:
        ends = self._to_camera @ (np.column_stack([rod.start, rod.end]) - self._eye[:, None])
        if ends[2, 1] < self._near:         # the far end is what the lens sees: the near one may be beside it
            return np.zeros(self._points.shape[1], bool)
        if ends[2, 0] < self._near:
            share = (self._near - ends[2, 1]) / (ends[2, 0] - ends[2, 1])
            ends[:, 0] = ends[:, 1] + share * (ends[:, 0] - ends[:, 1])
        start, end = ends[:2, 0] / ends[2, 0], ends[:2, 1] / ends[2, 1]
        along = end - start
        offset = self._points[:2] - start[:, None]
        share = np.minimum(np.maximum(along @ offset / max(along @ along, 1e-12), 0), 1)
        offset -= along[:, None] * share
        radius = rod.radius / ends[2, 0] * (1 - share) + rod.end_radius / ends[2, 1] * share
        return np.einsum("ij,ij->j", offset, offset) < radius ** 2
