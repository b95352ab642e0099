"""Colons by seed: a bent tube with haustral folds and lesions, closed by a caecum; where its wall is, from any point.

Sizes are assumed, of an insufflated adult colon: 18-30 mm in radius, a caecum somewhat wider; the length is a stretch
that suits an episode, a third of the whole. The wall is one grid of vertices, drawn and touched alike: what the
camera sees is what stops the tip.
"""

from typing import NamedTuple

import numpy as np

from .geometry import Array

STATIONS, SIDES, CAP = 120, 24, 8       # rings along the tube, vertices of a ring, rings of them that close the caecum
LENGTH = (0.50, 0.70)                   # m, from the entry to where the caecum begins to close
RADIUS = (0.018, 0.030)                 # m, of the lumen between folds
CAECUM_RADIUS = 0.034                   # m, at most
THROAT = 0.013                          # m, radius that no fold narrows the lumen below
ROOM = 0.017                            # m, radius where a lesion may sit
CURVATURE = 22.0                        # 1/m, of the centre line: bends of 45 mm or wider, more than the radius
APART, NEIGHBOURS = 0.075, 0.150        # m, between parts of the centre line that lie farther along it than that
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
        radius, pouch = _radius(rng, tube, self.step, angle)
        closing = np.arange(1, CAP + 1) / CAP * np.pi / 2                   # the caecum's end is half a sphere
        self.arc = np.concatenate([np.arange(tube) * self.step, length + pouch * np.sin(closing)])     # (N,) m
        self.length = float(self.arc[-1])
        self.centre, self.frames = _centre_line(rng, tube, self.step, self.arc[tube:] - length)
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
        squared, v, w = _closest(point - corner, ab, ac, self._dots[:, pick])
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


def _smooth(rng: np.random.Generator, at: Array, grain: float, columns: int) -> Array:
    """Noise (len(at), columns) of unit variance at its knots, which lie `grain` m apart; linear between them."""
    knots = rng.normal(0, 1, (int(at[-1] / grain) + 2, columns))
    return np.column_stack([np.interp(at, grain * np.arange(len(knots)), knot) for knot in knots.T])


def _centre_line(rng: np.random.Generator, tube: int, step: float, cap: Array) -> tuple[Array, Array]:
    """Points (N, 3) m and rotation-minimising frames (N, 3, 3), z along the line, of a tube and its straight cap.

    A random curvature, bounded, is integrated; a line that comes near itself is drawn anew, each time straighter.
    """
    at = np.arange(tube) * step
    all_at = np.concatenate([at, at[-1] + cap])
    calm = np.clip(np.minimum(at / 0.03, (at[-1] - at) / 0.05), 0, 1)[:, None]      # straight at entry and caecum
    apart = np.abs(np.subtract.outer(all_at, all_at)) > NEIGHBOURS
    wildness = 0.9
    while True:
        noise = wildness * _smooth(rng, at, 0.07, 2)
        bend = CURVATURE * calm * noise / np.sqrt(1 + np.square(noise).sum(axis=1, keepdims=True))     # (n, 2) 1/m
        turns = _rotations(np.column_stack([-bend[:, 1], bend[:, 0], np.zeros(tube)]) * step)
        turns[0] = np.eye(3)
        hop = 1
        while hop < tube:       # all prefix products in log2(n) passes
            turns[hop:] = turns[:-hop] @ turns[hop:]
            hop *= 2
        heading = turns[:, :, 2]
        points = np.zeros((tube, 3))
        points[1:] = np.cumsum((heading[:-1] + heading[1:]) / 2 * step, axis=0)
        points = np.concatenate([points, points[-1] + cap[:, None] * heading[-1]])
        gaps = np.square(points).sum(axis=1)[:, None] + np.square(points).sum(axis=1) - 2 * points @ points.T
        if (gaps[apart] > APART ** 2).all():
            break
        wildness *= 0.95
    return points, np.concatenate([turns, np.repeat(turns[-1:], len(cap), axis=0)])


