"""A pinhole endoscope: where it is, what it sees, and the intrinsics a ROS CameraInfo needs."""

from dataclasses import dataclass
from functools import cached_property
from math import radians, tan

import numpy as np

from .geometry import Array, look_at

WIDEST = 170            # degrees, of a field of view: a pinhole's picture has no end at 180


@dataclass(frozen=True)
class Camera:
    """An endoscope's camera in the world. Its frame is optical: x right, y down, z forward."""

    frame: str                          # tf name, e.g. "endoscope_left"
    eye: tuple[float, float, float]     # m, world
    target: tuple[float, float, float]  # m, world: the point seen in the image's centre
    fov: float                          # degrees, vertical
    near: float                         # m, clipping planes
    far: float                          # m
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)    # world: what the image's top is nearest to

    def __post_init__(self) -> None:
        """Refuse a camera that cannot be."""
        if not (0 < self.near < self.far and 1 <= self.fov <= WIDEST):
            raise ValueError(f"camera {self.frame}: near {self.near} m must be above 0 and below far {self.far} m, "
                             f"fov {self.fov} in [1, {WIDEST}] degrees")
        if not np.linalg.norm(np.subtract(self.target, self.eye)) > 1e-6:
            raise ValueError(f"camera {self.frame}: eye and target are the same point {self.eye}")

    @cached_property
    def rotation(self) -> Array:
        """(3, 3) from the camera's optical frame to the world."""
        rotation = look_at(np.array(self.eye), np.array(self.target), np.array(self.up))
        rotation.flags.writeable = False        # one array for all who ask
        return rotation

    def intrinsics(self, height: int, width: int) -> Array:
        """(3, 3) K in px of an image of this size; square pixels, the vertical field of view is kept."""
        focal = height / 2 / tan(radians(self.fov) / 2)
        return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])

    def view_matrix(self, scale: float) -> list[float]:
        """OpenGL view matrix, column-major (16,), for a world drawn `scale` times as large."""
        right, down, forward = self.rotation.T
        world_to_eye = np.eye(4)
        world_to_eye[:3, :3] = np.stack([right, -down, -forward])
        world_to_eye[:3, 3] = -world_to_eye[:3, :3] @ np.array(self.eye) * scale
        return list(world_to_eye.T.ravel())

    def projection_matrix(self, height: int, width: int, scale: float) -> list[float]:
        """OpenGL projection matrix, column-major (16,)."""
        f, near, far = 1 / tan(radians(self.fov) / 2), self.near * scale, self.far * scale
        return [f * height / width, 0, 0, 0, 0, f, 0, 0,
                0, 0, (far + near) / (near - far), -1, 0, 0, 2 * far * near / (near - far), 0]
