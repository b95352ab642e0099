"""Where the simulated robot's frames are, as ROS's tf: only where tf2_msgs is installed, which PyPI does not have."""

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node

from . import qos
from .arm_messages import TFMessage, make_transform
from .messages import Pose, optical_to_crtk
from .sim_arm import SimArm

HALF_TURN = np.array([0.0, 0.0, 1.0, 0.0])      # about z: from the CRTK camera frame to the optical one


class SimFrames:
    """camera (CRTK) -> its lenses, and -> the arm's base -> the arm's tip."""

    def __init__(self, node: Node, arm: SimArm, name: str, frame: str, plant: Any):
        """name: the arm's, and of its tip's frame. frame: CRTK camera frame."""
        self._arm, self._name, self._frame = arm, name, frame
        self._moving = node.create_publisher(TFMessage, "/tf", qos.FRAMES)
        self._fixed = node.create_publisher(TFMessage, "/tf_static", qos.STATUS)
        left, right = plant.camera, plant.camera_right
        aside = left.rotation.T @ np.subtract(right.eye, left.eye)      # (3,) m, optical frame
        stamp = node.get_clock().now().to_msg()
        self._fixed.publish(TFMessage(transforms=[
            make_transform(frame, left.frame, Pose(np.zeros(3), HALF_TURN), stamp),
            make_transform(left.frame, right.frame, Pose(aside, np.array([0.0, 0.0, 0.0, 1.0])), stamp)]))

    def publish(self, stamp: Time) -> None:
        """Where the arm is now."""
        view = self._arm.view
        base, tip = optical_to_crtk(Pose(*view.base)), Pose(*view.in_base(*self._arm.measured.tip))
        self._moving.publish(TFMessage(transforms=[
            make_transform(self._frame, f"{self._name}_base", base, stamp),
            make_transform(f"{self._name}_base", self._name, tip, stamp)]))
