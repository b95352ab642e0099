"""What a CRTK arm tells of itself, into an inbox: poses and joints that are sound, and its state."""

from collections.abc import Callable, Sequence
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState

from surgrl.policy.errors import UserError
from surgrl.policy.inbox import Inbox

from . import messages, qos

READ: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "measured_cp": (PoseStamped, messages.read_pose), "setpoint_cp": (PoseStamped, messages.read_pose),
    "jaw/measured_js": (JointState, messages.read_joint)}


class ArmReader:
    """Subscriptions to some of an arm's topics."""

    def __init__(self, node: Node, arm: str, frame: str, inbox: Inbox, names: Sequence[str], *,
                 guard: Callable[[Callable[..., None]], Callable[..., None]],
                 on_state: Callable[[str], None] | None = None):
        """arm: "PSM1". frame: that poses must be told in ('' for any). names: out of READ.

        guard: wraps each callback; what it does with an exception is its own. on_state: hears operating_state.
        """
        self._node, self._frame, self._inbox = node, frame, inbox
        self._subscriptions = []
        for name in names:
            kind, read = READ[name]
            self._subscriptions.append(
                node.create_subscription(kind, f"/{arm}/{name}", guard(self._hearer(name, read)), qos.STATE))
        if on_state is not None:
            self._subscriptions.append(node.create_subscription(
                messages.STATE_TYPE, f"/{arm}/operating_state",
                guard(lambda message: on_state(messages.read_state(message))), qos.LATCHED))

    def close(self) -> None:
        """Leave the topics."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

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
