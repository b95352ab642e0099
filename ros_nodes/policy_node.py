"""The policy as a ROS 2 lifecycle node: images and the arm's state in, actions out. gate_node makes commands of them.

What it answers to: deactivate; an image that is stale, malformed, frozen, dark, blurred or unlike any it was
trained on; a state of the arm, if the policy reads it, that is stale; a second camera on its topic; an action
that is not finite; any error in here. ~/status says which.
"""

import sys
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from sensor_msgs.msg import CameraInfo, Image, JointState

from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.errors import UserError
from surgrl.policy.gate import VELOCITY
from surgrl.policy.image_gate import ImageGate
from surgrl.policy.inbox import Inbox
from surgrl.policy.runtime import PolicyRuntime
from surgrl.pretrained import find_bundle

from . import messages, parameters, process, qos
from .arm_reader import ArmReader
from .meters import Durations, Rate
from .overlay_stream import OverlayStream
from .pilot import Pilot
from .rivals import publishers
from .steady import make_timer
from .supervised import SupervisedNode

TICK = 0.02         # s, between two looks of the watchdog
SLOW = 0.8          # of the policy's rate; images that come more seldom are told


class PolicyNode(SupervisedNode):
    """Wires a Pilot to topics, parameters and the lifecycle."""

    def __init__(self) -> None:
        """Declare parameters; all else waits for configure."""
        super().__init__("policy_node", parameters.POLICY)
        self._watch: list[Any] = []
        self._arm: ArmReader | None = None
        self._actions: Any = None
        self._overlay: OverlayStream | None = None
        self._hearing: list[Any] = []
        self._info: CameraInfo | None = None

    def configure(self) -> None:
        """Load and prove the bundle, join the topics."""
        name, task, arm, topic, frame, providers, fallback = (self.get_parameter(key).value for key in (
            "bundle", "task", "arm", "image_topic", "command_frame", "providers", "allow_fallback"))
        if not name:
            raise UserError("parameter bundle is empty; give the folder of a bundle, or a pretrained name")
        bundle = PolicyBundle.load(find_bundle(name))
        if task and bundle.task != task:
            raise UserError(f"{bundle.folder} is a policy for {bundle.task}, parameter task is {task}; "
                            "give a bundle for that task, or another task")
        self._bundle, self._frame, self._image_topic = bundle, frame, topic
        self._runtime = PolicyRuntime(bundle, providers, allow_fallback=fallback)
        self._inbox = Inbox(lambda: self.get_clock().now().nanoseconds)
        self._profile = bundle.profile()        # now, as what was just proved; the file may be another one later
        if self._profile is None:
            self.get_logger().warning(f"{bundle.folder} has no profile of its pictures: strange ones are not found")
        self._new_pilot()       # refuses now, not at activate
        names = (("measured_cp",) if bundle.proprio.names else ()) + (
            ("jaw/measured_js",) if "jaw" in bundle.proprio.names else ())
        self._arm = ArmReader(self, arm, frame, self._inbox, names, guard=self.guard)
        self._actions = self.create_lifecycle_publisher(JointState, "~/action", qos.SERVO)
        fastest = max((high for name, high in zip(bundle.action.names, bundle.action.high, strict=True)
                       if name in VELOCITY), default=1.0)
        self._overlay = OverlayStream(self, fastest)
        self._hearing.append(self.create_subscription(Image, topic, self.guard(self._on_image), qos.IMAGE))
        for quality in (qos.IMAGE, qos.STATUS):     # told with each image, as drivers do, or once and kept: either
            self._hearing.append(self.create_subscription(
                CameraInfo, f"{topic.rsplit('/', 1)[0]}/camera_info", self.guard(self._on_camera_info), quality,
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False)))

    def begin(self) -> None:
        """Each image gives an action from now on. UserError where the camera is known to be another one."""
        self._new_pilot()
        strange = self._strange_camera()
        if strange:
            raise UserError(strange)
        self._pilot.objection = self._objection()
        self._seen, self._asked, self._took, self._age = Rate(), Rate(), Durations(), Durations()
        self._watch = [make_timer(self, TICK, self.guard(self._pilot.check)),
                       make_timer(self, 0.5, self.guard(self._look_around))]

    def end(self) -> None:
        """Ask for nothing more."""
        for timer in self._watch:
            self.destroy_timer(timer)
        self._watch = []

    def leave(self) -> None:
        """Leave the topics, as far as they were joined, and forget the policy."""
        for end in (self._arm, self._overlay):
            if end is not None:
                end.close()
        for hearing in self._hearing:
            self.destroy_subscription(hearing)
        if self._actions is not None:
            self.destroy_lifecycle_publisher(self._actions)
        self._arm = self._actions = self._overlay = self._info = None
        self._hearing = []

    def latch(self, reason: str) -> None:
        """Ask for nothing until activated anew."""
        self._pilot.latch(reason)

    def told(self) -> str:
        """The pilot's state and reason, and which policy it is."""
        warning = f" ({self.warning})" if self.warning else ""
        told = f"{self._pilot.state}: {self._pilot.reason}{warning}"
        return f"{told} [{self._bundle.folder.name} {self._bundle.fingerprint}]"

    def measures(self) -> dict[str, str]:
        """Rates, ages and times."""
        known = {"bundle": str(self._bundle.folder), "sha256": self._bundle.fingerprint,
                 "profile of pictures": "none: strange ones are not found" if self._profile is None else "yes",
                 "provider": self._runtime.provider, "age of image": f"{self._inbox.age('image') * 1e3:.0f} ms"}
        if not self.active:
            return known
        return {**known, "images": str(self._seen), "images dropped": str(self._inbox.drops["image"]),
                "actions": str(self._asked), "work": str(self._took), "image to action": str(self._age)}

    def _new_pilot(self) -> None:
        eyes = ImageGate(self._bundle.image, parameters.read_image_limits(self), self._profile)
        self._pilot = Pilot(self._runtime, self._inbox, eyes, max_image_age=self.get_parameter("max_image_age").value,
                            max_state_age=self.get_parameter("max_state_age").value, on_change=self.report)

    def _on_image(self, message: Image) -> None:
        if not self.active:
            return
        self._seen.tick()
        try:
            frame = messages.read_image(message)
        except UserError as error:
            return self._inbox.drop("image", str(error))
        stamp = messages.to_ns(message.header.stamp)
        action = self._pilot.look(frame, stamp, message.encoding)
        if action is not None:
            answer = JointState(name=action.names, position=action.values.tolist(), effort=action.raw.tolist())
            answer.header.stamp, answer.header.frame_id = message.header.stamp, self._frame
            self._actions.publish(answer)
            self._asked.tick()
            self._took.add(self._pilot.seconds)
            self._age.add((self.get_clock().now().nanoseconds - stamp) * 1e-9)
        self._overlay.show(frame, self._pilot.state, self._pilot.reason, action)      # no action waits for a drawing

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._info = message

    def _look_around(self) -> None:
        self._pilot.objection = self._objection()
        rate, before = self._bundle.image.rate, bool(self.warning)
        self.warning = "" if self._seen.hertz >= SLOW * rate else (
            f"images come at {self._seen.hertz:.0f} Hz, the policy is made for {rate:.0f}")
        if before != bool(self.warning):
            self.report()

    def _objection(self) -> str | None:
        """Two cameras on one topic: the policy would see a mixture. Or a camera that is not the one it knows."""
        if publishers(self, self._image_topic) > 1:
            return (f"more than one publisher on {self._image_topic}; only one may be: stop the others "
                    f"(`ros2 topic info -v {self._image_topic}` names them)")
        return self._strange_camera()

    def _strange_camera(self) -> str | None:
        """Why what CameraInfo tells is no camera of the policy's, or None; None too before it has come."""
        if self._info is None or not self._info.height:
            return None
        strange = self._bundle.image.foreign(self._info.height, self._info.width, self._info.k[4])
        return f"this is not the policy's camera: {strange}" if strange else None


def main() -> int:
    """Entry point `policy_node`."""
    return process.run(PolicyNode)


if __name__ == "__main__":
    sys.exit(main())
