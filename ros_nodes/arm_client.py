"""A CRTK arm as a policy sees it: what it tells goes to the inbox, what it is told leaves from here."""

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty

from surgrl.policy.errors import UserError

from . import messages, qos
from .inbox import Inbox
from .pilot import Command


class ArmClient:
    """Topics of one arm. servo_* publishers are silent while the node is not active, whoever calls them."""

    def __init__(self, node: LifecycleNode, arm: str, frame: str, inbox: Inbox, *, reads_jaw: bool,
                 moves_jaw: bool, on_state: Callable[[], None], guard: Callable[[Callable], Callable]):
        """arm: "PSM1". frame: that poses must be told in ('' for any); written into commands.

        on_state: called after each operating_state. guard: wraps each callback; its exception then latches.
        """
        self._node, self._frame, self._inbox, self._on_state = node, frame, inbox, on_state
        self.servo_topic = f"/{arm}/servo_cp"
        self._servo = node.create_lifecycle_publisher(PoseStamped, self.servo_topic, qos.SERVO)
        self._jaw = (node.create_lifecycle_publisher(JointState, f"/{arm}/jaw/servo_jp", qos.SERVO)
                     if moves_jaw else None)
        self._hold = node.create_publisher(Empty, f"/{arm}/hold", qos.EVENT)
        self._subscriptions = [
            node.create_subscription(messages.STATE_TYPE, f"/{arm}/operating_state", guard(self._hear_state),
                                     qos.LATCHED)]
        for name in ("measured_cp", "setpoint_cp"):
            self._subscribe(PoseStamped, arm, name, guard(self._hearer(name, messages.read_pose)))
        if reads_jaw:
            self._subscribe(JointState, arm, "jaw/measured_js",
                            guard(self._hearer("jaw/measured_js", messages.read_joint)))

    def send(self, command: Command, stamp: Any) -> None:
        """Publish servo_cp (and jaw/servo_jp) with the stamp of the image that they answer.

        Arms ignore this stamp; with it anyone can measure how long image-to-command took.
        """
        self._servo.publish(messages.make_pose(command.pose, self._frame, stamp))
        if self._jaw is not None and command.jaw is not None:
            self._jaw.publish(messages.make_joint("jaw", command.jaw, stamp))

    def hold(self, *, last: bool = False) -> None:
        """Tell the arm to stay where it is. last: wait until it has heard, for this node is about to end."""
        self._hold.publish(Empty())
        if last:
            self._hold.wait_for_all_acked(Duration(seconds=0.2))

    def close(self) -> None:
        """Leave the topics."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._node.destroy_publisher(self._hold)
        for publisher in (self._servo, self._jaw):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)

    def _subscribe(self, kind: type, arm: str, name: str, hear: Callable) -> None:
        self._subscriptions.append(self._node.create_subscription(kind, f"/{arm}/{name}", hear, qos.STATE))

    def _hearer(self, name: str, read: Callable[[Any], Any]) -> Callable[[Any], None]:
        def hear(message: Any) -> None:
            stamp, frame = messages.to_ns(message.header.stamp), message.header.frame_id
            if stamp == 0:
                return self._inbox.drop(name, "its stamp is 0: the arm says that it is not valid")
            if isinstance(message, PoseStamped) and self._frame and frame != self._frame:
                return self._inbox.drop(name, f"its frame is {frame!r}, not command_frame {self._frame!r}")
            try:
                self._inbox.put(name, read(message), stamp)
            except UserError as error:
                self._inbox.drop(name, str(error))
            return None
        return hear

    def _hear_state(self, message: Any) -> None:
        self._inbox.put("operating_state", messages.read_state(message), 0)
        self._on_state()
