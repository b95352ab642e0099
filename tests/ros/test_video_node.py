"""video_node as an endoscope: the file's pictures, in order, at their time; what it refuses, and where it ends."""

import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool

from ros_nodes import messages, qos
from ros_nodes.transport import CONFIG
from surgrl.node_process import NodeProcess

av = pytest.importorskip("av")
SIZE = 96, 64           # px, width and height of the tests' videos
STEP = 8                # grey levels, from one picture to the next; the coding is off by 2 at most


def encode(path: Path, *, count: int = 24, rate: int = 12, times: list[float] | None = None) -> Path:
    """`count` pictures, number n with 20 + 8n at the left and 220 at the right; times: s, instead of a rate in Hz."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={"crf": "1"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        stream.codec_context.gop_size = 6
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            picture = np.full((SIZE[1], SIZE[0], 3), 220, np.uint8)
            picture[:, :SIZE[0] // 2] = 20 + STEP * number
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round((times[number] if times else number / rate) * 1000), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


class Shot(NamedTuple):
    """One picture as it came."""

    number: int         # as its grey tells
    stamp: float        # s
    pixels: np.ndarray


class Viewer:
    """Watches camera, arm and pedal of one domain."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = node = rclpy.create_node("viewer", context=self._context)
        self.shots: list[Shot] = []
        self.infos: list[CameraInfo] = []
        self.poses: list[PoseStamped] = []
        self.jaws: list[JointState] = []
        self.states: list[str] = []
        self.pedal: list[bool] = []
        node.create_subscription(Image, "/endoscope/left/image_raw", self._on_image, qos.IMAGE)
        node.create_subscription(CameraInfo, "/endoscope/left/camera_info", self.infos.append, qos.STATUS)
        node.create_subscription(PoseStamped, "/PSM1/measured_cp", self.poses.append, qos.STATE)
        node.create_subscription(JointState, "/PSM1/jaw/measured_js", self.jaws.append, qos.STATE)
        node.create_subscription(messages.STATE_TYPE, "/PSM1/operating_state",
                                 lambda message: self.states.append(messages.read_state(message)), qos.LATCHED)
        node.create_subscription(Bool, "/operator/enable", lambda message: self.pedal.append(message.data), qos.STATE)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)

    def wait(self, reached, seconds: float = 20.0) -> bool:
        end = time.monotonic() + seconds
        while not reached() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return bool(reached())

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _on_image(self, message: Image) -> None:
        pixels = messages.read_image(message).copy()
        number = round((float(pixels[:, 0].mean()) - 20) / STEP)
        self.shots.append(Shot(number, messages.to_ns(message.header.stamp) * 1e-9, pixels))


@pytest.fixture
def watch(domain, tmp_path):
    """Starts video_node with parameters; the viewer and the process."""
    started = []

    def start(**parameters):
        viewer = Viewer(domain + 2)
        process = NodeProcess("video_node", [CONFIG / "replay.yaml"], parameters, tmp_path, domain=domain + 2)
        started.extend([process.stop, viewer.close])
        return viewer, process

    yield start
    for stop in started:
        stop()


def ended(viewer: Viewer, process: NodeProcess) -> int | None:
    """Exit code, once it has ended, with all heard that it sent."""
    viewer.wait(lambda: process.process.poll() is not None, 30)
    viewer.wait(lambda: False, 0.2)
    return process.process.returncode


def test_pictures_come_in_order_at_their_time_and_then_it_ends(watch, tmp_path):
    times = [number / 12 for number in range(12)] + [1.9 + number / 12 for number in range(12)]     # a pause of 1 s
    viewer, process = watch(source=str(encode(tmp_path / "a.mp4", times=times)))
    assert ended(viewer, process) == 0, process.last_words()
    numbers = [shot.number for shot in viewer.shots]
    assert numbers == sorted(set(numbers)) and len(numbers) > 12 and numbers[-1] == 23
    for shot in viewer.shots:
        assert shot.pixels.shape == (64, 96, 3)
        assert np.abs(shot.pixels[:, 4:44].astype(int) - (20 + STEP * shot.number)).max() <= 3
        assert np.abs(shot.pixels[:, 52:92].astype(int) - 220).max() <= 3
    first, last = viewer.shots[0], viewer.shots[-1]
    whole = times[last.number] - times[first.number]
    assert whole - 0.15 < last.stamp - first.stamp < whole + 3      # never early; late where the machine is
    before = max(shot.stamp for shot in viewer.shots if shot.number < 12)
    after = min(shot.stamp for shot in viewer.shots if shot.number >= 12)
    assert after - before > 0.7
    assert viewer.states == ["ENABLED", "DISABLED"]
    info = viewer.infos[-1]
    assert (info.width, info.height, info.header.frame_id, info.k[0]) == (96, 64, "endoscope_left", 0.0)


