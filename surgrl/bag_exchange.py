"""A recording as a rosbag2 folder in MCAP, on the topics that record_node writes; Foxglove opens it."""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

from .bag_tracks import JOINTS, POLICY_ACTION, POSE, POSE_NAMES, STATE
from .bag_writer import BagWriter, Topic
from .policy.spec import Array
from .recordings import Recording, Track

STORE = get_typestore(Stores.ROS2_JAZZY)
COMPRESSED = "sensor_msgs/msg/CompressedImage"
IMAGE = "/endoscope/left/image_raw/compressed"
CAMERA, ARM = "endoscope_left", "PSM1"        # where a recording names none
QUALITY = 95            # of JPEG


def write_bag(recording: Recording, folder: Path, *, began: int, lossless: bool) -> list[tuple[float, Array]]:
    """All pictures, states and actions at their own times. began: ns since 1970 of the first picture.

    lossless: pictures as png, not JPEG. Returns time (s) and mean colour of every picture.
    """
    bag, seen = BagWriter(folder, distro=""), list[tuple[float, Array]]()
    topics: dict[tuple[str, str], Topic] = {}
    try:
        messages = heapq.merge(_pictures(recording, began, lossless, seen),
                               _motion(recording.state, "measured_cp", "jaw/measured_js", STATE, began),
                               _motion(recording.action, "servo_cp", "jaw/servo_jp", POLICY_ACTION, began),
                               key=lambda item: item[0])
        for stamp, name, message in messages:
            kind = message.__msgtype__
            topic = topics.get((name, kind))
            if topic is None:
                topic = topics[name, kind] = Topic(name, kind, STORE.generate_msgdef(kind, ros_version=2)[0],
                                                   STORE.hash_rihs01(kind), [])
            bag.write(topic, bytes(STORE.serialize_cdr(message, kind)), received=stamp, sent=stamp)
    finally:
        bag.close()
    return seen


def _pictures(recording: Recording, began: int, lossless: bool, seen: list[tuple[float, Array]]
              ) -> Iterator[tuple[int, str, Any]]:
    suffix, options = (".png", []) if lossless else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    for picture in recording.pictures():
        pixels, stamp = picture.rgb(), began + round(picture.time * 1e9)
        seen.append((picture.time, pixels.mean(axis=(0, 1))))
        data = cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]), options)[1].ravel()
        yield stamp, IMAGE, STORE.types[COMPRESSED](header=_header(stamp, CAMERA),
                                                    format="png" if lossless else "jpeg", data=data)


def _motion(track: Track | None, pose: str, jaw: str, other: str, began: int) -> Iterator[tuple[int, str, Any]]:
    """An arm's pose, and jaw beside it, as such; anything else as values by name."""
    if track is None:
        return
    types, arm, place = STORE.types, track.names in (POSE_NAMES, (*POSE_NAMES, "jaw")), f"/{track.arm or ARM}"
    for time, values in zip(track.time, track.values, strict=True):
        stamp = began + round(float(time) * 1e9)
        header = _header(stamp, CAMERA)
        if not arm:
            yield stamp, other, _joints(header, track.names, values)
            continue
        point = types["geometry_msgs/msg/Point"](*map(float, values[:3]))
        turn = types["geometry_msgs/msg/Quaternion"](*map(float, values[3:7]))
        yield stamp, f"{place}/{pose}", types[POSE](header=header, pose=types["geometry_msgs/msg/Pose"](point, turn))
        if len(values) > 7:
            yield stamp, f"{place}/{jaw}", _joints(header, ("jaw",), values[7:])


def _joints(header: Any, names: tuple[str, ...], values: Array) -> Any:
    empty = np.zeros(0)
    return STORE.types[JOINTS](header=header, name=list(names), position=np.array(values, float), velocity=empty,
                               effort=empty)


def _header(stamp: int, frame: str) -> Any:
    time = STORE.types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return STORE.types["std_msgs/msg/Header"](stamp=time, frame_id=frame)
