"""record_node in its process, over a real graph: what it writes is what was sent, and can be read whatever happens."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("mcap")
rosbags = pytest.importorskip("rosbags.highlevel")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.serialization import deserialize_message  # noqa: E402
from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, JointState  # noqa: E402
from std_msgs.msg import Bool, Empty, Float64MultiArray, String  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402
from unique_identifier_msgs.msg import UUID  # noqa: E402

from ros_nodes import definitions, messages, qos  # noqa: E402
from ros_nodes.transport import CONFIG  # noqa: E402
from surgrl.bags import BagReader  # noqa: E402
from surgrl.node_process import NodeProcess  # noqa: E402

SENT = 20       # messages of each topic
KINDS = (Bool, CameraInfo, CompressedImage, DiagnosticArray, Empty, Float64MultiArray, Image, Imu, JointState,
         JointTrajectory, PoseStamped, String, UUID)


class Sender:
    """All that a run is made of, published by the test."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = rclpy.create_node("sender", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.statuses: list[str] = []
        self.node.create_subscription(String, "/record_node/status", lambda message: self.statuses.append(message.data),
                                      qos.STATUS)
        deep = qos._profile(100, reliable=True)     # the test sends faster than a robot
        self.topics = {
            "/policy_node/action": (JointState, deep), "/policy_node/status": (String, qos.STATUS),
            "/operator/enable": (Bool, qos.STATE), "/operator/estop": (Bool, qos.LATCHED),
            "/gate_node/status": (String, qos.STATUS), "/diagnostics": (DiagnosticArray, qos.EVENT),
            **{f"{place}/{mode}_cp": (PoseStamped, deep) for place in ("/PSM1", "/gate_node/dry_run")
               for mode in ("servo", "interpolate", "move")},
            **{f"{place}/{mode}_jp": (JointState, deep) for place in ("/PSM1", "/gate_node/dry_run")
               for mode in ("servo", "jaw/servo", "jaw/interpolate", "jaw/move")},
            "/PSM1/hold": (Empty, qos.EVENT), "/gate_node/dry_run/hold": (Empty, qos.EVENT),
            "/PSM1/measured_cp": (PoseStamped, qos.STATE),
            "/PSM1/setpoint_cp": (PoseStamped, qos.STATE), "/PSM1/jaw/measured_js": (JointState, qos.STATE),
            "/PSM1/operating_state": (messages.STATE_TYPE, qos.LATCHED),
            "/endoscope/left/camera_info": (CameraInfo, qos.STATE)}
        self.publishers = {name: self.node.create_publisher(kind, name, profile)
                           for name, (kind, profile) in self.topics.items()}
        self.camera = self.node.create_publisher(Image, "/endoscope/left/image_raw", qos.IMAGE)

    def matched(self) -> bool:
        """Whether the recorder hears everything."""
        return all(publisher.get_subscription_count() for publisher in (*self.publishers.values(), self.camera))

    def wait(self, reached: Callable[[], Any], seconds: float = 30.0) -> bool:
        """Whether `reached` came true in time."""
        end = time.monotonic() + seconds
        while not reached() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)
        return bool(reached())

    def send(self, count: int = SENT, period: float = 1 / 30) -> None:
        """Publish `count` messages of each topic, and pictures."""
        for number in range(count):
            for name, (kind, _) in self.topics.items():
                self.publishers[name].publish(example(kind, number))
            self.camera.publish(picture(number))
            self._executor.spin_once(timeout_sec=0)
            time.sleep(period)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


def example(kind: Any, number: int) -> Any:
    """A message that tells its number."""
    if kind in (String,):
        return String(data=f"hold: reason {number} é")
    if kind is Bool:
        return Bool(data=bool(number % 2))
    if kind is DiagnosticArray:
        return DiagnosticArray(status=[DiagnosticStatus(
            level=DiagnosticStatus.WARN, name="gate_node", values=[KeyValue(key="n", value=str(number))])])
    if kind is PoseStamped:
        return messages.make_pose(messages.Pose(np.array([number, 0.1, 0.2]), np.array([0.0, 0.0, 0.0, 1.0])), "ECM",
                                  messages.to_stamp(number + 1))
    if kind is JointState:
        return JointState(name=["v_x", "v_y"], position=[0.1 * number, 0.2], effort=[-1.0, float("nan")])
    if kind is CameraInfo:
        return messages.make_camera_info(np.diag([100.0, 100.0, 1.0 + number]), 120, 160, "endoscope_left")
    return kind() if kind is Empty else messages.make_state("ENABLED", messages.to_stamp(number + 1))