def test_a_factor_on_the_pace_makes_it_quicker(watch, tmp_path):
    viewer, process = watch(source=str(encode(tmp_path / "slow.mp4", rate=2)), rate=10.0)      # 12 s
    assert ended(viewer, process) == 0
    first, last = viewer.shots[0], viewer.shots[-1]
    assert last.stamp - first.stamp < 0.6 * (last.number - first.number) / 2


def test_looping_it_begins_anew(watch, tmp_path):
    viewer, process = watch(source=str(encode(tmp_path / "a.mp4", count=6)), loop=True, rate=2.0)
    assert viewer.wait(lambda: sum(shot.number == 5 for shot in viewer.shots) >= 3)
    numbers = [shot.number for shot in viewer.shots]
    ends = [place for place in range(1, len(numbers)) if numbers[place] < numbers[place - 1]]
    assert len(ends) >= 2 and set(numbers) == set(range(6))
    assert process.process.poll() is None


def test_it_waits_for_a_subscriber_and_need_not(watch, tmp_path):
    viewer, process = watch(source=str(encode(tmp_path / "a.mp4", count=3)), camera="/elsewhere")
    assert viewer.wait(lambda: len(viewer.poses) > 10)
    viewer.wait(lambda: False, 1.0)
    assert process.process.poll() is None and not viewer.shots
    viewer, process = watch(source=str(encode(tmp_path / "b.mp4", count=3)), camera="/elsewhere",
                            await_subscriber=False, arm="")
    assert ended(viewer, process) == 0


def test_a_crop_is_all_that_is_shown(watch, tmp_path):
    viewer, _ = watch(source=str(encode(tmp_path / "a.mp4")), crop="8,40,16,20")
    assert viewer.wait(lambda: viewer.shots and viewer.infos)
    pixels = viewer.shots[0].pixels
    assert pixels.shape == (16, 20, 3)
    assert pixels[:, :6].max() < 210 and pixels[:, 10:].min() > 210       # the edge, at column 48 - 40
    assert (viewer.infos[0].width, viewer.infos[0].height) == (20, 16)


def test_one_eye_of_a_stereo_recording_is_all_that_is_shown(watch, tmp_path):
    viewer, _ = watch(source=str(encode(tmp_path / "a.mp4")), eye="right", crop="0,10,16,20")
    assert viewer.wait(lambda: viewer.shots)
    assert viewer.shots[0].pixels.shape == (16, 20, 3) and viewer.shots[0].pixels.min() > 210


def test_black_borders_are_found(watch, tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=12)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        picture[8:56, 16:80] = 180
        for _ in range(12):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    viewer, _ = watch(source=str(tmp_path / "a.mp4"), crop="auto", loop=True)
    assert viewer.wait(lambda: viewer.shots)
    height, width, _ = viewer.shots[0].pixels.shape
    assert abs(height - 48) <= 4 and abs(width - 64) <= 4 and viewer.shots[0].pixels.mean() > 165


def test_the_arm_stands_still_and_tells_it(watch, tmp_path):
    viewer, _ = watch(source=str(encode(tmp_path / "a.mp4")), position=[0.01, 0.02, 0.09], loop=True)
    assert viewer.wait(lambda: len(viewer.poses) > 100 and len(viewer.jaws) > 100, 10)
    assert {message.header.frame_id for message in viewer.poses} == {"ECM"}
    for message in (viewer.poses[0], viewer.poses[-1]):
        assert np.allclose(messages.read_pose(message).position, [0.01, 0.02, 0.09])
    assert viewer.states == ["ENABLED"] and not viewer.pedal


