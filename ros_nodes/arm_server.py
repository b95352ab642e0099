"""The topics of a simulated CRTK arm, whatever kind it is: what it tells, what it hears, and why it refuses."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from builtin_interfaces.msg import Time
from rclpy.node import Node
from std_msgs.msg import Empty, Float64, String

from surgrl.policy.errors import UserError

from . import arm_messages, messages, qos
from .sim_arm import NotReadyError

QUIET = 2.0     # s, in which the same complaint is made once


class Report(NamedTuple):
    """A topic that an arm tells something on."""

    topic: str
    kind: type
    make: Callable[[Time], Any]


class Command(NamedTuple):
    """A topic on which it is told to do something."""

    topic: str
    kind: type
    quality: Any
    act: Callable[[Any], None]
    answers: bool = False       # whether its header's stamp is that of the image that it answers


class ArmServer:
    """Hears commands for a SimArm or a SimScope and tells where it is."""

    def __init__(self, node: Node, arm: Any, name: str, reports: Sequence[Report], commands: Sequence[Command],
                 on_target: Callable[[int], None]):
        """name: namespace, "PSM1". reports, commands: of its kind, beside those that all arms have.

        on_target: called with the header's stamp in ns of each command that answers an image, and is followed.
        """
        self._node, self._arm, self._name, self._on_target = node, arm, name, on_target
        self._complaints: dict[str, float] = {}     # topic -> s, monotonic, of the last one
        self._told_state: tuple[str, bool, bool] | None = None
        self._texts = {level: self._publisher(String, level, qos.EVENT) for level in ("error", "warning", "status")}
        self._states = self._publisher(messages.STATE_TYPE, "operating_state", qos.LATCHED)
        self._ratio = self._publisher(Float64, "trajectory_j/ratio", qos.STATUS)
        self._ratio.publish(Float64(data=arm.ratio))
        self._reports = [(self._publisher(kind, topic, qos.STATE), make) for topic, kind, make in reports]
        for command in (*self._common(), *commands):
            node.create_subscription(command.kind, f"/{name}/{command.topic}", self._guarded(command), command.quality)
        if arm_messages.StringStamped is not None:
            node.create_service(arm_messages.TriggerOperatingState, f"/{name}/operating_state", self._tell_state)

    def publish(self, stamp: Time) -> None:
        """Tell where the arm is, wherever somebody listens, and its state, if that has changed."""
        for publisher, make in self._reports:
            if publisher.get_subscription_count():
                publisher.publish(make(stamp))
        self.tell_state()

    def tell_state(self) -> None:
        """Publish operating_state if it has changed."""
        state = (self._arm.state.word, self._arm.state.homed, self._arm.busy)
        if state != self._told_state:
            self._told_state = state
            self._states.publish(self._state())

    def advance(self, seconds: float) -> None:
        """Let the arm's moves get on; what goes wrong is told, as for a command."""
        self._guarded(Command("motion", type(None), None, lambda _: self._arm.advance(seconds)))(None)

    def _common(self) -> list[Command]:
        """What every arm hears."""
        arm = self._arm

        def command(message: Any) -> None:
            word = arm_messages.read_command(message)
            arm.command(word)
            self._tell("status", f"{word}: {arm.state.word}, {'homed' if arm.state.homed else 'not homed'}")

        def set_ratio(message: Float64) -> None:
            arm.set_ratio(message.data)
            self._ratio.publish(Float64(data=arm.ratio))
        return [Command("hold", Empty, qos.EVENT, lambda _: arm.hold()),
                Command("free", Empty, qos.EVENT, lambda _: arm.hold()),      # weightless: free, it stays
                Command("state_command", arm_messages.COMMAND_TYPE, qos.EVENT, command),
                Command("trajectory_j/set_ratio", Float64, qos.EVENT, set_ratio)]

    def _guarded(self, command: Command) -> Callable[[Any], None]:
        """No command may end the node; a refused one is told as a dVRK does."""
        topic = command.topic

        def guarded(message: Any) -> None:
            try:
                command.act(message)
                if command.answers:
                    self._on_target(messages.to_ns(message.header.stamp))
            except UserError as error:
                level = "warning" if isinstance(error, NotReadyError) else "error"
                now = time.monotonic()
                if now - self._complaints.get(topic, -QUIET) >= QUIET:
                    self._complaints[topic] = now
                    self._tell(level, f"{topic}: {error}")
            self.tell_state()
        return guarded

    def tell(self, text: str) -> None:
        """On the topic `status`."""
        self._tell("status", text)

    def _tell_state(self, _: Any, answer: Any) -> Any:
        answer.operating_state = self._state()
        return answer

    def _tell(self, level: str, text: str) -> None:
        self._texts[level].publish(String(data=f"{self._name}: {text}"))
        if level != "status":
            self._node.get_logger().warning(text)

    def _state(self) -> Any:
        arm = self._arm
        return messages.make_state(arm.state.word, self._node.get_clock().now().to_msg(), homed=arm.state.homed,
                                   busy=arm.busy)

    def _publisher(self, kind: type, topic: str, quality: Any) -> Any:
        return self._node.create_publisher(kind, f"/{self._name}/{topic}", quality)