def picture(number: int, period: int = 33_333_333) -> Image:
    """A picture with smooth colours, brighter each time; its stamp counts up by `period` ns."""
    message, pixels = messages.make_image(120, 160, "endoscope_left")
    pixels[...] = np.linspace(0, 100, 160).astype(np.uint8)[None, :, None] + np.uint8([number % 100, 60, 120])
    message.header.stamp = messages.to_stamp(10**18 + number * period)
    return message


@pytest.fixture(scope="module")
def sender(domain: int) -> Iterator[Sender]:
    """A robot, camera and operator in a domain of their own."""
    sender = Sender(domain + 2)
    yield sender
    sender.close()


class Recording:
    """A record_node that records the sender."""

    def __init__(self, sender: Sender, domain: int, folder: Path, **parameters: Any) -> None:
        sender.statuses.clear()
        self.parent = folder / "recordings"
        self.node = NodeProcess("record_node", [CONFIG / "record.yaml"], {
            "folder": str(self.parent), "min_free": 1.0, **parameters}, folder, domain=domain + 2)
        assert sender.wait(sender.matched) and sender.wait(lambda: sender.statuses), self.node.last_words()
        sender.wait(lambda: False, 1.0)     # the sender knows the recorder; the recorder may not know it yet

    @property
    def folder(self) -> Path:
        """The one recording."""
        return next(self.parent.iterdir())

    def stop(self) -> Path:
        """End it as Ctrl-C does; the recording."""
        self.node.process.send_signal(signal.SIGINT)
        assert self.node.process.wait(30) == 0, self.node.last_words()
        return self.folder


@pytest.fixture
def record(sender: Sender, domain: int, tmp_path: Path) -> Iterator[Callable[..., Recording]]:
    """Start a recording; it is stopped with the test."""
    running: list[Recording] = []

    def start(**parameters: Any) -> Recording:
        running.append(Recording(sender, domain, tmp_path, **parameters))
        return running[-1]
    yield start
    for recording in running:
        recording.node.stop()
    assert sender.wait(lambda: not sender.matched())


def read(folder: Path) -> dict[str, list[bytes]]:
    """Topic -> its messages, as a reader that knows no ROS finds them; it also checks each type's hash."""
    found: dict[str, list[bytes]] = {}
    with rosbags.AnyReader([folder]) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            again = reader.typestore.serialize_cdr(message, connection.msgtype)
            assert repr(reader.deserialize(bytes(again), connection.msgtype)) == repr(message)
            found.setdefault(connection.topic, []).append(bytes(data))
    return found


def metadata(folder: Path) -> dict[str, Any]:
    """What `ros2 bag info` reads."""
    return yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]


def test_every_message_is_recorded_as_it_was_sent(sender, record):
    recording = record()
    sender.send()
    found = read(recording.stop())
    pictures = found.pop("/endoscope/left/image_raw/compressed")
    assert SENT - 3 <= len(pictures) <= SENT        # best effort: a busy machine may miss one
    assert set(found) == set(sender.topics)
    for name, (kind, _) in sender.topics.items():
        for data, number in zip(found[name], range(SENT), strict=True):
            assert repr(deserialize_message(data, kind)) == repr(example(kind, number)), name      # nan is not nan


def test_pictures_are_jpeg_of_the_frame_with_its_header(sender, record):
    recording = record(jpeg_quality=95)
    sender.send()
    folder = recording.stop()
    for data in read(folder)["/endoscope/left/image_raw/compressed"]:
        message = deserialize_message(data, CompressedImage)
        number = round((messages.to_ns(message.header.stamp) - 10**18) / 33_333_333)
        assert message.format == "jpeg" and message.header == picture(number).header
        rgb = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(rgb.astype(int) - messages.read_image(picture(number))).max() <= 12


