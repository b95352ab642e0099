"""Recordings that the tests make themselves: videos of given frames, bags of poses, LeRobot's older layout."""

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def frames(count: int = 12, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """`count` pictures (H, W, 3) uint8 of size (width, height): a bright box that wanders over a gradient."""
    rows, columns = np.mgrid[:size[1], :size[0]]
    ground = np.stack([rows + 90, columns // 2 + 50, 0 * rows + 40], axis=2).astype(np.uint8)
    pictures = [ground.copy() for _ in range(count)]
    for number, picture in enumerate(pictures):
        picture[8:24, 4 + 2 * number:16 + 2 * number] = (230, 180, 160)
    return pictures


def video(path: Path, pictures: Iterable[np.ndarray], *, rate: float = 25, codec: str = "libx264", turned: int = 0,
          aspect: Fraction | None = None, tags: dict[str, str] | None = None, pixels: str = "yuv420p",
          matrix: int | None = None, **options: str) -> Path:
    """A video of pictures (H, W, 3) uint8; turned, and aspect, a pixel's width over its height: as players obey."""
    with av.open(str(path), "w") as file:
        file.metadata.update(tags or {})
        stream = file.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(pictures):
            if not number:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pixels
                if matrix is not None:
                    stream.codec_context.colorspace = matrix
                if aspect is not None:
                    stream.codec_context.sample_aspect_ratio = aspect
                if turned:
                    stream.set_display_rotation(turned)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if matrix is not None:
                frame = frame.reformat(format=pixels, dst_colorspace=matrix)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def of_two_sizes(path: Path, codec: str, pixels: str = "yuv420p", count: int = 12) -> Path:
    """A video at 25 Hz whose picture is 64x48 px, and from `count` pictures on 96x64."""
    with av.open(str(path), "w") as file:
        stream, number = file.add_stream(codec, rate=25), 0
        (stream.width, stream.height), stream.pix_fmt = (64, 48), pixels
        for size in ((64, 48), (96, 64)):
            encoder = av.CodecContext.create(codec, "w")
            (encoder.width, encoder.height), encoder.pix_fmt = size, pixels
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            encoder.max_b_frames = 0
            packets = []
            for picture in frames(count, size):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
                frame.pts, frame.time_base, number = number, encoder.time_base, number + 1
                packets += encoder.encode(frame)
            for packet in packets + encoder.encode(None):
                packet.stream = stream
                file.mux(packet)
    return path


def old_dataset(root: Path, episodes: int = 2, count: int = 10) -> Path:
    """A LeRobot dataset of version 2.1: an mp4 and a parquet file for each episode, meta data as lines of json."""
    import pyarrow
    import pyarrow.parquet
    key = "observation.images.laparoscope_left"
    info = {"codebase_version": "v2.1", "robot_type": "dvrk", "total_episodes": episodes, "chunks_size": 1000,
            "fps": 25,
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
            "features": {key: {"dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channel"]},
                         "observation.state": {"dtype": "float32", "shape": [2], "names": {"motors": ["x", "jaw"]}},
                         "action": {"dtype": "float32", "shape": [2], "names": None}}}
    for folder in ("meta", "data/chunk-000", f"videos/chunk-000/{key}"):
        (root / folder).mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/episodes.jsonl").write_text("".join(
        json.dumps({"episode_index": number, "tasks": ["lift the flap"], "length": count}) + "\n"
        for number in range(episodes)))
    for number in range(episodes):
        values = np.arange(2 * count).reshape(count, 2) / 10 + number
        pyarrow.parquet.write_table(pyarrow.table({
            "observation.state": pyarrow.array(values.tolist(), pyarrow.list_(pyarrow.float32(), 2)),
            "action": pyarrow.array((-values).tolist(), pyarrow.list_(pyarrow.float32(), 2)),
            "timestamp": pyarrow.array(np.arange(count) / 25, pyarrow.float32()), "frame_index": np.arange(count),
            "episode_index": np.full(count, number), "index": np.arange(count), "task_index": np.zeros(count, int)}),
            root / f"data/chunk-000/episode_{number:06d}.parquet")
        video(root / f"videos/chunk-000/{key}/episode_{number:06d}.mp4", frames(count), qp="10")
    return root


def bag_of_poses(path: Path, topics: Mapping[str, Iterable[float]]) -> Path:
    """A bag of pictures at 25 Hz, each followed by a pose on every topic, 1 us apart, whose x (m) are given."""
    from surgrl.bag_exchange import STORE, _header
    from surgrl.bag_writer import BagWriter, Topic
    types, bag = STORE.types, BagWriter(path, distro="kilted")

    def put(name, message, stamp):
        kind = message.__msgtype__
        bag.write(Topic(name, kind, STORE.generate_msgdef(kind, ros_version=2)[0], STORE.hash_rihs01(kind), []),
                  bytes(STORE.serialize_cdr(message, kind)), received=stamp, sent=stamp)
    columns = list(zip(*topics.values(), strict=True))
    for number, (picture, places) in enumerate(zip(frames(len(columns)), columns, strict=True)):
        stamp = 10**18 + number * 40_000_000
        data = cv2.imencode(".png", picture)[1].ravel()
        put("/camera/compressed", types["sensor_msgs/msg/CompressedImage"](_header(stamp, ""), "png", data), stamp)
        for late, (name, x) in enumerate(zip(topics, places, strict=True)):
            then = stamp + 1000 * (late + 1)
            place = types["geometry_msgs/msg/Pose"](types["geometry_msgs/msg/Point"](float(x), 0.0, 0.0),
                                                    types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0))
            put(name, types["geometry_msgs/msg/PoseStamped"](_header(then, "base"), place), then)
    bag.close()
    return path
