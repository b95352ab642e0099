"""Records a run as a rosbag2 folder in MCAP: pictures as JPEG, commands, arm, operator, states and reasons.

A process of its own that only listens: whatever happens to it or to its disk, the robot does not notice. It begins
when it starts and ends with SIGINT, SIGTERM, or when its disk is about to be full. ~/status says how it goes.
"""

import os
import shutil
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Bool, Empty, String

from surgrl.bag_writer import BagWriter, Topic
from surgrl.policy.errors import UserError

from . import messages, parameters, process, qos
from .arm_writer import MODES
from .definitions import definition, type_name
from .steady import make_timer

FLUSH = 0.5             # s between two times that what came goes to the file: what a killed process loses
DESCRIBE = 5.0          # s between two times that metadata.yaml is brought up to date
DEPTH = 100             # messages of a topic that wait while this process is busy: 1 s of servo_cp
PICTURES = 64e6         # bytes that may wait for the disk; beyond, pictures are dropped,
ANYTHING = 128e6        # and beyond this everything is
CLOSE = 4.0             # s that stopping waits for the disk; `surgrl serve` kills who takes 5


class _Item(NamedTuple):
    topic: Topic
    message: Any            # CDR bytes; an Image, to be compressed
    received: int           # ns since 1970
    sent: int               # ns since 1970
    size: int               # bytes that it holds while it waits


class Recorder:
    """A bag, written by a thread of its own so that no message is missed while the disk is busy."""

    def __init__(self, folder: Path, *, quality: int, split: float, min_free: float):
        """quality: of JPEG, 1 to 100. split: s, 0 for never. min_free: MB. UserError when nothing can be written."""
        self._quality, self._split, self._min_free = quality, split, min_free
        self._items: deque[_Item] = deque()
        self._waiting = self.dropped = 0            # bytes; messages that there was no room for
        self.failure: str | None = None             # why nothing is written any more
        self.remark = ""                            # why the last picture that could not be kept was not
        self.megabytes = 0.0                        # of the newest file
        self._wake, self._ending = threading.Event(), False
        try:
            self.bag = BagWriter(folder, distro=os.environ.get("ROS_DISTRO", ""))
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); set parameter folder to one that can, "
                            "with room on its disk") from error
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, item: _Item) -> None:
        """Queue a message, or count it as dropped."""
        if self._waiting + item.size > (PICTURES if isinstance(item.message, Image) else ANYTHING):
            self.dropped += 1
            return
        self._waiting += item.size
        self._items.append(item)
        self._wake.set()

    def close(self) -> None:
        """Write what waits and end the bag; s that it may take: CLOSE."""
        self._ending = True
        self._wake.set()
        self._thread.join(CLOSE)
        if self._thread.is_alive():
            self.failure = self.failure or f"the disk did not answer for {CLOSE:g} s; the recording has no end"

    def _run(self) -> None:
        began = flushed = described = time.monotonic()
        try:
            while True:
                self._wake.wait(FLUSH)
                self._wake.clear()
                ending = self._ending
                while self._items:
                    self._write(self._items.popleft())
                    if time.monotonic() - flushed > FLUSH:
                        break
                now = time.monotonic()
                if now - flushed > FLUSH or ending:
                    self.megabytes, flushed = self.bag.flush() / 1e6, now
                    free = shutil.disk_usage(self.bag.folder).free / 1e6
                    if free < self._min_free:
                        self.bag.close()
                        self.failure = (f"{free:.0f} MB are free on the disk, parameter min_free is "
                                        f"{self._min_free:.0f}: the recording was ended whole; make room")
                        return
                if now - described > DESCRIBE:
                    self.bag.describe()
                    described = now
                if self._split and now - began > self._split:
                    self.bag.split()
                    began = now
                if ending and not self._items:
                    return self.bag.close()
                if self._items:
                    self._wake.set()
        except OSError as error:
            self.failure = f"cannot be written ({error.strerror}): what is there can be read up to the last second"
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"

    def _write(self, item: _Item) -> None:
        self._waiting -= item.size
        data = item.message
        if isinstance(data, Image):
            try:
                data = compress(data, self._quality)
            except UserError as error:
                self.remark = f"a picture was not kept: {error}"
                return
        self.bag.write(item.topic, data, received=item.received, sent=item.sent)


