"""Work on a recording in segments, so that a killed run goes on where it stood: each is whole on disk or not there.

A segment's files are complete before `state.npz` counts it; whatever a killed run left beyond that count is written
anew. At the end the segments' tables and videos are joined, the videos without encoding them again.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from .files import atomic_file
from .policy.errors import UserError
from .policy.spec import Array

FORMAT = 1
PARTS, STATE, LOCK = ".parts", "state.npz", "lock"


class Segments:
    """The segments in one folder."""

    def __init__(self, folder: Path, key: Mapping[str, Any]):
        """key: of the work, plain data; what was begun under another one is thrown away.

        UserError while another process works in the same folder.
        """
        self.folder, self._key = folder / PARTS, json.dumps([FORMAT, key], sort_keys=True)
        self.count = 0                          # segments that are done
        self.memory: dict[str, Any] = {}        # as `commit` was given it for the last of them
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)      # given back when the process ends, however
        except OSError as error:
            self._lock.close()
            raise UserError(f"{folder}: another replay is writing there; wait for it, or name another --out") from error
        state = self._read()
        if state is None:
            for path in self.folder.iterdir():
                if path.name != LOCK:
                    path.unlink()
        else:
            self.count, self.memory = state["count"], state["memory"]

    def __enter__(self) -> "Segments":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Others may work in the folder."""
        self._lock.close()

    def path(self, name: str, at: int | None = None) -> Path:
        """A segment's file, by default of the one that is being made."""
        return self.folder / f"{self.count if at is None else at:06d}-{name}"

    def commit(self, memory: Mapping[str, Any], *, one_more: bool = True) -> None:
        """The segment's files are written; this is where its work stands. one_more: False changes the memory only."""
        if one_more:
            for path in self.folder.glob(f"{self.count:06d}-*"):
                with path.open("rb") as written:
                    os.fsync(written.fileno())
        count = self.count + one_more
        with atomic_file(self.folder / STATE) as scratch:
            np.savez(scratch, **pack({"key": self._key, "count": count, "memory": memory}))
        self.count = count

    def paths(self, name: str) -> list[Path]:
        """That file of every segment that is done."""
        return [self.path(name, at) for at in range(self.count)]

    def publish(self, names: Sequence[str]) -> None:
        """Files that were made among the segments take their place in the folder around, the last name last."""
        for name in names:
            path = self.folder / name
            with path.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(path, self.folder.parent / name)

    def remove(self) -> None:
        """Away with them, and with the folder around them where nothing else is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / STATE
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            state = unpack({name: arrays[name] for name in arrays.files})
        return state if state.get("key") == self._key else None


def pack(memory: Mapping[str, Any], prefix: str = "") -> dict[str, Array]:
    """Nested dicts of arrays and plain data -> arrays by their path, plain data as JSON."""
    flat: dict[str, Array] = {}
    for name, value in memory.items():
        if isinstance(value, Mapping) and value:
            flat |= pack(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = value if isinstance(value, np.ndarray) else np.array(json.dumps(value))
    return flat


def unpack(flat: Mapping[str, Array]) -> dict[str, Any]:
    """The way back from `pack`."""
    memory: dict[str, Any] = {}
    for path, value in flat.items():
        *folders, name = path.split("/")
        place = memory
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = json.loads(str(value)) if value.dtype.kind == "U" else value
    return memory


def join_tables(parts: Sequence[Path], header: bytes, path: Path) -> None:
    """One table of those of all segments, which have no header."""
    with path.open("wb") as whole:
        whole.write(header)
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)


def join_videos(parts: Sequence[Path], path: Path) -> None:
    """One mp4 of those of all segments, packet by packet."""
    # Absolute, for FFmpeg takes what stands before a colon for a protocol.
    with av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as whole:
        stream, end = None, 0
        for part in parts:
            with av.open(str(part.absolute())) as file:
                source = file.streams.video[0]
                if stream is None:
                    stream = whole.add_stream_from_template(source)
                    stream.time_base = source.time_base
                begin = end
                for packet in file.demux(source):
                    if packet.dts is None or packet.pts is None:        # PyAV's last packet, which is empty
                        continue
                    packet.pts, packet.dts = packet.pts + begin, packet.dts + begin
                    packet.stream, end = stream, max(end, packet.pts + packet.duration)
                    whole.mux(packet)