def test_metadata_tells_what_is_in_the_folder(sender, record):
    recording = record()
    began = time.time_ns()
    sender.send()
    folder = recording.stop()
    told, found = metadata(folder), read(folder)
    assert told["version"] == 9 and told["storage_identifier"] == "mcap"
    assert told["relative_file_paths"] == [path.name for path in sorted(folder.glob("*.mcap"))]
    assert told["message_count"] == sum(map(len, found.values())) == told["files"][0]["message_count"]
    assert abs(told["starting_time"]["nanoseconds_since_epoch"] - began) < 60e9
    assert 0.3e9 < told["duration"]["nanoseconds"] < 30e9
    topics = {topic["topic_metadata"]["name"]: topic for topic in told["topics_with_message_count"]}
    assert {name: topic["message_count"] for name, topic in topics.items()} == {
        name: len(data) for name, data in found.items()} and set(sender.topics) < set(topics)
    servo = topics["/PSM1/servo_cp"]["topic_metadata"]
    assert servo["type"] == "geometry_msgs/msg/PoseStamped" and servo["serialization_format"] == "cdr"
    assert servo["type_description_hash"].startswith("RIHS01_")
    assert [offer["reliability"] for offer in servo["offered_qos_profiles"]] == ["reliable"]
    latched = topics["/operator/estop"]["topic_metadata"]["offered_qos_profiles"]
    assert [offer["durability"] for offer in latched] == ["transient_local"]


def test_what_was_written_before_a_kill_can_be_read_and_what_is_missing_is_told(sender, record, capsys):
    recording = record()
    sender.send(60)
    time.sleep(1.5)     # a flush, and time for a busy machine to do it
    sender.send(1)
    recording.node.process.kill()
    recording.node.process.wait()
    assert metadata(recording.folder)["storage_identifier"] == "mcap"
    with BagReader(recording.folder) as bag:
        assert 55 <= len(list(bag.pictures())) <= 61
    assert "was cut off" in capsys.readouterr().err


def test_fewer_pictures_are_kept_when_told_so(sender, record):
    recording = record(camera_rate=10.0)
    sender.send(60)
    stamps = [messages.to_ns(deserialize_message(data, CompressedImage).header.stamp)
              for data in read(recording.stop())["/endoscope/left/image_raw/compressed"]]
    assert 17 <= len(stamps) <= 21
    assert np.median(np.diff(stamps)) == pytest.approx(1e8, rel=0.02)


def test_a_long_recording_is_split_into_files_that_belong_together(sender, record):
    recording = record(split_minutes=0.02)
    sender.send(60)
    folder = recording.stop()
    told = metadata(folder)
    assert len(told["files"]) >= 2 and sum(file["message_count"] for file in told["files"]) == told["message_count"]
    poses = [deserialize_message(data, PoseStamped) for data in read(folder)["/PSM1/servo_cp"]]
    assert [pose.pose.position.x for pose in poses] == list(range(60))


def test_a_disk_with_too_little_room_ends_the_recording_whole(sender, record):
    recording = record(min_free=1e6)
    assert sender.wait(lambda: any(status.startswith("stopped: ") for status in sender.statuses))
    assert recording.node.process.wait(30) == 1
    assert "MB are free on the disk" in recording.node.log.read_text()
    assert metadata(recording.folder)["message_count"] == sum(map(len, read(recording.folder).values()))


def test_a_full_disk_is_told_and_leaves_what_was_written(sender, domain, tmp_path):
    limit = 200_000
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ros_nodes.record_node", "--ros-args", "-p", f"folder:={tmp_path / 'bags'}"],
            cwd=Path(__file__).parents[2], stderr=log, env={**os.environ, "ROS_DOMAIN_ID": str(domain + 2)},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    try:
        assert sender.wait(sender.matched)
        while process.poll() is None:
            sender.send(5)
    finally:
        process.kill()
    assert process.wait() == 1 and "cannot be written (File too large)" in (tmp_path / "log").read_text()
    with BagReader(next((tmp_path / "bags").iterdir())) as bag:
        assert len(list(bag.pictures())) >= 3      # of the 5 that were sent again and again


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(domain, tmp_path):
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "ros_nodes.record_node", "--ros-args", "-p", "folder:=~/file"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain + 2), "HOME": str(tmp_path)})
    assert done.returncode == 1 and "error: " in done.stderr and "set parameter folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_types_text_is_that_of_its_msg_file(kind):
    store, name = get_typestore(Stores.ROS2_JAZZY), definitions.type_name(kind)
    told = get_typestore(Stores.EMPTY)
    told.register(get_types_from_msg(definitions.definition(kind), name))
    assert told.hash_rihs01(name) == store.hash_rihs01(name)


@pytest.mark.parametrize(("idl", "word"), [
    ("boolean", "bool"), ("octet[4]", "byte[4]"), ("sequence<double>", "float64[]"), ("string<9>", "string<=9"),
    ("sequence<float, 3>", "float32[<=3]"), ("sequence<string<5>, 2>", "string<=5[<=2]"),
    ("geometry_msgs/Pose", "geometry_msgs/Pose")])
def test_words_of_idl_are_told_as_msg_files_have_them(idl, word):
    assert definitions._word(idl) == word
