"""A rosbag2 folder in MCAP, as `ros2 bag` and Foxglove open it: metadata.yaml and .mcap files. Imports no rclpy."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mcap.writer import CompressionType, Writer

VERSION = 9             # of metadata.yaml: Jazzy and later; older `ros2 bag` reads the .mcap files themselves


class Topic(NamedTuple):
    """What a bag tells of a topic."""

    name: str
    kind: str               # "sensor_msgs/msg/Image"
    definition: str         # of that type and those it is made of, as .msg text
    hash: str               # RIHS01_..., of the type
    qos: list[dict[str, Any]]         # as its publishers offer it, one entry for each, in rosbag2's words


class _Span:
    """Count and time of messages."""

    def __init__(self) -> None:
        self.count, self.first, self.last = 0, 0, 0

    def add(self, time: int) -> None:
        self.first = time if not self.count else min(self.first, time)
        self.last, self.count = max(self.last, time), self.count + 1

    def told(self) -> dict[str, Any]:
        return {"starting_time": {"nanoseconds_since_epoch": self.first},
                "duration": {"nanoseconds": self.last - self.first}, "message_count": self.count}


class BagWriter:
    """Writes serialised messages as they come. What was flushed can be read even if this process is killed."""

    def __init__(self, folder: Path, *, distro: str):
        """Make the folder, which must not be there, and the first file. distro: "kilted", for metadata.yaml."""
        self.folder, self._distro = folder, distro
        self._topics: dict[str, tuple[Topic, _Span]] = {}
        self._files: list[tuple[str, _Span]] = []
        self._all = _Span()
        folder.mkdir(parents=True)
        self._open()
        self.describe()

    def write(self, topic: Topic, data: bytes, *, received: int, sent: int) -> None:
        """A message as CDR bytes with its encapsulation header; times in ns since 1970."""
        _, span = self._topics.setdefault(topic.name, (topic, _Span()))
        for counted in (span, self._files[-1][1], self._all):
            counted.add(received)
        if topic.name not in self._channels:
            self._channels[topic.name] = self._register(topic)
        self._writer.add_message(self._channels[topic.name], received, data, sent, span.count)

    @property
    def count(self) -> int:
        """Messages written."""
        return self._all.count

    def flush(self) -> int:
        """Hand all that was written to the system; bytes of the file."""
        self._writer.flush()
        return self._file.tell()

    def split(self) -> None:
        """End this file and begin the next."""
        self._end()
        self._open()
        self.describe()

    def close(self) -> None:
        """End the file and write metadata.yaml."""
        self._end()
        self.describe()

    def describe(self) -> None:
        """Write metadata.yaml as things stand; whole at any time."""
        told = {
            "version": VERSION, "storage_identifier": "mcap", **self._all.told(),
            "relative_file_paths": [name for name, _ in self._files],
            "files": [{"path": name, **span.told()} for name, span in self._files],
            "topics_with_message_count": [
                {"topic_metadata": {"name": topic.name, "type": topic.kind, "serialization_format": "cdr",
                                    "offered_qos_profiles": topic.qos, "type_description_hash": topic.hash},
                 "message_count": span.count} for topic, span in self._topics.values()],
            "compression_format": "", "compression_mode": "", "custom_data": None, "ros_distro": self._distro}
        scratch = self.folder / ".metadata.yaml"
        with scratch.open("w") as file:
            yaml.safe_dump({"rosbag2_bagfile_information": told}, file, sort_keys=False)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.folder / "metadata.yaml")

    def _open(self) -> None:
        name = f"{self.folder.name}_{len(self._files)}.mcap"
        self._file = (self.folder / name).open("xb")
        # JPEG does not get smaller, and the rest is little: no work for the robot's machine.
        self._writer = Writer(self._file, compression=CompressionType.NONE)
        self._writer.start(profile="ros2", library="surgrl")
        self._files.append((name, _Span()))
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def _register(self, topic: Topic) -> int:
        if topic.kind not in self._schemas:
            self._schemas[topic.kind] = self._writer.register_schema(topic.kind, "ros2msg", topic.definition.encode())
        return self._writer.register_channel(topic.name, "cdr", self._schemas[topic.kind], {
            "offered_qos_profiles": yaml.safe_dump(topic.qos, sort_keys=False), "topic_type_hash": topic.hash})

    def _end(self) -> None:
        with self._file:
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