def _rotations(vectors: Array) -> Array:
    """Rotation vectors (n, 3) rad -> (n, 3, 3) (Rodrigues)."""
    angle = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)[:, None, None]
    x, y, z = (vectors / angle[:, 0]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def _radius(rng: np.random.Generator, tube: int, step: float, angle: Array) -> tuple[Array, float]:
    """Radius (n, S) m of the tube's wall, and that (m) of the caecum's end.

    Folds are semilunar: each spans a third of the circumference between two taeniae, its crest triangular along the
    tube; three of them, not quite abreast, make the triangular lumen of the transverse colon.
    """
    at = np.arange(tube) * step
    lumen = rng.uniform(0.021, 0.026) * (1 + 0.10 * _smooth(rng, at, 0.10, 1))
    lumen = np.clip(lumen, *RADIUS)
    to_end = at[-1] - at[:, None]
    pouch = float(min(1.15 * lumen[-1, 0], CAECUM_RADIUS))
    lumen = lumen + (pouch - lumen) * np.clip(1 - to_end / 0.05, 0, 1)
    taenia = rng.uniform(0, 2 * np.pi) + 0.5 * _smooth(rng, at, 0.25, 1)                # (n, 1) rad
    radius = lumen * (1 - 0.05 * np.cos(3 * (angle - taenia)))
    narrowing = np.zeros((tube, len(angle)))
    place = rng.uniform(0.015, 0.03)
    while place < at[-1] - 0.045:
        for sector in range(3):
            turn = angle - taenia - (2 * sector + 1) * np.pi / 3
            turn = (turn + np.pi) % (2 * np.pi) - np.pi
            crest = place + rng.uniform(-0.007, 0.007)
            span = np.clip(np.cos(1.35 * turn), 0, 1) ** 0.6 * (np.abs(turn) < 1.15)
            ridge = np.clip(1 - np.abs(at - crest) / rng.uniform(0.006, 0.009), 0, 1)[:, None]
            narrowing = np.maximum(narrowing, rng.uniform(0.12, 0.45) * span * ridge)
        place += rng.uniform(0.022, 0.036)
    radius = np.maximum(radius * (1 - narrowing), THROAT)
    radius[-1] = pouch
    return radius, pouch


def _closest(ap: Array, ab: Array, ac: Array, dots: Array) -> tuple[Array, Array, Array]:
    """Squared distances (n,) of a point to triangles, and where: a + v ab + w ac. ap: the point from corner a, (n, 3).

    The plane's foot where it lies inside, else the best of the three edges (Ericson 2005, sec. 5.1).
    """
    aa, bb, cc = dots
    b, c, p = (ab * ap).sum(axis=1), (ac * ap).sum(axis=1), (ap * ap).sum(axis=1)
    room = np.maximum(aa * cc - bb * bb, 1e-30)         # zero for the flat triangles at the pole: an edge is nearer
    v, w = (cc * b - bb * c) / room, (aa * c - bb * b) / room
    edge = np.maximum(aa - 2 * bb + cc, 1e-30)
    t = np.clip((aa - bb - b + c) / edge, 0, 1)                                         # along the edge b-c
    vs = np.stack([v, np.clip(b / np.maximum(aa, 1e-30), 0, 1), np.zeros_like(v), 1 - t])
    ws = np.stack([w, np.zeros_like(v), np.clip(c / np.maximum(cc, 1e-30), 0, 1), t])
    squared = p - 2 * (vs * b + ws * c) + vs * vs * aa + 2 * vs * ws * bb + ws * ws * cc
    squared[0][~((v >= 0) & (w >= 0) & (v + w <= 1) & (aa * cc - bb * bb > 1e-28))] = np.inf
    choice = squared.argmin(axis=0)
    every = np.arange(len(v))
    return np.maximum(squared[choice, every], 0), vs[choice, every], ws[choice, every]
