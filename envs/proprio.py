"""What an arm can tell of itself, as a robot does: the tip's pose in the camera's optical frame, and the jaw."""

import numpy as np

from .camera import Camera
from .geometry import Array, quaternion_of
from .kinematics import JAW_HIGH, JAW_LOW
from .scene import Channel


def box_in_camera(camera: Camera, low: Array, high: Array) -> tuple[Array, Array]:
    """Corners (3,), (3,) m of the smallest box in the camera's optical frame that holds the world's box low..high."""
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    seen = (corners - np.array(camera.eye)) @ camera.rotation
    return seen.min(axis=0), seen.max(axis=0)


def arm_channels(camera: Camera, workspace: tuple[Array, Array]) -> tuple[Channel, ...]:
    """x, y, z (m), qx, qy, qz, qw (unit), jaw (rad) and their ranges, 10 mm beyond the workspace (world)."""
    low, high = box_in_camera(camera, *workspace)
    return (*(Channel(axis, "m", low[k] - 0.01, high[k] + 0.01) for k, axis in enumerate("xyz")),
            *(Channel(f"q{axis}", "", -1.0, 1.0) for axis in "xyzw"), Channel("jaw", "rad", JAW_LOW, JAW_HIGH))


def pose_in_camera(camera: Camera, pose: Array) -> Array:
    """(4, 4) in the world -> (4, 4) in the camera's optical frame."""
    seen = np.eye(4)
    seen[:3, :3] = camera.rotation.T @ pose[:3, :3]
    seen[:3, 3] = camera.rotation.T @ (pose[:3, 3] - camera.eye)
    return seen


def arm_measured(camera: Camera, pose: Array, jaw: float) -> Array:
    """(8,) as arm_channels name them, of a tip's pose (4, 4) in the world and jaw rad."""
    tip = pose_in_camera(camera, pose)
    return np.array([*tip[:3, 3], *quaternion_of(tip[:3, :3]), jaw])
