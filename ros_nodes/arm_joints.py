"""servo_jp in the place of servo_cp: the arm's own inverse kinematics makes joints of each pose of the gate's."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose as PoseMessage
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from sensor_msgs.msg import JointState

from surgrl.policy.errors import UserError
from surgrl.policy.spec import Array

from . import arm_messages, messages, qos

WAIT = 0.002        # s, that one command waits for its joints: an arm's answer takes about half of that
SPARE = 1e-6        # rad or m, of rounding


class JointTargets:
    """Poses in, servo_jp out. What an answer asks of a joint is bounded too: inverse kinematics may change branches."""

    def __init__(self, node: LifecycleNode, arm: str, topic: str, *, dt: float, speed: float, max_age: float):
        """dt: s between commands. speed: rad/s or m/s of a joint, at most. max_age: s, oldest setpoint_js that a
        motion starts from, and longest wait for an answer. UserError without crtk_msgs.
        """
        kind = arm_messages.QueryInverseKinematics
        if kind is None:
            raise UserError("parameter command is 'servo_jp', which asks the arm's inverse_kinematics, and crtk_msgs "
                            "is not installed here; install it, or use servo_cp")
        self._kind, self._dt, self._speed, self._max_age = kind, dt, speed, max_age
        self._service = f"/{arm}/inverse_kinematics"
        self._node, self._publisher = node, node.create_lifecycle_publisher(JointState, topic, qos.SERVO)
        # A node and an executor of its own: the gate's executor does not turn while a tick waits.
        self._peer = Node(f"{node.get_name()}_kinematics", use_global_arguments=False, enable_rosout=False,
                          start_parameter_services=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._peer)
        self._client = self._peer.create_client(kind, self._service)
        self._peer.create_subscription(JointState, f"/{arm}/setpoint_js", self._on_setpoint, qos.SERVO)
        self._names: list[str] = []
        self._setpoint: Array | None = None         # (J,) as the arm tells it
        self._heard = self._sent = self._asked = 0.0    # s, monotonic: of that, of the last command, of the question
        self._joints: Array | None = None           # (J,) as last commanded in this motion
        self._answer: Any = None                    # a question's, that is still to come
        self._stamp = 0
        self.failure: str | None = None             # why the last command cannot be followed

    def obstacle(self) -> str | None:
        """Why no motion can start, or go on, or None."""
        self._executor.spin_once(timeout_sec=0.0)
        waited = time.monotonic() - self._asked
        if self._answer is not None and not self._answer.done() and not waited <= self._max_age:
            return f"{self._service} has not answered for {waited * 1e3:.0f} ms, limit {self._max_age * 1e3:.0f} ms"
        if not self._client.service_is_ready():
            return f"nobody serves {self._service}, which command servo_jp needs"
        if self._setpoint is None or not time.monotonic() - self._heard <= self._max_age:
            return "setpoint_js is missing or old, which command servo_jp starts from"
        return None

    def publish(self, pose: PoseMessage, stamp: int, *, expired: Callable[[], bool]) -> Array | None:
        """Command the joints of a pose, now or with the next one: the (J,) that were published now, if any were.

        stamp: ns. expired: asked after the arm's answer, whether the command is too old by now to be sent. `failure`
        says why what the arm answered cannot be followed.
        """
        self.failure = None
        sent = self._take(expired)
        if self.failure or self._answer is not None:
            return sent
        near = self._setpoint if self._joints is None else self._joints
        assert near is not None, "ask obstacle() before a motion"
        self._answer = self._client.call_async(self._kind.Request(cp=pose, jp=near.tolist()))
        self._asked, self._stamp = time.monotonic(), stamp
        now = self._take(expired)
        return sent if now is None else now

    def rest(self) -> None:
        """The motion has ended: an answer that still comes is no command any more."""
        self._joints = self._answer = None

    def close(self) -> None:
        """Leave the topics."""
        self._node.destroy_lifecycle_publisher(self._publisher)
        self._executor.shutdown()
        self._peer.destroy_node()

    def _take(self, expired: Callable[[], bool]) -> Array | None:
        """Send what was answered, if it has come within WAIT and can be followed."""
        if self._answer is None:
            return None
        end = time.monotonic() + WAIT
        while not self._answer.done() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=max(0.0, end - time.monotonic()))
        if not self._answer.done():
            return None
        answer, self._answer = self._answer.result(), None
        if expired():       # this process was stopped while it waited
            return None
        joints, now = np.array(answer.jp, dtype=float), time.monotonic()
        self.failure = self._refuse(answer, joints, now)
        if self.failure:
            return None
        self._joints, self._sent = joints, now
        self._publisher.publish(arm_messages.make_joints(self._names, joints, messages.to_stamp(self._stamp)))
        return joints

    def _refuse(self, answer: Any, joints: Array, now: float) -> str | None:
        """Why joints that were answered must not be commanded, or None. now: s, monotonic."""
        if not answer.result:
            return f"{self._service} finds no joints: {answer.message}"
        before, since = (self._setpoint, now) if self._joints is None else (self._joints, self._sent)
        if joints.shape != np.shape(before) or not np.isfinite(joints).all():
            return f"{self._service} answers {joints.tolist()}; it must be {np.size(before)} finite numbers"
        way = float(np.abs(joints - before).max())
        allowed = self._speed * (now - since + self._dt) + SPARE
        if not way <= allowed:
            worst = int(np.abs(joints - before).argmax())
            return (f"{self._service} would have joint {self._names[worst]} go {way:.4f} at once, limit {allowed:.4f} "
                    "(parameter joint_speed): is it near a singularity?")
        return None

    def _on_setpoint(self, message: JointState) -> None:
        told = np.array(message.position, dtype=float)
        if messages.to_ns(message.header.stamp) and np.isfinite(told).all() and len(message.name) == len(told) > 0:
            self._names, self._setpoint, self._heard = list(message.name), told, time.monotonic()
