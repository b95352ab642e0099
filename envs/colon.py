"""A colon by seed: a bent tube with haustral folds and lesions, closed by a caecum; where its wall is, from any point.

The wall is one grid of vertices, drawn and touched alike: what the camera sees is what stops the tip.
"""

from typing import NamedTuple

import numpy as np

from .anatomy import CAP, LENGTH, SIDES, STATIONS, bore, centre_line
from .geometry import Array, closest_on_triangles

ROOM = 0.017                            # m, radius where a lesion may sit
WINDOW = 10                             # stations on each side that a local search looks at


class Lesion(NamedTuple):
    """Something on the wall that a clinician would look at twice."""

    pose: Array         # (4, 4) world, z into the lumen
    size: Array         # (3,) m, half axes of an ellipsoid
    flat: bool          # a discoloured spot; else a polyp, which the scope touches


class Wall(NamedTuple):
    """The wall nearest to a point."""

    distance: float     # m, negative outside the lumen
    normal: Array       # (3,) unit, into the lumen


class Colon:
    """One colon. Arrays over stations are ordered from the entry to the pole of the caecum."""

    def __init__(self, seed: int):
        """The same seed is the same colon, in any process."""
        self.seed = int(seed)
        rng = np.random.default_rng(self.seed)
        tube = STATIONS - CAP
        length = rng.uniform(*LENGTH)
        self.step = length / (tube - 1)                                     # m, between rings of the tube
        angle = 2 * np.pi * np.arange(SIDES) / SIDES
        radius, pouch = bore(rng, tube, self.step, angle)
        closing = np.arange(1, CAP + 1) / CAP * np.pi / 2                   # the caecum's end is half a sphere
        self.arc = np.concatenate([np.arange(tube) * self.step, length + pouch * np.sin(closing)])     # (N,) m
        self.length = float(self.arc[-1])
        self.centre, self.frames = centre_line(rng, tube, self.step, self.arc[tube:] - length)
        self.radius = np.concatenate([radius, radius[-1] * np.cos(closing)[:, None]])                   # (N, S) m
        self.radius[-1] = 0
        ring = np.stack([np.cos(angle), np.sin(angle)])                     # (2, S)
        across = np.einsum("nij,js->nsi", self.frames[:, :, :2], ring)      # (N, S, 3) unit, outwards
        self.vertices = self.centre[:, None] + self.radius[..., None] * across                          # (N, S, 3) m
        self._prepare()
        self.lesions = tuple(self._lesion(rng) for _ in range(rng.integers(3, 7)))
        polyps = [lesion for lesion in self.lesions if not lesion.flat]
        self._polyps = np.array([lesion.pose[:3, 3] for lesion in polyps]).reshape(-1, 3)
        self._polyp_radius = np.array([lesion.size.max() for lesion in polyps])
        self.skin = int(rng.integers(1 << 16))                              # which of a pool of textures it wears
        self.tint = np.clip(rng.normal([1.0, 0.97, 0.97], [0.03, 0.03, 0.04]), 0.88, 1.0)  # RGB, its own complexion

    def station(self, point: Array) -> int:
        """The station nearest to point (3,) m, of all."""
        return int(np.square(self.centre - point).sum(axis=1).argmin())

    def nearest(self, point: Array, station: int) -> tuple[float, int]:
        """Arc length (m) of the centre line nearest to point (3,) m, and its station; searched around `station`."""
        low, high = max(station - WINDOW, 0), min(station + WINDOW, STATIONS - 1)
        edge = self._edges[low:high]
        off = point - self.centre[low:high]
        along = np.clip((off * edge).sum(axis=1) / self._edge_length[low:high] ** 2, 0, 1)
        best = int(np.square(off - along[:, None] * edge).sum(axis=1).argmin())
        k, t = low + best, float(along[best])
        return float(self.arc[k] + t * (self.arc[k + 1] - self.arc[k])), k + (t > 0.5)

    def wall(self, point: Array, station: int) -> Wall:
        """The wall or polyp nearest to point (3,) m, searched around `station`, which is near it."""
        low, high = max(station - WINDOW, 0), min(station + WINDOW + 1, STATIONS)
        off = self.vertices[low:high] - point
        row, column = divmod(int(np.einsum("nsi,nsi->ns", off, off).argmin()), SIDES)
        rows = slice(max(low + row - 3, 0), min(low + row + 3, STATIONS - 1))
        columns = (column + np.arange(-3, 3)) % SIDES
        pick = self._at[rows].take(columns, axis=1).ravel()                 # triangles around that vertex
        corner, ab, ac = self._corner[pick], self._ab[pick], self._ac[pick]
        squared, v, w = closest_on_triangles(point - corner, ab, ac, self._dots[:, pick])
        best = int(squared.argmin())
        away = point - (corner[best] + v[best] * ab[best] + w[best] * ac[best])
        distance = float(np.sqrt(away @ away))
        # Nearest to an edge or a corner: all that meet there have a say in which side is the lumen's.
        facing = self._facing[pick[squared < squared[best] + 1e-12]].sum(axis=0)
        side = 1.0 if away @ facing >= 0 else -1.0
        wall = Wall(side * distance, side * away / distance if distance > 1e-9 else self._facing[pick[best]])
        if len(self._polyps):
            off = point - self._polyps
            reach = np.sqrt((off * off).sum(axis=1))
            k = int((reach - self._polyp_radius).argmin())
            if reach[k] - self._polyp_radius[k] < wall.distance:
                return Wall(float(reach[k] - self._polyp_radius[k]), off[k] / reach[k])
        return wall

    def in_sight(self, point: Array, station: int) -> Array:
        """(K,) stations ahead, far ones last, whose centre no wall hides from `point`, near `station`."""
        ahead = np.arange(station + 2, min(station + 34, STATIONS), 2)
        share = np.arange(1, 8) / 8
        sight = point + share[:, None] * (self.centre[ahead, None] - point)                # (A, 7, 3) on the rays
        low, high = max(station - 2, 0), min(station + 36, STATIONS)
        line = self.centre[low:high]
        near = low + (np.square(line).sum(axis=1) - 2 * sight @ line.T).argmin(axis=2)     # (A, 7) their stations
        off = sight - self.centre[near]
        local = np.einsum("apij,api->apj", self.frames[near], off)
        side = np.round(np.arctan2(local[..., 1], local[..., 0]) * (SIDES / (2 * np.pi))).astype(int) % SIDES
        inside = np.hypot(local[..., 0], local[..., 1]) < np.maximum(self.radius[near, side], 0.002)
        return ahead[inside.all(axis=1)]

    def surface(self) -> tuple[Array, Array, Array, Array]:
        """The wall as a mesh with a seam: vertices (V, 3) m, normals (V, 3) into the lumen, uvs (V, 2), indices (3 F,).

        One texture spans the circumference; it repeats along the tube every 150 mm.
        """
        grid = np.concatenate([self.vertices, self.vertices[:, :1]], axis=1)
        normals = np.concatenate([self._normals, self._normals[:, :1]], axis=1)
        u, v = np.meshgrid(np.arange(SIDES + 1) / SIDES, self.arc / 0.15)
        quad = (np.arange(STATIONS - 1)[:, None] * (SIDES + 1) + np.arange(SIDES)).ravel()
        indices = np.stack([quad, quad + SIDES + 1, quad + 1, quad + 1, quad + SIDES + 1, quad + SIDES + 2], -1)
        indices = indices.ravel()[:-3 * SIDES * 2].tolist() + indices[-SIDES:, :3].ravel().tolist()    # to the pole
        return (grid.reshape(-1, 3), normals.reshape(-1, 3), np.stack([u, v], -1).reshape(-1, 2),
                np.array(indices))

    def on_wall(self, station: int, side: int) -> Array:
        """(4, 4) in the world: a frame on the wall at a vertex of the grid, z into the lumen, x along the tube."""
        pose = np.eye(4)
        normal, along = self._normals[station, side], self.frames[station, :, 2]
        x = along - normal * (along @ normal)
        x /= np.linalg.norm(x)
        pose[:3, :3] = np.column_stack([x, np.cross(normal, x), normal])
        pose[:3, 3] = self.vertices[station, side]
        return pose

    def _prepare(self) -> None:
        """What queries need of the grid: triangles with their products, and smooth normals."""
        self._edges = np.diff(self.centre, axis=0)
        self._edge_length = np.linalg.norm(self._edges, axis=1)
        a, b = self.vertices[:-1], self.vertices[1:]
        a1, b1 = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
        triangles = np.stack([np.stack([a, b, a1], 2), np.stack([a1, b, b1], 2)], 2)    # (N - 1, S, 2, 3 corners, 3)
        triangles = triangles.reshape(-1, 3, 3)
        self._at = np.arange(len(triangles)).reshape(STATIONS - 1, SIDES, 2)
        self._corner = triangles[:, 0]
        self._ab, self._ac = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
        facing = np.cross(self._ab, self._ac)
        self._facing = facing / np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-15)
        products = [(u * v).sum(axis=1) for u, v in ((self._ab, self._ab), (self._ab, self._ac), (self._ac, self._ac))]
        self._dots = np.stack(products)
        along = np.gradient(self.vertices, axis=0)
        around = np.roll(self.vertices, -1, axis=1) - np.roll(self.vertices, 1, axis=1)
        normals = np.cross(along, around)
        normals[-1] = -self.frames[-1, :, 2]
        self._normals = normals / np.linalg.norm(normals, axis=2, keepdims=True)

    def _lesion(self, rng: np.random.Generator) -> Lesion:
        # Not on a crest: the scope must get past.
        roomy = np.argwhere(self.radius > ROOM)
        roomy = roomy[(roomy[:, 0] >= 16) & (roomy[:, 0] < STATIONS - CAP - 10)]
        pose = self.on_wall(*roomy[rng.integers(len(roomy))])
        if rng.random() < 0.4:
            return Lesion(pose, np.array([*rng.uniform(0.004, 0.008, 2), 0.0011]), True)
        size = rng.uniform(0.0025, 0.0050)      # Paris 0-Is: sessile, half out of the wall
        pose[:3, 3] += 0.35 * size * pose[:3, 2]
        return Lesion(pose, size * np.array([1.0, rng.uniform(0.8, 1.0), 0.9]), False)
