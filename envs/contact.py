"""Keeps vertices out of rods: an instrument's shaft and wrist, as capsules."""

from typing import NamedTuple

import numpy as np

from .geometry import Array


class Capsule(NamedTuple):
    """All points within `radius` of the line from `start` to `end`."""

    start: Array    # (3,) m
    end: Array      # (3,) m
    radius: float   # m

    def offset(self, points: Array) -> Array:
        """(3, K) m -> (3, K) m: from the nearest point of the line to each."""
        along = self.end - self.start
        share = np.minimum(np.maximum((along @ points - along @ self.start) / (along @ along), 0), 1)
        return points - self.start[:, None] - along[:, None] * share

    def near(self, points: Array, margin: float) -> Array:
        """Which of (3, N) points lie within `margin` m of the surface, or inside: indices (K,)."""
        offset = self.offset(points)
        return np.flatnonzero(np.einsum("ij,ij->j", offset, offset) < (self.radius + margin) ** 2)

    def push_out(self, points: Array, index: Array) -> Array:
        """Move those of points[:, index] that are inside to the surface, the shortest way; which they were, (K,) bool.

        points: (3, N) m, changed in place.
        """
        offset = self.offset(points[:, index])
        distance = np.sqrt(np.einsum("ij,ij->j", offset, offset))
        inside = distance < self.radius
        if inside.any():
            lift = (self.radius - distance[inside]) / np.maximum(distance[inside], 1e-9)
            points[:, index[inside]] += offset[:, inside] * lift
        return inside
