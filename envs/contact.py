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
        offset = points - self.start[:, None]
        share = (along / (along @ along)) @ offset
        np.minimum(np.maximum(share, 0, out=share), 1, out=share)
        offset -= along[:, None] * share
        return offset

    def meets(self, low: Array, high: Array) -> bool:
        """Whether it may reach into the box low..high, (3,) m each; a quick no."""
        return bool((np.minimum(self.start, self.end) - self.radius < high).all()
                    and (np.maximum(self.start, self.end) + self.radius > low).all())

    def near(self, points: Array, margin: float) -> Array:
        """Which of (3, N) points lie within `margin` m of the surface, or inside: indices (K,)."""
        offset = self.offset(points)
        return np.flatnonzero(np.einsum("ij,ij->j", offset, offset) < (self.radius + margin) ** 2)

    def push_out(self, points: Array, index: Array) -> Array:
        """Move those of points[:, index] that are inside to the surface, the shortest way; which they are: (I,).

        points: (3, N) m, changed in place.
        """
        offset = self.offset(points[:, index])
        square = np.einsum("ij,ij->j", offset, offset)
        inside = np.flatnonzero(square < self.radius ** 2)
        if not inside.size:
            return inside
        distance = np.maximum(np.sqrt(square[inside]), 1e-9)
        inside_of = index[inside]
        points[:, inside_of] += offset[:, inside] * (self.radius / distance - 1)
        return inside_of