class RecordNode(Node):
    """Subscribes to all that a run is made of, and hands it to a Recorder."""

    exit_code: int | None = None

    def __init__(self) -> None:
        """Begin to record. UserError when the folder cannot be written."""
        super().__init__("record_node")
        parameters.declare(self, parameters.RECORD)
        told = {parameter.name: self.get_parameter(parameter.name).value for parameter in parameters.RECORD}
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._recorder = Recorder(
            Path(told["folder"]).expanduser().resolve() / f"run-{stamp}-{os.getpid()}", quality=told["jpeg_quality"],
            split=60 * told["split_minutes"], min_free=told["min_free"])
        self._topics: dict[str, Topic] = {}
        self._rate, self._due = told["camera_rate"], 0
        self._status = self.create_publisher(String, "~/status", qos.STATUS)
        for name, kind, profile in topics(told["arm"], told["image_topic"]):
            self.create_subscription(kind, name, self._hearer(name, kind), _deep(profile), raw=True)
        if told["image_topic"]:
            self.create_subscription(Image, told["image_topic"], self._on_image, qos.IMAGE)
        make_timer(self, 1.0, self._every_second)
        self._every_second()

    def stop(self) -> None:
        """End the recording whole."""
        self._recorder.close()
        self._every_second()

    def fault(self, error: Exception) -> None:
        """An error that no callback caught."""
        self.get_logger().error(f"{type(error).__name__}: {error}")

    def _hearer(self, name: str, kind: Any) -> Any:
        def hear(data: bytes, info: dict[str, int]) -> None:
            self._recorder.put(_Item(self._topic(name, name, kind), data, *_times(info), len(data)))
        return hear

    def _on_image(self, message: Image, info: dict[str, int]) -> None:
        stamp = messages.to_ns(message.header.stamp)
        if self._rate:
            period = round(1e9 / self._rate)
            if 0 < self._due - stamp <= period:
                return
            # Further away than a period: pictures were missing, or the camera's clock was set anew.
            self._due = period + (self._due if 0 <= stamp - self._due < period else stamp)
        name = self.resolve_topic_name(self.get_parameter("image_topic").value)
        topic = self._topic(f"{name}/compressed", name, CompressedImage)
        self._recorder.put(_Item(topic, message, *_times(info), len(message.data)))

    def _topic(self, name: str, source: str, kind: Any) -> Topic:
        """What the bag tells of topic `name`, whose messages come from the publishers of `source`."""
        if name not in self._topics:
            offers = self.get_publishers_info_by_topic(source)
            ours = self.get_subscriptions_info_by_topic(source)     # ours among them: the type's hash is known here
            self._topics[name] = Topic(
                name, type_name(kind), definition(kind),
                "" if kind is CompressedImage else str((offers or ours)[0].topic_type_hash),
                [_qos(offer.qos_profile) for offer in offers])
        return self._topics[name]

    def _every_second(self) -> None:
        recorder = self._recorder
        told = f"{recorder.bag.folder}: {recorder.bag.count} messages, {recorder.megabytes:.1f} MB in the newest file"
        told += f", {recorder.dropped} dropped" if recorder.dropped else ""
        told += f"; {recorder.remark}" if recorder.remark else ""
        if recorder.failure and self.exit_code is None:
            self.get_logger().error(f"{recorder.bag.folder}: {recorder.failure}")
            self.exit_code = 1
        self._status.publish(String(data=f"stopped: {recorder.failure}; {told}" if recorder.failure
                                    else f"recording: {told}"))


def topics(arm: str, image_topic: str) -> list[tuple[str, Any, QoSProfile]]:
    """Topic, type and QoS of everything but the pictures."""
    places = (f"/{arm}", "/gate_node/dry_run")
    levels = dict.fromkeys(mode.split("_")[0] for mode in MODES)
    found = [
        ("/policy_node/action", JointState, qos.SERVO), ("/policy_node/status", String, qos.STATUS),
        ("/operator/enable", Bool, qos.STATE), ("/operator/estop", Bool, qos.LATCHED),
        ("/gate_node/status", String, qos.STATUS), ("/diagnostics", DiagnosticArray, qos.EVENT),
        *((f"{place}/{mode}", PoseStamped if mode.endswith("_cp") else JointState, qos.SERVO)
          for place in places for mode in MODES),
        *((f"{place}/jaw/{level}_jp", JointState, qos.SERVO) for place in places for level in levels),
        *((f"{place}/hold", Empty, qos.EVENT) for place in places), (f"/{arm}/measured_cp", PoseStamped, qos.STATE),
        (f"/{arm}/setpoint_cp", PoseStamped, qos.STATE), (f"/{arm}/jaw/measured_js", JointState, qos.STATE),
        (f"/{arm}/operating_state", messages.STATE_TYPE, qos.LATCHED)]
    if image_topic:
        # With each image, by most drivers volatile: this hears all of them.
        found.append((f"{image_topic.rpartition('/')[0]}/camera_info", CameraInfo, qos.IMAGE))
    return found


def compress(message: Image, quality: int) -> bytes:
    """An Image as a serialised CompressedImage with the same header. UserError when it is malformed."""
    frame = cv2.cvtColor(messages.read_image(message), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(serialize_message(CompressedImage(header=message.header, format="jpeg", data=jpeg.tobytes())))


def _deep(profile: QoSProfile) -> QoSProfile:
    return QoSProfile(history=profile.history, depth=DEPTH, reliability=profile.reliability,
                      durability=profile.durability)


def _qos(profile: QoSProfile) -> dict[str, Any]:
    """A profile in the words of rosbag2's metadata."""
    def span(name: str) -> dict[str, int]:
        ns = getattr(profile, name).nanoseconds
        return {"sec": ns // 10**9, "nsec": ns % 10**9}

    def word(name: str) -> str:
        return str(getattr(profile, name).name.lower())
    return {"history": word("history"), "depth": profile.depth, "reliability": word("reliability"),
            "durability": word("durability"), "deadline": span("deadline"), "lifespan": span("lifespan"),
            "liveliness": word("liveliness"), "liveliness_lease_duration": span("liveliness_lease_duration"),
            "avoid_ros_namespace_conventions": profile.avoid_ros_namespace_conventions}


def _times(info: dict[str, int]) -> tuple[int, int]:
    """When a message was received and when it was sent, ns since 1970; now, where the middleware does not say."""
    received = info.get("received_timestamp") or time.time_ns()
    return received, info.get("source_timestamp") or received


def main() -> int:
    """Entry point `record_node`."""
    return process.run(RecordNode)


if __name__ == "__main__":
    sys.exit(main())
