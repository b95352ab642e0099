"""`surgrl replay` on recordings of ROS, written without ROS; what record_node writes is tested in tests/ros."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

rosbag2 = pytest.importorskip("rosbags.rosbag2")
pytest.importorskip("mcap")

from rosbags.typesys import Stores, get_typestore  # noqa: E402

from surgrl import bag_writer  # noqa: E402
from surgrl.bags import BagReader  # noqa: E402
from surgrl.cli import main  # noqa: E402
from surgrl.video import VideoReader  # noqa: E402

STORE = get_typestore(Stores.ROS2_JAZZY)
MCAP, SQLITE3 = rosbag2.StoragePlugin.MCAP, rosbag2.StoragePlugin.SQLITE3
BEGAN = 10**18      # ns, stamp of the first picture
TOPIC = "/endoscope/left/image_raw"


def frames(count: int = 30) -> list[np.ndarray]:
    """`count` pictures (120, 160, 3) uint8: a bright spot that wanders over a gradient."""
    rows, columns = np.mgrid[:120, :160]
    ground = np.stack([rows + 60, columns // 2 + 80, 0 * rows + 90], axis=2)
    spots = (np.exp(-((rows - 60) ** 2 + (columns - 20 - 4 * number) ** 2) / 400) for number in range(count))
    return [np.clip(ground + 80 * spot[..., None], 0, 255).astype(np.uint8) for spot in spots]


def message(frame: np.ndarray, stamp: int, encoding: str, padding: int = 0) -> Any:
    """A frame as CompressedImage (encoding jpeg, png) or Image, whose rows end with bytes of padding."""
    kinds = STORE.types
    time = kinds["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    header = kinds["std_msgs/msg/Header"](stamp=time, frame_id="endoscope_left")
    if encoding in ("jpeg", "png"):
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if encoding == "jpeg" else []
        _, data = cv2.imencode(f".{encoding}", frame[..., ::-1], quality)
        return kinds["sensor_msgs/msg/CompressedImage"](header=header, format=encoding, data=data.ravel())
    pixels = {"rgb8": frame, "bgr8": frame[..., ::-1], "mono8": frame[..., :1],
              "rgba8": np.dstack([frame, frame[..., :1]])}.get(encoding, frame)
    rows = np.pad(pixels.reshape(len(frame), -1), ((0, 0), (0, padding)))
    return kinds["sensor_msgs/msg/Image"](header=header, height=len(frame), width=frame.shape[1], encoding=encoding,
                                          is_bigendian=0, step=rows.shape[1], data=rows.ravel())


def write(folder: Path, pictures: list[np.ndarray], *, plugin: Any = MCAP, encoding: str = "jpeg", topic: str = TOPIC,
          stamps: list[int] | None = None, padding: int = 0, more: str = "") -> Path:
    """A bag of pictures at 30 Hz; more: a second topic with the first of them."""
    stamps = stamps or [BEGAN + round(number * 1e9 / 30) for number in range(len(pictures))]
    with rosbag2.Writer(folder, version=9, storage_plugin=plugin) as bag:
        for name, part in ((topic, pictures), *([(more, pictures[:1])] if more else [])):
            connection = None
            for number, (frame, stamp) in enumerate(zip(part, stamps, strict=False)):
                told = message(frame, stamp, encoding, padding)
                connection = connection or bag.add_connection(name, told.__msgtype__, typestore=STORE)
                received = BEGAN + 5_000_000 + number * 33_333_333
                bag.write(connection, received, STORE.serialize_cdr(told, told.__msgtype__))
    return folder


@pytest.fixture
def replay(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """Run the command: exit code, rows of actions.csv, and what it wrote to stderr."""
    def call(source: Path, *options: str, policy: Path | str = bundle) -> tuple[int, list[dict[str, str]], str]:
        out = tmp_path / f"out-{source.name}"
        code = main(["replay", str(policy), str(source), "--out", str(out), *options])
        table = out / "actions.csv"
        rows = list(csv.DictReader(table.read_text().splitlines())) if table.is_file() else []
        return code, rows, capsys.readouterr().err
    return call


@pytest.mark.parametrize("plugin", [MCAP, SQLITE3], ids=["mcap", "sqlite3"])
@pytest.mark.parametrize("encoding", ["jpeg", "rgb8"])
def test_a_bag_is_replayed_as_the_video_of_the_same_frames(tmp_path, replay, plugin, encoding):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        stream = file.add_stream("ffv1", rate=30)       # loses nothing
        stream.width, stream.height, stream.pix_fmt = 160, 120, "bgr0"
        for frame in frames():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    bag = write(tmp_path / "bag", frames(), plugin=plugin, encoding=encoding)
    with VideoReader(tmp_path / "a.mkv") as video, BagReader(bag) as pictures:
        pairs = list(zip(video.pictures(), pictures.pictures(), strict=True))
    apart = max(np.abs(one.rgb().astype(int) - two.rgb()).max() for one, two in pairs)
    assert apart <= (6 if encoding == "jpeg" else 0)
    code, expected, _ = replay(tmp_path / "a.mkv", "--no-video", policy="reach")
    assert code == 0 and len({row["v_x [m/s]"] for row in expected}) > 10       # this policy does look at the picture
    code, rows, told = replay(bag, policy="reach")
    assert code == 0 and told == "" and len(rows) == 30
    for one, two in zip(expected, rows, strict=True):
        assert (one["frame"], one["hold"]) == (two["frame"], two["hold"])
        assert float(one["time_s"]) == pytest.approx(float(two["time_s"]), abs=1e-3)
        tolerance = 2e-3 if encoding == "jpeg" else 1e-6        # m/s, of 0.05
        assert float(one["v_x [m/s]"]) == pytest.approx(float(two["v_x [m/s]"]), abs=tolerance)
    with VideoReader(tmp_path / "out-bag" / "replay.mp4") as video:
        assert len(list(video.pictures())) == 30


@pytest.mark.parametrize(("encoding", "planes"), [
    ("png", (0, 1, 2)), ("bgr8", (0, 1, 2)), ("rgba8", (0, 1, 2)), ("mono8", (0, 0, 0))])
def test_every_encoding_is_read_as_the_node_reads_it(tmp_path, encoding, planes):
    frame = frames(1)[0]
    padding = 0 if encoding == "png" else 7
    with BagReader(write(tmp_path / "bag", [frame], encoding=encoding, padding=padding)) as bag:
        picture, = bag.pictures()
    assert (picture.rgb() == frame[..., planes]).all() and (picture.number, picture.time) == (0, 0.0)


def test_pictures_are_taken_at_the_stamps_of_their_headers(tmp_path, replay):
    stamps = [BEGAN + round(time * 1e9) for time in (*np.arange(10) / 30, 0.8, 0.8, 0.7, *(0.8 + np.arange(1, 5) / 30))]
    code, rows, _ = replay(write(tmp_path / "bag", frames(len(stamps)), stamps=stamps), "--no-video")
    held = [row for row in rows if row["hold"] == "1"]
    assert code == 0 and 10 <= len(held) <= 12 and held[0]["reasons"].startswith("image is 133 ms old")
    assert len({row["frame"] for row in rows}) == 15        # the two whose stamps do not rise are left out


@pytest.mark.parametrize(("wrong", "left", "told"), [
    (20.0, 11, "left out 19 of its pictures, as policy_node would"),
    (-20.0, 29, "left out 1 of its pictures, as policy_node would")])
def test_pictures_that_one_wrong_stamp_costs_are_told(tmp_path, wrong, left, told):
    stamps = [BEGAN + round(number * 1e9 / 30) for number in range(30)]
    stamps[10] += round(wrong * 1e9)
    bag = write(tmp_path / "bag", frames(30), stamps=stamps)
    script = "import sys; from surgrl.bags import BagReader; print(len(list(BagReader(sys.argv[1]).pictures())))"
    done = subprocess.run([sys.executable, "-c", script, str(bag)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == left and told in done.stderr and done.stderr.count("\n") == 1


def test_a_wrong_stamp_is_told_of_a_part_too_and_only_where_it_lies_in_it(tmp_path, replay):
    stamps = [BEGAN + round(number * 1e9 / 30) for number in range(60)]
    stamps[10] -= 10**10
    bag = write(tmp_path / "bag", frames(60), stamps=stamps)
    code, rows, told = replay(bag, "--no-video", "--duration", "1")
    assert code == 0 and len(rows) == 30 and told.count("\n") == 1
    assert "left out 1 of its pictures" in told and "up to 9.97 s behind" in told
    assert replay(bag, "--no-video", "--duration", "0.2")[2] == ""


def test_a_gap_of_ten_minutes_is_refused_and_both_parts_can_be_replayed(tmp_path, replay):
    stamps = [BEGAN + round(number * 1e9 / 30) for number in range(40)]
    stamps[30:] = [stamp + 3600 * 10**9 for stamp in stamps[30:]]
    bag = write(tmp_path / "bag", frames(40), stamps=stamps)
    code, _, told = replay(bag, "--no-video")
    assert code == 1 and told.count("\n") == 1 and "picture 30 is 3600 s after" in told
    code, rows, _ = replay(bag, "--no-video", "--duration", told.split("--duration ")[1].strip())
    assert code == 0 and rows[-1]["frame"] == "28"
    code, rows, _ = replay(bag, "--no-video", "--start", told.split("begins at ")[1].split()[0])
    assert code == 0 and [row["frame"] for row in rows] == [str(number) for number in range(30, 40)]


def test_start_and_duration_pick_a_part(tmp_path, replay):
    bag = write(tmp_path / "bag", frames(60))
    _, whole, _ = replay(bag, "--no-video")
    _, part, _ = replay(bag, "--no-video", "--start", "0.5", "--duration", "0.5")
    assert [row["frame"] for row in part] == [str(number) for number in range(15, 30)]
    assert [row["time_s"] for row in part] == [row["time_s"] for row in whole[15:30]]


def test_one_of_several_cameras_is_named(tmp_path, replay):
    bag = write(tmp_path / "bag", frames(), more="/endoscope/right/image_raw")
    code, _, told = replay(bag)
    assert code == 1 and "/endoscope/left/image_raw, /endoscope/right/image_raw: name one as the topic" in told
    assert len(replay(bag, "--no-video", "--topic", TOPIC)[1]) == 30
    code, _, told = replay(bag, "--topic", "/other")
    assert code == 1 and "holds no pictures on /other" in told


def test_a_bare_mcap_is_read_too(tmp_path, replay):
    bag = write(tmp_path / "bag", frames())
    assert len(replay(next(bag.glob("*.mcap")), "--no-video")[1]) == 30


def record(folder: Path, pictures: list[np.ndarray]) -> Path:
    """A bag as record_node writes it, one chunk for each 30 pictures."""
    text, hash_rihs01 = STORE.generate_msgdef("sensor_msgs/msg/CompressedImage", ros_version=2)[0], STORE.hash_rihs01
    topic = bag_writer.Topic(TOPIC, "sensor_msgs/msg/CompressedImage", text,
                             hash_rihs01("sensor_msgs/msg/CompressedImage"), [])
    bag = bag_writer.BagWriter(folder, distro="kilted")
    for number, frame in enumerate(pictures):
        stamp = BEGAN + round(number * 1e9 / 30)
        told = message(frame, stamp, "jpeg")
        bag.write(topic, bytes(STORE.serialize_cdr(told, told.__msgtype__)), received=stamp, sent=stamp)
        if number % 30 == 29:
            bag.flush()
    bag.close()
    return folder


def test_damage_in_a_recording_is_told_and_the_part_before_can_be_replayed(tmp_path, replay):
    file, = record(tmp_path / "bag", frames(120)).glob("*.mcap")
    assert len(replay(tmp_path / "bag", "--no-video")[1]) == 120
    data = bytearray(file.read_bytes())
    data[int(len(data) * 0.6)] ^= 1
    file.write_bytes(data)
    code, _, told = replay(tmp_path / "bag", "--no-video")
    assert code == 1 and "damaged after its picture 59" in told and told.count("\n") == 1
    duration = told.split("--duration ")[1].strip()
    code, rows, _ = replay(tmp_path / "bag", "--no-video", "--duration", duration)
    assert code == 0 and len(rows) == 58


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_bag_that_was_cut_off_is_replayed_up_to_there_and_told(tmp_path, replay, part):
    rng = np.random.default_rng(0)      # noise makes pictures large, and chunks of the file many
    noisy = [frame + rng.integers(0, 60, frame.shape, dtype=np.uint8) for frame in frames(300)]
    file, = write(tmp_path / "bag", noisy).glob("*.mcap")
    whole = file.read_bytes()
    file.write_bytes(whole[:int(len(whole) * part)])
    code, rows, told = replay(tmp_path / "bag", "--no-video")
    assert code == 0 and "was cut off" in told and "what came after them is missing" in told
    chunk = 300 * 1.1 * 2**20 / len(whole)      # pictures: what is written at once, and lost at once
    assert part * 300 - chunk - 5 < len(rows) <= part * 300
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert len(replay(tmp_path / "bag", "--no-video")[1]) == len(rows)


def test_a_bag_that_lacks_a_part_of_its_summary_only_is_read_whole_wherever_it_was_cut(tmp_path):
    file, = record(tmp_path / "bag", frames(60)).glob("*.mcap")
    whole = file.read_bytes()
    for cut in range(8, 400, 41):
        (tmp_path / "cut.mcap").write_bytes(whole[:-cut])
        with BagReader(tmp_path / "cut.mcap") as bag:
            assert bag._count == 60


def test_a_damaged_picture_is_told_with_its_number(tmp_path, replay):
    folder, broken = tmp_path / "bag", message(frames(1)[0], BEGAN + 10**9, "jpeg")
    broken.data = broken.data[:20]
    with rosbag2.Writer(folder, version=9, storage_plugin=MCAP) as bag:
        connection = bag.add_connection(TOPIC, broken.__msgtype__, typestore=STORE)
        for stamp, told in ((BEGAN, message(frames(1)[0], BEGAN, "jpeg")), (BEGAN + 10**9, broken)):
            bag.write(connection, stamp, STORE.serialize_cdr(told, told.__msgtype__))
    code, _, told = replay(folder)
    assert code == 1 and "picture 1 ('jpeg') is damaged" in told and told.count("\n") == 1


def test_what_is_no_bag_is_told_in_one_line(tmp_path, replay, make_video):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.mcap").write_bytes(b"garbage" * 100)
    for name in ("empty", "a.mcap"):
        code, _, told = replay(tmp_path / name)
        assert code == 1 and told.count("surgrl: error: ") == 1 and "Traceback" not in told
    code, _, told = replay(write(tmp_path / "other", frames(3), encoding="yuv7"))
    assert code == 1 and "'yuv7'" in told
    code, _, told = replay(make_video(tmp_path / "a.mp4"), "--topic", TOPIC)
    assert code == 1 and "is for bags and datasets, leave it away" in told
