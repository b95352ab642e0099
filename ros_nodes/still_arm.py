"""A CRTK arm that stands still, for a dry run: it tells where it is, and hears nothing."""

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState

from . import messages, qos
from .messages import Pose
from .steady import make_timer

PERIOD = 0.01       # s, between two messages, as a dVRK's


class StillArm:
    """Publishes pose and jaw at 100 Hz, and that it is ENABLED."""

    def __init__(self, node: Node, arm: str, frame: str, position: np.ndarray):
        """arm: namespace, "PSM1". frame: frame_id of poses. position: (3,) m, of the tip."""
        self._node, self._frame = node, frame
        self._pose = Pose(np.asarray(position, dtype=float), np.array([0.0, 0.0, 0.0, 1.0]))
        self._states = node.create_publisher(messages.STATE_TYPE, f"/{arm}/operating_state", qos.LATCHED)
        self._poses = [node.create_publisher(PoseStamped, f"/{arm}/{name}", qos.STATE)
                       for name in ("measured_cp", "setpoint_cp")]
        self._jaw = node.create_publisher(JointState, f"/{arm}/jaw/measured_js", qos.STATE)
        self._tell_state(messages.ENABLED)
        make_timer(node, PERIOD, self._tell)

    def stop(self) -> None:
        """Tell that the arm takes no commands."""
        self._tell_state("DISABLED")

    def _tell(self) -> None:
        stamp = self._node.get_clock().now().to_msg()
        for publisher in self._poses:
            publisher.publish(messages.make_pose(self._pose, self._frame, stamp))
        self._jaw.publish(messages.make_joint("jaw", 0.0, stamp))

    def _tell_state(self, state: str) -> None:
        self._states.publish(messages.make_state(state, self._node.get_clock().now().to_msg()))
