"""Where a tool tip is."""

from typing import NamedTuple

from .spec import Array


class Pose(NamedTuple):
    """Position (3,) m and unit quaternion (4,) x y z w."""

    position: Array
    quaternion: Array
