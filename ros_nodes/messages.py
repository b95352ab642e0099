"""ROS messages to numpy and back. Converts, checks what comes in, and decides nothing.

Two camera frames, both at the camera's optical centre, z away from the camera into the scene:
  optical  x right, y down   as image processing and our policies use it
  CRTK     x left,  y up     as dVRK's measured_cp, setpoint_cp and servo_cp use it
Half a turn about z leads from the one to the other.
"""

import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String

from surgrl.policy.errors import UserError
from surgrl.policy.gate import BUSY, ENABLED
from surgrl.policy.pose import Pose
from surgrl.policy.spec import Array

try:
    from crtk_msgs.msg import OperatingState
except ImportError:     # not on PyPI: a workstation without dVRK does not have it
    OperatingState = None

STATE_TYPE: Any = OperatingState or String      # the type of <arm>/operating_state here
PAUSED, DISABLED, FAULT = "PAUSED", "DISABLED", "FAULT"     # CRTK's other words for it
NOT_HOMED = "ENABLED but not homed"             # what we call an arm that is not ready yet
CHANNELS = {"rgb8": (3, (0, 1, 2)), "bgr8": (3, (2, 1, 0)), "rgba8": (4, (0, 1, 2)), "bgra8": (4, (2, 1, 0)),
            "mono8": (1, (0, 0, 0))}            # encoding -> bytes per px, where red, green and blue stand


def to_ns(stamp: Time) -> int:
    """A message's stamp in ns; 0 marks data that its sender calls invalid (dVRK 2.4)."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def to_stamp(ns: int) -> Time:
    """Time in ns as a message's stamp."""
    return Time(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)


def make_image(height: int, width: int, frame_id: str) -> tuple[Image, Array]:
    """An rgb8 message, and its pixels (height, width, 3) uint8 to write into: no copy is made to publish it.

    array.array is the one type of `data` that rclpy takes without looking at every byte.
    """
    message = Image(height=height, width=width, step=3 * width, encoding="rgb8",
                    data=array.array("B", bytes(3 * width * height)))
    message.header.frame_id = frame_id
    return message, np.frombuffer(message.data, np.uint8).reshape(height, width, 3)


def read_image(message: Image) -> Array:
    """(H, W, 3) uint8 RGB; shares the message's memory if that is rgb8. UserError when malformed."""
    if message.encoding not in CHANNELS:
        raise UserError(f"image encoding {message.encoding!r} is unknown; allowed: {', '.join(CHANNELS)}")
    depth, order = CHANNELS[message.encoding]
    height, width, step = message.height, message.width, message.step
    if not (height > 0 and width > 0 and step >= depth * width):
        raise UserError(f"image of {width}x{height} px {message.encoding} has a step of {step} bytes; "
                        f"it must be at least {depth * width}, and the image not empty")
    if len(message.data) < step * height:
        raise UserError(f"image holds {len(message.data)} bytes of the {step * height} that its header tells")
    pixels = np.ndarray((height, width, depth), np.uint8, message.data, strides=(step, depth, 1))
    if message.encoding == "rgb8":
        return pixels
    frame = np.empty((height, width, 3), np.uint8)
    for plane, place in enumerate(order):       # four times as fast as pixels[..., order]
        frame[..., plane] = pixels[..., place]
    return frame


def make_pose(pose: Pose, frame_id: str, stamp: Time) -> PoseStamped:
    """A pose as a message in the frame `frame_id`."""
    message = PoseStamped()
    message.header.frame_id, message.header.stamp = frame_id, stamp
    point, turn = message.pose.position, message.pose.orientation
    point.x, point.y, point.z = (float(value) for value in pose.position)
    turn.x, turn.y, turn.z, turn.w = (float(value) for value in pose.quaternion)
    return message


def read_pose(message: PoseStamped) -> Pose:
    """The pose of a message. UserError when a number is not finite or the quaternion is not of length 1."""
    point, turn = message.pose.position, message.pose.orientation
    pose = Pose(np.array([point.x, point.y, point.z]), np.array([turn.x, turn.y, turn.z, turn.w]))
    if not np.isfinite(pose.position).all() or not abs(np.linalg.norm(pose.quaternion) - 1) < 1e-3:
        raise UserError(f"pose {pose.position} m, quaternion {pose.quaternion} is not a pose: "
                        "numbers must be finite, the quaternion of length 1")
    return pose


def make_joint(name: str, position: float, stamp: Time) -> JointState:
    """The state or command of one joint: rad, or m for a sliding one."""
    message = JointState(name=[name], position=[float(position)])
    message.header.stamp = stamp
    return message


def read_joint(message: JointState) -> float:
    """Position of the message's one joint: rad, or m for a sliding one. UserError when it has none."""
    if len(message.position) != 1 or not np.isfinite(message.position[0]):
        raise UserError(f"joint message holds positions {list(message.position)}; it must be one, and finite")
    return float(message.position[0])


def make_camera_info(intrinsics: Array, height: int, width: int, frame_id: str, baseline: float = 0.0) -> CameraInfo:
    """Intrinsics (3, 3) K in px of an ideal pinhole, as a message.

    baseline: m, by which it stands to the right of the camera that frame_id belongs to: the right one of a pair.
    """
    k = [float(value) for value in np.asarray(intrinsics).ravel()]
    message = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5, k=k,
                         r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
                         p=[*k[0:3], -k[0] * baseline, *k[3:6], 0.0, *k[6:9], 0.0])
    message.header.frame_id = frame_id
    return message


def make_state(state: str, stamp: Time, *, homed: bool = True, busy: bool = False) -> Any:
    """operating_state as CRTK's own message where that is installed, else as std_msgs/String."""
    if OperatingState is None:
        return String(data=_ready_word(state, homed=homed, busy=busy))
    message = OperatingState(state=state, is_homed=homed, is_busy=busy)
    message.header.stamp = stamp
    return message


def read_state(message: Any) -> str:
    """The word in an operating_state message; an arm that is not homed, or that is busy, is not just ENABLED."""
    if OperatingState is None:
        return str(message.data)
    return _ready_word(message.state, homed=message.is_homed, busy=message.is_busy)


def turn_vector(vector: Array) -> Array:
    """Position (3,) m or velocity (3,) m/s, optical -> CRTK or CRTK -> optical: the same half turn."""
    x, y, z = vector
    return np.array([-x, -y, z])


def optical_to_crtk(pose: Pose) -> Pose:
    """A pose told in the optical frame, told in the CRTK camera frame; of q and -q the one with w >= 0."""
    x, y, z, w = pose.quaternion
    return Pose(turn_vector(pose.position), _upper(np.array([-y, x, w, -z])))


def crtk_to_optical(pose: Pose) -> Pose:
    """A pose told in the CRTK camera frame, told in the optical frame; of q and -q the one with w >= 0."""
    x, y, z, w = pose.quaternion
    return Pose(turn_vector(pose.position), _upper(np.array([y, -x, -w, z])))


def _ready_word(state: str, *, homed: bool, busy: bool) -> str:
    if state != ENABLED:
        return state
    return NOT_HOMED if not homed else BUSY if busy else ENABLED


def _upper(quaternion: Array) -> Array:
    """The sign that environments use too: to a policy, one rotation must be one quaternion."""
    return -quaternion if quaternion[3] < 0 else quaternion
