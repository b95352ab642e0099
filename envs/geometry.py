"""Rotations and poses in NumPy: quaternions are x y z w, matrices act on column vectors."""

from math import cos, sin, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rotation_of(quaternion: Array) -> Array:
    """(4,) x y z w, of any length but zero -> (3, 3)."""
    x, y, z, w = (float(v) for v in quaternion)
    s = 2.0 / (x * x + y * y + z * z + w * w)
    return np.array([[1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
                     [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
                     [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)]])


def quaternion_of(rotation: Array) -> Array:
    """(3, 3) -> (4,) x y z w with w >= 0 (Shepperd 1978: divide by the largest component)."""
    r = rotation
    squares = np.array([1 + r[0, 0] - r[1, 1] - r[2, 2], 1 - r[0, 0] + r[1, 1] - r[2, 2],
                        1 - r[0, 0] - r[1, 1] + r[2, 2], 1 + r[0, 0] + r[1, 1] + r[2, 2]])
    big = int(squares.argmax())
    row = {0: (squares[0], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]),
           1: (r[0, 1] + r[1, 0], squares[1], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]),
           2: (r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], squares[2], r[1, 0] - r[0, 1]),
           3: (r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], squares[3])}[big]
    quaternion = np.array(row) / (2.0 * sqrt(squares[big]))
    return -quaternion if quaternion[3] < 0 else quaternion


def rotation_by(vector: Array) -> Array:
    """Rotation vector (3,) rad -> (3, 3) (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = (float(v) / angle for v in vector)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + sin(angle) * cross + (1 - cos(angle)) * (cross @ cross)


def look_at(eye: Array, target: Array, up: Array) -> Array:
    """Rotation (3, 3) of an optical frame (x right, y down, z forward) at `eye` that sees `target`."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return np.column_stack([right, np.cross(forward, right), forward])


def rotations_by(vectors: Array) -> Array:
    """Rotation vectors (n, 3) rad -> (n, 3, 3) (Rodrigues)."""
    angle = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)[:, None, None]
    x, y, z = (vectors / angle[:, 0]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def closest_on_triangles(ap: Array, ab: Array, ac: Array, dots: Array) -> tuple[Array, Array, Array]:
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
