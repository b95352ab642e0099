"""An arm as its own controller knows it: joints and kinematics. Poses are told as the camera sees them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from . import kinematics
from .arm import PSM
from .camera import Camera
from .geometry import Array, quaternion_of, rotation_of
from .proprio import pose_in_camera
from .scene import Scene

Told = tuple[Array, Array]      # a pose: position (3,) m and quaternion (4,) x y z w, w >= 0


@dataclass(frozen=True)
class ArmView:
    """One arm, live: what it tells is of now. Poses are told in the camera's optical frame, but for `in_base`."""

    scene: Scene
    name: str

    names: ClassVar[tuple[str, ...]] = kinematics.JOINTS
    low: ClassVar[Array] = kinematics.LOW                   # (6,) rad, m
    high: ClassVar[Array] = kinematics.HIGH
    jaw_range: ClassVar[tuple[float, float]] = (kinematics.JAW_LOW, kinematics.JAW_HIGH)     # rad

    @property
    def psm(self) -> PSM:
        """The kinematics behind it."""
        return self.scene.arm(self.name)

    @property
    def camera(self) -> Camera:
        """From where it is seen."""
        return self.scene.camera

    @property
    def joints(self) -> Array:
        """(6,) rad, and m for the insertion."""
        return self.psm.q.copy()

    @property
    def jaw(self) -> float:
        """Opening of the jaws, rad."""
        return self.psm.jaw

    @property
    def tip(self) -> Told:
        """Where the tip is."""
        return _told(pose_in_camera(self.camera, self.psm.tip))

    @property
    def base(self) -> Told:
        """Where the arm's base is, the frame at the remote centre of motion."""
        return _told(pose_in_camera(self.camera, self.psm.base))

    def forward(self, q: Array) -> Told:
        """Where the tip is with joints (6,)."""
        return _told(pose_in_camera(self.camera, self.psm.base @ kinematics.forward(q)))

    def inverse(self, position: Array, quaternion: Array, near: Array) -> Array:
        """Joints (6,) that bring the tip there, their roll the nearest to that of `near` (6,).

        ValueError where the arm's limits do not allow it.
        """
        q = kinematics.inverse(self._from_base(position, quaternion))
        q[3] = near[3] + (q[3] - near[3] + np.pi) % (2 * np.pi) - np.pi
        if not kinematics.within_limits(q):
            worst = int(np.argmax(np.maximum(self.low - q, q - self.high)))
            raise ValueError(f"tip at {np.round(position, 4)} m needs {self.names[worst]} {q[worst]:.3f}; "
                             f"allowed: {self.low[worst]:.3f} to {self.high[worst]:.3f}")
        return q

    def in_base(self, position: Array, quaternion: Array) -> Told:
        """A pose in the camera's optical frame, told in the arm's base frame."""
        return _told(self._from_base(position, quaternion))

    def jacobians(self) -> tuple[Array, Array]:
        """Body and spatial Jacobian (6, 6): twist of the tip (linear m/s, angular rad/s) per speed of each joint.

        Body: told in the tip's frame. Spatial: in the base's, of the point that passes through its origin.
        """
        at_tip, tip = kinematics.jacobian(self.psm.q), kinematics.forward(self.psm.q)
        turned = tip[:3, :3].T
        body = np.vstack([turned @ at_tip[:3], turned @ at_tip[3:]])
        spatial = np.vstack([at_tip[:3] - np.cross(at_tip[3:], tip[:3, 3], axis=0), at_tip[3:]])
        return body, spatial

    def forces(self) -> tuple[Array, Array]:
        """(3,), (3,) N: of the tissue on the jaws, told in the tip's frame and in the base's."""
        force = self.scene.force(self.name)
        return self.psm.tip[:3, :3].T @ force, self.psm.base[:3, :3].T @ force

    def _from_base(self, position: Array, quaternion: Array) -> Array:
        """(4, 4) in the base frame."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation_of(quaternion), position
        return np.linalg.inv(pose_in_camera(self.camera, self.psm.base)) @ pose


def _told(pose: Array) -> Told:
    return pose[:3, 3].copy(), quaternion_of(pose[:3, :3])