def test_the_pedal_is_up_before_it_is_down(watch, tmp_path):
    viewer, _ = watch(source=str(encode(tmp_path / "a.mp4")), operator=True, loop=True)
    assert viewer.wait(lambda: True in viewer.pedal)
    assert viewer.pedal.index(True) > 5


def test_where_somebody_commands_the_arm_it_ends(watch, tmp_path):
    viewer, process = watch(source=str(encode(tmp_path / "a.mp4")), operator=True, loop=True)
    viewer.node.create_publisher(PoseStamped, "/PSM1/servo_cp", qos.SERVO)
    assert ended(viewer, process) == 1
    assert "must not be played to a robot" in process.last_words() and True not in viewer.pedal


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
def test_a_bag_is_played_as_a_video_is(watch, tmp_path, plugin):
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS2_JAZZY)
    kinds, name = store.types, "sensor_msgs/msg/Image"
    with rosbag2.Writer(tmp_path / "bag", version=9, storage_plugin=rosbag2.StoragePlugin[plugin]) as bag:
        for topic in ("/endoscope/left/image_raw", "/endoscope/right/image_raw"):
            connection = bag.add_connection(topic, name, typestore=store)
            for number in range(24):
                stamp = 10**18 + number * 10**8
                header = kinds["std_msgs/msg/Header"](frame_id="", stamp=kinds["builtin_interfaces/msg/Time"](
                    sec=stamp // 10**9, nanosec=stamp % 10**9))
                level = 20 + STEP * number if "left" in topic else 255
                bag.write(connection, stamp, store.serialize_cdr(kinds[name](
                    header=header, height=4, width=6, encoding="mono8", is_bigendian=0, step=6,
                    data=np.full(24, level, np.uint8)), name))
    viewer, process = watch(source=str(tmp_path / "bag"))
    assert ended(viewer, process) == 1 and "name one as the topic" in process.last_words()
    viewer, process = watch(source=str(tmp_path / "bag"), topic="/endoscope/left/image_raw")
    assert ended(viewer, process) == 0, process.last_words()
    numbers = [shot.number for shot in viewer.shots]
    assert numbers == sorted(set(numbers)) and len(numbers) > 6 and numbers[-1] == 23
    assert viewer.shots[-1].stamp - viewer.shots[0].stamp > 0.09 * (numbers[-1] - numbers[0])
    assert "Traceback" not in process.log.read_text()


def test_a_damaged_video_is_shown_to_where_it_breaks(watch, tmp_path):
    file = encode(tmp_path / "cut.mkv")
    file.write_bytes(file.read_bytes()[:file.stat().st_size * 2 // 3])
    viewer, process = watch(source=str(file))
    assert ended(viewer, process) == 1
    assert "cut.mkv: damaged or cut off" in process.last_words()
    assert "Traceback" not in process.log.read_text()
    assert len(viewer.shots) > 4 and max(shot.number for shot in viewer.shots) < 20


@pytest.mark.parametrize(("parameters", "word"), [
    ({}, "source is empty"),
    ({"source": "nowhere.mp4"}, "nowhere.mp4: no such video file"),
    ({"source": __file__}, "not a video that can be read"),
    ({"source": "VIDEO", "crop": "0,0,64,97"}, "leaves the 96x64 picture"),
    ({"source": "VIDEO", "topic": "/endoscope/left/image_raw"}, "is for bags"),
    ({"source": "VIDEO", "crop": "left"}, "four whole numbers"),
    ({"source": "VIDEO", "eye": "third"}, "eye third; allowed are left, right"),
    ({"source": "VIDEO", "mask": "nowhere.png"}, "nowhere.png"),
    ({"source": "VIDEO", "operator": "true", "arm": "''"}, "operator is true and arm is empty"),
    ({"source": "VIDEO", "rate": "0.0"}, "rate"),
    ({"source": "VIDEO", "position": "[0.0, 0.1]"}, "three finite numbers"),
])
def test_what_cannot_be_played_is_refused_in_a_line(domain, tmp_path, parameters, word):
    if parameters.get("source") == "VIDEO":
        parameters = {**parameters, "source": str(encode(tmp_path / "a.mp4", count=3))}
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "ros_nodes.video_node", "--ros-args", *arguments], timeout=60,
        capture_output=True, text=True, env={**os.environ, "ROS_DOMAIN_ID": str(domain + 2)})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and word in done.stderr.splitlines()[-1]
