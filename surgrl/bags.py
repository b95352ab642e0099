"""Pictures out of a recording made with ROS: rosbag2 folders (MCAP, sqlite3), bare .mcap, .db3 and ROS 1's .bag."""

import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import CRCValidationError, StreamReader
from mcap.writer import CompressionType, Writer
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from .bag_tracks import read_tracks
from .decoded import BT601, GLIMPSES, LONGEST, TIMESTAMP, Picture
from .policy.errors import UserError
from .policy.spec import Array

KINDS = {"sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image"}
ENCODINGS = {"rgb8": (3, "rgb24"), "bgr8": (3, "bgr24"), "rgba8": (4, "rgba"), "bgra8": (4, "bgra"),
             "mono8": (1, "gray")}       # encoding -> bytes per px, FFmpeg's name
ALONE = 10**9 // 30     # ns that the picture of a bag with no other is shown
DEMO_PART = "demo.npz"  # beside the files of a demonstration's bag
END = b"\x89MCAP0\r\n"


class BagReader:
    """The pictures of one topic, by the stamps in their headers. Reads as VideoReader does."""

    colour, task = BT601, ""

    def __init__(self, path: str | Path, topic: str | None = None):
        """topic: needed when there are several of pictures. UserError when there is none, or the bag is damaged."""
        self.path, self._stack = Path(path), ExitStack()
        if not self.path.exists():
            raise UserError(f"{path}: no such recording")
        try:
            self._reader = self._stack.enter_context(AnyReader(
                self._whole_files(), default_typestore=get_typestore(Stores.ROS2_JAZZY)))
            self._connections = self._choose(topic)
            self.duration: float | None = self._reader.duration * 1e-9      # s, of all that was recorded
            first = next(self._messages(), None)
            if first is None:
                raise UserError(f"{self.path}: holds no picture on {self._connections[0].topic}")
            self._began, frame = first[0], self._decode(0, first[1])
            rest = self.path / DEMO_PART
            self.demo = rest if rest.is_file() else None
            self.state, self.action = read_tracks(self._reader, self._began)
        except UserError:
            self._stack.close()
            raise
        except Exception as error:      # whatever damage makes mcap, rosbags, sqlite3, yaml and struct raise
            self._stack.close()
            raise UserError(f"{path}: cannot be read as a recording of ROS: {error or type(error).__name__}; copy it "
                            "anew, or mend it: `ros2 bag reindex`") from error
        self.width, self.height = frame.width, frame.height
        self._count = sum(connection.msgcount for connection in self._connections)
        self.rate = self._usual_rate()
        self.tags = {"recorded at (ns since 1970)": str(self._began)}

    def __enter__(self) -> "BagReader":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the files."""
        self._stack.close()

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        """Every picture in order of its stamp, from the one shown at `start` (s since the first) on.

        Tells, when it is closed, how many messages were left out for their stamps.
        """
        span, late = ALONE, list[float]()
        try:
            for number, (this, after) in enumerate(pairwise(chain(self._messages(late), [None]))):
                assert this is not None
                gap = after[0] - this[0] if after else 0
                whole = after is not None and gap < LONGEST * 1e9
                span = gap if whole else span       # the last is shown for as long as the one before it
                until = (this[0] + span - self._began) * 1e-9
                if until > start + TIMESTAMP or (not whole and until > start):
                    yield self._picture(number, this, until)
                if after and not whole and (begins := (after[0] - self._began) * 1e-9) > start:
                    raise UserError(f"{self.path}: the stamp of picture {number + 1} is {gap * 1e-9:.0f} s after that "
                                    f"of the one before it, and {LONGEST:g} s count as damage; what comes after "
                                    f"begins at {begins:.2f} s")
        finally:
            if late:
                print(f"{self.path}: left out {len(late)} of its pictures, as policy_node would: their stamps are not "
                      f"later than those before them, but up to {max(late):.2f} s behind", file=sys.stderr)

    def _usual_rate(self) -> float:
        """Hz of the first pictures; a whole number where they are about that, since stamps come late and early."""
        stamps = [stamp for stamp, _ in islice(self._messages(), GLIMPSES)]
        if len(stamps) < 2:
            return 0.0
        rate = 1e9 / float(np.median(np.diff(stamps)))
        return float(round(rate)) if abs(rate - round(rate)) < 0.02 * rate else rate

    def glimpses(self) -> list[Array]:
        """Some pictures from all over the recording, (H, W, 3) uint8 each."""
        every = max(1, self._count // GLIMPSES)
        return [self._decode(number, message).to_ndarray(format="rgb24")
                for number, (_, message) in enumerate(self._messages()) if number % every == 0]

    def _picture(self, number: int, message: tuple[int, Any], until: float) -> Picture:
        frame = self._decode(number, message[1])
        if (frame.width, frame.height) != (self.width, self.height):
            raise UserError(f"{self.path}: picture {number} is {frame.width}x{frame.height} px, the first "
                            f"{self.width}x{self.height}; a recording has one size")
        return Picture(number, (message[0] - self._began) * 1e-9, until, frame)

    def _messages(self, late: list[float] | None = None) -> Iterator[tuple[int, Any]]:
        """Stamp in ns, and message; those whose stamp does not rise are left out, as the node drops them.

        late: takes the s that each of those is behind.
        """
        newest, read = None, 0
        try:
            for connection, received, data in self._reader.messages(self._connections):
                read += 1
                message: Any = self._reader.deserialize(data, connection.msgtype)
                stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec or received
                if newest is None or stamp > newest:
                    newest = stamp
                    yield stamp, message
                elif late is not None:
                    late.append((newest - stamp) * 1e-9)
        except Exception as error:      # as above
            raise UserError(f"{self.path}: damaged after its picture {read - 1} ({error}); copy it anew") from error

    def _decode(self, number: int, message: Any) -> av.VideoFrame:
        pixels = _uncompressed(message) if hasattr(message, "format") else _raw(message)
        if pixels is None:
            told = message.format if hasattr(message, "format") else message.encoding
            raise UserError(f"{self.path}: picture {number} ({told!r}) is damaged, or of a kind that is not read; "
                            f"read are JPEG, PNG and {', '.join(ENCODINGS)}")
        return av.VideoFrame.from_ndarray(*pixels)

    def _choose(self, topic: str | None) -> list[Connection]:
        found = [connection for connection in self._reader.connections if connection.msgtype in KINDS]
        names = sorted({connection.topic for connection in found})
        if topic is None and len(names) > 1:
            raise UserError(f"{self.path}: holds pictures on {', '.join(names)}: name one as the topic")
        chosen = [connection for connection in found if topic in (None, connection.topic)]
        if not chosen:
            raise UserError(f"{self.path}: holds no pictures on {topic or 'any topic'}; "
                            f"it has them on: {', '.join(names) or 'none'}")
        return chosen

    def _whole_files(self) -> list[Path]:
        """What to read: the recording itself, or its files, once what a crash cut off is mended in a copy."""
        files = sorted(self.path.glob("*.mcap")) if self.path.is_dir() else [self.path]
        torn = [file for file in files if file.suffix.lower() == ".mcap" and not _has_end(file)]
        loud = [file for file in files if file.suffix != file.suffix.lower()]       # rosbags reads no X.MCAP
        if not torn and not loud and not (files and self.path.is_dir() and not (self.path / "metadata.yaml").is_file()):
            return [self.path]
        scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="surgrl-bag-")))
        copies = {file: scratch / f"{file.stem}{file.suffix.lower()}" for file in (*torn, *loud)}
        for file in copies:
            if file not in torn:
                copies[file].symlink_to(file.absolute())
                continue
            count, seconds = _mend(file, copies[file])
            if not count:
                raise UserError(f"{file}: not an MCAP file, or cut off before its first messages; copy it anew")
            print(f"{file}: was cut off: the process or the disk failed while it was written; {count} messages of its "
                  f"first {seconds:.1f} s are there and are used, what came after them is missing", file=sys.stderr)
        return [copies.get(file, file) for file in files]


def _uncompressed(message: Any) -> tuple[Array, str] | None:
    pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    return None if pixels is None else (pixels, "bgr24")


def _raw(message: Any) -> tuple[Array, str] | None:
    depth, name = ENCODINGS.get(message.encoding, (0, ""))
    height, width, step = message.height, message.width, message.step
    if not depth or not height or not width or step < depth * width or len(message.data) < step * height:
        return None
    pixels = np.ndarray((height, width, depth), np.uint8, np.ascontiguousarray(message.data), strides=(step, depth, 1))
    return np.ascontiguousarray(pixels if depth > 1 else pixels[..., 0]), name


def _has_end(path: Path) -> bool:
    with path.open("rb") as file:
        return file.seek(0, 2) >= 2 * len(END) and file.seek(-len(END), 2) >= 0 and file.read() == END


def _mend(path: Path, out: Path) -> tuple[int, float]:
    """Copy all that is whole in an .mcap that was cut off; the number of messages, and the s that they span."""
    schemas, channels, times = dict[int, int](), dict[int, int](), list[int]()
    with path.open("rb") as torn, out.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        try:
            for record in StreamReader(torn, validate_crcs=True).records:
                if isinstance(record, Schema) and record.id not in schemas:
                    schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
                elif isinstance(record, Channel) and record.id not in channels:
                    channels[record.id] = writer.register_channel(
                        record.topic, record.message_encoding, schemas.get(record.schema_id, 0), record.metadata)
                elif isinstance(record, Message):
                    writer.add_message(channels[record.channel_id], record.log_time, record.data,
                                       record.publish_time, record.sequence)
                    times.append(record.log_time)
        except (McapError, CRCValidationError, EOFError, ValueError, KeyError, struct.error):
            pass        # the place where it was cut
        writer.finish()
    return len(times), (max(times) - min(times)) * 1e-9 if times else 0.0
