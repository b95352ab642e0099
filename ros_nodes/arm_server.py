"""The topics of a simulated CRTK arm: all that a dVRK's clients look for before they connect."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty, Float64, Float64MultiArray, String

from surgrl.policy.errors import UserError

from . import arm_messages, messages, qos
from .arm_services import ArmServices
from .messages import Pose, crtk_to_optical, optical_to_crtk, turn_vector
from .sim_arm import NotReadyError, SimArm

QUIET = 2.0     # s, in which the same complaint is made once
FORCES = {"servo_jf": JointState, "jaw/servo_jf": JointState, "body/servo_cf": WrenchStamped,
          "spatial/servo_cf": WrenchStamped}
SWITCHES = ("use_gravity_compensation", "body/set_cf_orientation_absolute", "emulate_tool_present")


class ArmServer:
    """Hears commands for a SimArm and tells where it is."""

    def __init__(self, node: Node, arm: SimArm, name: str, frame: str, on_target: Callable[[int], None]):
        """name: namespace, "PSM1". frame: frame_id of poses in the CRTK camera frame.

        on_target: called with the header's stamp in ns of each servo_cp, servo_jp and move_cp that is followed.
        """
        self._node, self._arm, self._name, self._frame = node, arm, name, frame
        self._base, self._on_target = f"{name}_base", on_target
        self._complaints: dict[str, float] = {}     # topic -> s, monotonic, of the last one
        self._told_state: tuple[str, bool, bool] | None = None
        self._texts = {level: self._publisher(String, level, qos.EVENT) for level in ("error", "warning", "status")}
        self._states = self._publisher(messages.STATE_TYPE, "operating_state", qos.LATCHED)
        self._ratio = self._publisher(Float64, "trajectory_j/ratio", qos.STATUS)
        self._ratio.publish(Float64(data=arm.ratio))
        self._reports = [(self._publisher(kind, topic, qos.STATE), make) for topic, kind, make in self._reported()]
        for topic, kind, quality, act in self._commands():
            node.create_subscription(kind, f"/{name}/{topic}", self._guarded(topic, act), quality)
        if arm_messages.StringStamped is not None:
            ArmServices(node, arm, name, self._state)

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
        self._guarded("motion", lambda _: self._arm.advance(seconds))(None)

    def _reported(self) -> list[tuple[str, type, Callable[[Time], Any]]]:
        """Topic, type, what makes its message."""
        arm, joints, jaw = self._arm, arm_messages.make_joints, messages.make_joint
        names = arm.view.names

        def seen(pose: Pose, stamp: Time) -> PoseStamped:
            return messages.make_pose(optical_to_crtk(pose), self._frame, stamp)

        def local(pose: Pose, stamp: Time) -> PoseStamped:
            return messages.make_pose(Pose(*arm.view.in_base(*pose)), self._base, stamp)

        def wrench(stamp: Time) -> WrenchStamped:
            force = arm.view.forces()[1]
            lever = arm.view.in_base(*arm.measured.tip)[0]
            return arm_messages.make_wrench(force, np.cross(lever, force), self._base, stamp)

        return [
            ("measured_js", JointState, lambda t: joints(names, arm.measured.joints, t, arm.measured.speeds)),
            ("setpoint_js", JointState, lambda t: joints(names, arm.joints, t)),
            ("measured_cp", PoseStamped, lambda t: seen(arm.measured.tip, t)),
            ("setpoint_cp", PoseStamped, lambda t: seen(arm.setpoint, t)),
            ("local/measured_cp", PoseStamped, lambda t: local(arm.measured.tip, t)),
            ("local/setpoint_cp", PoseStamped, lambda t: local(arm.setpoint, t)),
            ("measured_cv", TwistStamped, lambda t: arm_messages.make_twist(
                turn_vector(arm.measured.linear), turn_vector(arm.measured.angular), self._frame, t)),
            ("jaw/measured_js", JointState, lambda t: jaw("jaw", arm.measured.jaw, t)),
            ("jaw/setpoint_js", JointState, lambda t: jaw("jaw", arm.jaw, t)),
            ("body/measured_cf", WrenchStamped, lambda t: arm_messages.make_wrench(
                arm.view.forces()[0], np.zeros(3), self._name, t)),
            ("spatial/measured_cf", WrenchStamped, wrench),
            ("body/jacobian", Float64MultiArray, lambda _: arm_messages.make_matrix(arm.view.jacobians()[0])),
            ("spatial/jacobian", Float64MultiArray, lambda _: arm_messages.make_matrix(arm.view.jacobians()[1]))]

    def _commands(self) -> list[tuple[str, type, Any, Callable[[Any], None]]]:
        """Topic, type, quality of service, what is done. A relative command must not be lost: no depth of 1."""
        arm, pose = self._arm, lambda message: crtk_to_optical(messages.read_pose(message))

        def joints(message: JointState) -> np.ndarray:
            return arm_messages.read_joints(message, arm.view.names)

        def target(follow: Callable[[Any], None]) -> Callable[[Any], None]:
            def followed(message: Any) -> None:
                follow(message)
                self._on_target(messages.to_ns(message.header.stamp))
            return followed

        def command(message: Any) -> None:
            word = arm_messages.read_command(message)
            arm.command(word)
            self._tell("status", f"{word}: {arm.state.word}, {'homed' if arm.state.homed else 'not homed'}")

        def set_ratio(message: Float64) -> None:
            arm.set_ratio(message.data)
            self._ratio.publish(Float64(data=arm.ratio))

        def refuse(_: Any) -> None:
            raise UserError("a simulated arm has no motors that a force could be asked of; use servo_cp or servo_jp")

        return [
            ("servo_cp", PoseStamped, qos.SERVO, target(lambda m: arm.servo_cp(pose(m)))),
            ("servo_jp", JointState, qos.SERVO, target(lambda m: arm.servo_jp(joints(m)))),
            ("servo_jr", JointState, qos.EVENT, lambda m: arm.servo_jr(joints(m))),
            ("move_cp", PoseStamped, qos.EVENT, target(lambda m: arm.move_cp(pose(m)))),
            ("move_jp", JointState, qos.EVENT, lambda m: arm.move_jp(joints(m))),
            ("move_jr", JointState, qos.EVENT, lambda m: arm.move_jr(joints(m))),
            ("jaw/servo_jp", JointState, qos.SERVO, lambda m: arm.servo_jaw(messages.read_joint(m))),
            ("jaw/move_jp", JointState, qos.EVENT, lambda m: arm.move_jaw(messages.read_joint(m))),
            ("hold", Empty, qos.EVENT, lambda _: arm.hold()),
            ("free", Empty, qos.EVENT, lambda _: arm.hold()),      # weightless: free, it stays
            ("state_command", arm_messages.COMMAND_TYPE, qos.EVENT, command),
            ("trajectory_j/set_ratio", Float64, qos.EVENT, set_ratio),
            *((topic, kind, qos.SERVO, refuse) for topic, kind in FORCES.items()),
            *((topic, Bool, qos.EVENT, lambda m, topic=topic: self._tell(
                "status", f"{topic} {m.data}: heard, without effect on a simulated arm")) for topic in SWITCHES)]

    def _guarded(self, topic: str, act: Callable[[Any], None]) -> Callable[[Any], None]:
        """No command may end the node; a refused one is told as a dVRK does."""
        def guarded(message: Any) -> None:
            try:
                act(message)
            except UserError as error:
                level = "warning" if isinstance(error, NotReadyError) else "error"
                now = time.monotonic()
                if now - self._complaints.get(topic, -QUIET) >= QUIET:
                    self._complaints[topic] = now
                    self._tell(level, f"{topic}: {error}")
            self.tell_state()
        return guarded

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
