"""What a CRTK arm's controller tells and hears beside poses, to numpy and back. Services only where crtk_msgs is."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped, TwistStamped, WrenchStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout, String

from surgrl.policy.errors import UserError
from surgrl.policy.spec import Array

from .messages import Pose

try:
    from crtk_msgs.msg import StringStamped
    from crtk_msgs.srv import QueryForwardKinematics, QueryInverseKinematics, TriggerOperatingState
except ImportError:     # not on PyPI
    StringStamped = QueryForwardKinematics = QueryInverseKinematics = TriggerOperatingState = None
try:
    from tf2_msgs.msg import TFMessage
except ImportError:     # not on PyPI either
    TFMessage = None

COMMAND_TYPE: Any = StringStamped or String     # the type of <arm>/state_command here


def read_command(message: Any) -> str:
    """The word in a state_command."""
    return str(message.data if StringStamped is None else message.string)


def make_joints(names: Iterable[str], positions: Iterable[float], stamp: Time,
                velocities: Iterable[float] = ()) -> JointState:
    """Joints: rad and rad/s, m and m/s for sliding ones."""
    message = JointState(name=list(names), position=[float(value) for value in positions],
                         velocity=[float(value) for value in velocities])
    message.header.stamp = stamp
    return message


def read_joints(message: JointState, names: tuple[str, ...]) -> Array:
    """(J,) positions, in the order of `names` if the message names them. UserError when they are not these, finite."""
    told = checked_joints(message.position, names)
    if not message.name:
        return told
    if sorted(message.name) != sorted(names):
        raise UserError(f"joint message names {', '.join(message.name)}; this arm's joints are {', '.join(names)}")
    return told[[list(message.name).index(name) for name in names]]


def checked_joints(positions: Iterable[float], names: tuple[str, ...]) -> Array:
    """(J,) positions. UserError when they are not as many as the names, or not finite."""
    told = np.array(positions, dtype=float)
    if told.shape != (len(names),) or not np.isfinite(told).all():
        raise UserError(f"joints {told.tolist()} are no position of {', '.join(names)}: as many finite numbers")
    return told


def make_twist(linear: Array, angular: Array, frame_id: str, stamp: Time) -> TwistStamped:
    """Velocity (3,) m/s and (3,) rad/s."""
    message = TwistStamped()
    message.header.frame_id, message.header.stamp = frame_id, stamp
    _fill(message.twist.linear, linear)
    _fill(message.twist.angular, angular)
    return message


def make_wrench(force: Array, torque: Array, frame_id: str, stamp: Time) -> WrenchStamped:
    """Force (3,) N and torque (3,) N m."""
    message = WrenchStamped()
    message.header.frame_id, message.header.stamp = frame_id, stamp
    _fill(message.wrench.force, force)
    _fill(message.wrench.torque, torque)
    return message


def make_matrix(matrix: Array) -> Float64MultiArray:
    """(R, C), row by row."""
    rows, columns = matrix.shape
    layout = MultiArrayLayout(dim=[MultiArrayDimension(label="rows", size=rows, stride=rows * columns),
                                   MultiArrayDimension(label="columns", size=columns, stride=columns)])
    return Float64MultiArray(layout=layout, data=matrix.ravel().tolist())


def make_transform(parent: str, child: str, pose: Pose, stamp: Time) -> TransformStamped:
    """Where `child` is in `parent`."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, stamp
    _fill(message.transform.translation, pose.position)
    _fill(message.transform.rotation, pose.quaternion, "xyzw")
    return message


def _fill(part: Any, values: Array, names: str = "xyz") -> None:
    for name, value in zip(names, values, strict=True):
        setattr(part, name, float(value))
