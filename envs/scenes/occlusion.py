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

    def __init__(self, camera: Camera, faces: Array):
        """camera: its pose; size and intrinsics of the image do not matter. faces: (T, 3) of the sheet's vertices."""
        self._faces = faces
        self._to_camera, self._eye, self._near = camera.rotation.T.copy(), np.array(camera.eye), camera.near

    def look_at(self, points: Array, normals: Array, areas: Array) -> None:
        """The surface: points (P, 3) m, unit normals (P, 3), areas (P,) m^2, in the world; less what faces away."""
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

    def visible(self, sheet: Array, rods: list[Rod]) -> float:
        """Share of the surface's image in [0, 1] past a sheet, vertices (V, 3) m, and past rods."""
        hidden = self._behind_sheet(sheet)
        if not hidden.all():
            hidden |= self._behind_rods(rods)
        return float(self._weights[~hidden].sum())

    def _project(self, points: Array) -> Array:
        """(3, N) m in the world -> (2, N) at z = 1 of the camera frame."""
        seen = self._to_camera @ points - (self._to_camera @ self._eye)[:, None]
        return seen[:2] / np.maximum(seen[2], self._near)

    def _behind_sheet(self, sheet: Array) -> Array:
        x, y = self._project(sheet.T)
        margin = 0.04       # at z = 1. A face across the surface's frame has a corner this near: 5 mm seen from 6 cm
        close = ((x > self._low[0] - margin) & (x < self._high[0] + margin)
                 & (y > self._low[1] - margin) & (y < self._high[1] + margin))
        a, b, c = self._faces[close[self._faces].any(axis=1)].T
        if not a.size:
            return np.zeros(self._points.shape[1], bool)
        ax, ay, bx, by, cx, cy = x[a], y[a], x[b], y[b], x[c], y[c]
        turn = np.where((bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0, -1.0, 1.0)
        # A point is inside where all three edges have it on the same side; each side is linear in the point.
        edges = np.array([[ay - by, bx - ax, ax * by - ay * bx], [by - cy, cx - bx, bx * cy - by * cx],
                          [cy - ay, ax - cx, cx * ay - cy * ax]]) * turn            # (3 edges, 3, T)
        nearest = np.matmul(edges.transpose(0, 2, 1), self._points).min(axis=0)     # (T, P)
        return nearest.max(axis=0) >= 0

    def _behind_rods(self, rods: list[Rod]) -> Array:
        ends = np.array([[rod.start, rod.end] for rod in rods]).reshape(-1, 3) - self._eye
        ends = (ends @ self._to_camera.T).reshape(len(rods), 2, 3)
        start, end = ends[:, 0], ends[:, 1]
        behind = start[:, 2] < self._near       # a shaft may come from behind the lens; its far end does not
        share = np.where(behind, (self._near - end[:, 2]) / np.where(behind, start[:, 2] - end[:, 2], 1), 1)
        start = end + share[:, None] * (start - end)
        thick = np.array([[rod.radius, rod.end_radius] for rod in rods]) / np.stack([start[:, 2], end[:, 2]], -1)
        first = start[:, :2] / start[:, 2:]                                         # (R, 2) at z = 1
        along = end[:, :2] / end[:, 2:] - first
        offset = self._points[:2] - first[:, :, None]                               # (R, 2, P)
        share = np.einsum("ri,rip->rp", along / np.maximum((along ** 2).sum(1), 1e-12)[:, None], offset)
        share = np.minimum(np.maximum(share, 0), 1)
        offset -= along[:, :, None] * share[:, None]
        radius = thick[:, :1] + (thick[:, 1:] - thick[:, :1]) * share
        return ((offset ** 2).sum(axis=1) < radius ** 2).any(axis=0)
