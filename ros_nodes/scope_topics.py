"""The topics of a simulated flexible scope, in the role of a CRTK camera arm, and where its frames are."""

from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState

from . import arm_messages, messages, qos
from .arm_messages import TFMessage, make_transform
from .arm_server import Command, Report
from .messages import Pose
from .sim_frames import HALF_TURN
from .sim_scope import SimScope


def reports(scope: SimScope, name: str) -> list[Report]:
    """What it tells. name: its namespace, "ECM"."""
    joints = arm_messages.make_joints
    return [
        Report("measured_js", JointState, lambda t: joints(scope.names, scope.measured.joints, t,
                                                           scope.measured.speeds)),
        Report("setpoint_js", JointState, lambda t: joints(scope.names, scope.joints, t)),
        Report("measured_cp", PoseStamped, lambda t: messages.make_pose(scope.measured.camera, f"{name}_base", t))]


def commands(scope: SimScope) -> list[Command]:
    """What it hears."""
    def joints(follow: Callable[[Any], None]) -> Callable[[JointState], None]:
        return lambda message: follow(arm_messages.read_joints(message, scope.names))
    return [
        Command("servo_jp", JointState, qos.SERVO, joints(scope.servo_jp), answers=True),
        Command("servo_jr", JointState, qos.EVENT, joints(scope.servo_jr)),
        Command("move_jp", JointState, qos.EVENT, joints(scope.move_jp)),
        Command("move_jr", JointState, qos.EVENT, joints(scope.move_jr)),
        Command("servo_cp", PoseStamped, qos.SERVO, scope.refuse_pose),
        Command("move_cp", PoseStamped, qos.EVENT, scope.refuse_pose)]


class ScopeFrames:
    """base -> camera (CRTK), which moves -> its lens."""

    def __init__(self, node: Node, scope: SimScope, name: str, frame: str, plant: Any):
        """name: the scope's. frame: CRTK camera frame."""
        self._scope, self._name, self._frame = scope, name, frame
        self._moving = node.create_publisher(TFMessage, "/tf", qos.FRAMES)
        self._fixed = node.create_publisher(TFMessage, "/tf_static", qos.STATUS)
        self._fixed.publish(TFMessage(transforms=[make_transform(
            frame, plant.camera.frame, Pose(np.zeros(3), HALF_TURN), node.get_clock().now().to_msg())]))

    def publish(self, stamp: Time) -> None:
        """Where the camera is now."""
        self._moving.publish(TFMessage(transforms=[make_transform(
            f"{self._name}_base", self._frame, self._scope.measured.camera, stamp)]))
