"""The policy as a ROS 2 lifecycle node: images and arm state in, bounded servo_cp out.

What moves: the tip of `arm`, at limits.speed at most, inside limits.box_*; its jaw if the policy has that
channel. What stops it: deactivate; operating_state other than ENABLED; an input that is stale, missing or
malformed; an arm that lags or is outside the box; a second publisher of commands or images; a policy that is
not finite; any error in here. ~/status says which.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String

from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.errors import UserError
from surgrl.policy.runtime import PolicyRuntime
from surgrl.pretrained import find_bundle

from . import messages, parameters, process, qos
from .arm_client import ArmClient
from .inbox import Inbox
from .pilot import Pilot

TICK = 0.02     # s, between two looks of the watchdog
UNCONFIGURED = f"inactive: not configured (process {os.getpid()})"      # tells two such nodes apart
DONE, REFUSED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class PolicyNode(LifecycleNode):
    """Wires a Pilot to topics, parameters and the lifecycle."""

    exit_code = None

    def __init__(self) -> None:
        """Declare parameters and say `inactive`; everything else waits for configure."""
        super().__init__("policy_node")
        parameters.declare(self, parameters.POLICY)
        self.add_on_set_parameters_callback(self._allow_parameters)
        self._status = self.create_publisher(String, "~/status", qos.STATUS)
        self._text = ""
        self._runtime: PolicyRuntime | None = None
        self._arm: ArmClient | None = None
        self._pilot: Pilot | None = None        # only while active
        self._watch: list[Any] = []
        self._say(UNCONFIGURED)
        self.create_timer(1.0, self._every_second)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and prove the bundle, check limits, join the topics; or FAILURE, its reason on ~/status."""
        try:
            self._configure()
        except UserError as error:
            return self._refuse(str(error))
        except Exception as error:      # a file that onnxruntime cannot read, a manifest that lacks a word
            return self._refuse(f"{type(error).__name__}: {error}")
        self._say("inactive: configured; activate it to let it move the arm")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From now on the policy may move the arm, once all its inputs are sound."""
        self._pilot = Pilot(self._runtime, self._limits, self._inbox, self._on_change)
        self._watch = [self.create_timer(TICK, self._guard(self._pilot.check)),
                        self.create_timer(1.0, self._guard(self._look_for_rivals))]
        self._look_for_rivals()
        self._pilot.check()
        self._every_second()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish hold, and nothing after it."""
        self.stop()
        self._say("inactive: deactivated")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave the topics and forget the policy; parameters may be set anew."""
        self._leave()
        self._say(UNCONFIGURED)
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, leave, end the process."""
        self.stop()
        self._leave()
        self._say("inactive: shut down")
        self.exit_code = 0
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold and leave: back to unconfigured."""
        self.stop()
        self._leave()
        self._say("inactive: a transition failed; see the log")
        return DONE

    def stop(self) -> None:
        """Publish hold if the policy was in charge, and send nothing more."""
        for timer in self._watch:
            self.destroy_timer(timer)
        self._watch = []
        if self._pilot is not None and self._arm is not None:
            self._arm.hold(last=True)
        self._pilot = None

    def fault(self, error: Exception) -> None:
        """An error that has no other place, e.g. in rclpy's own services: stop the arm, keep the node."""
        self.get_logger().error(f"{type(error).__name__}: {error}")
        if self._pilot is not None and self._pilot.state != "latched":
            self._pilot.latch(f"{type(error).__name__}: {error}")

    def _configure(self) -> None:
        name, task, arm, topic, frame = (self.get_parameter(key).value for key in (
            "bundle", "task", "arm", "image_topic", "command_frame"))
        if not name:
            raise UserError("parameter bundle is empty; give the folder of a bundle, or a pretrained name")
        bundle = PolicyBundle.load(find_bundle(name))
        if task and bundle.task != task:
            raise UserError(f"{bundle.folder} is a policy for {bundle.task}, parameter task is {task}; "
                            "give a bundle for that task, or another task")
        moves_jaw = "jaw" in bundle.action.names
        reads_jaw = moves_jaw or "jaw" in bundle.proprio.names
        self._limits = parameters.read_limits(self, reads_jaw=reads_jaw)
        self._runtime = PolicyRuntime(bundle, self.get_parameter("providers").value)
        self._inbox = Inbox(lambda: self.get_clock().now().nanoseconds)
        Pilot(self._runtime, self._limits, self._inbox, self._on_change)    # refuses now, not at activate
        self._arm = ArmClient(self, arm, frame, self._inbox, reads_jaw=reads_jaw, moves_jaw=moves_jaw,
                              on_state=self._on_state, guard=self._guard)
        self._image_topic = topic
        self._camera = self.create_subscription(Image, topic, self._guard(self._on_image), qos.IMAGE)

    def _leave(self) -> None:
        if self._arm is not None:
            self._arm.close()
            self.destroy_subscription(self._camera)
        self._arm = self._runtime = None

    def _on_image(self, message: Image) -> None:
        if self._pilot is None:
            return
        try:
            frame = messages.read_image(message)
        except UserError as error:
            return self._inbox.drop("image", str(error))
        command = self._pilot.look(frame, messages.to_ns(message.header.stamp))
        if command is not None:
            self._arm.send(command, message.header.stamp)

    def _on_state(self) -> None:
        if self._pilot is not None:
            self._pilot.check()     # at once: two states in one watchdog tick must not hide the first

    def _on_change(self, state: str, reason: str) -> None:
        if state != "active":
            self._arm.hold()
        self._every_second()
        if state == "active":
            self.get_logger().info(self._text)
        else:
            self.get_logger().warning(self._text)

    def _look_for_rivals(self) -> None:
        """Two who command one arm, or two cameras on one topic: the robot would follow a mixture."""
        topics = (self._arm.servo_topic, self._image_topic)
        rivals = [topic for topic in topics if self.count_publishers(topic) > 1]
        self._pilot.objection = (
            f"more than one publisher on {rivals[0]}; only one may be: "
            f"stop the others (`ros2 topic info -v {rivals[0]}` names them)") if rivals else None

    def _every_second(self) -> None:
        if self._pilot is not None:
            limited = f" (limited: {', '.join(self._pilot.remarks)})" if self._pilot.remarks else ""
            self._text = f"{self._pilot.state}: {self._pilot.reason}{limited}"
        self._status.publish(String(data=self._text))

    def _say(self, text: str) -> None:
        self._text = " ".join(text.split())
        self._status.publish(String(data=self._text))

    def _refuse(self, reason: str) -> TransitionCallbackReturn:
        self._leave()
        self._say(f"inactive: refused to configure: {reason}")
        self.get_logger().error(self._text)
        return REFUSED

    def _allow_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        ours = {parameter.name for parameter in parameters.POLICY}
        late = [change.name for change in changes if change.name in ours] if self._runtime is not None else []
        return SetParametersResult(successful=not late, reason=(
            f"{late[0]} is read at configure; deactivate and clean up this node first") if late else "")

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """An error in a callback must stop the arm, not the node that would say so."""
        @functools.wraps(callback)
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as error:
                self.fault(error)
        return guarded


def main() -> int:
    """Entry point `policy_node`."""
    return process.run(PolicyNode)


if __name__ == "__main__":
    sys.exit(main())
