"""Files of every kind, and what can happen to them on the way from the operating room."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from surgrl.cli import main
from tests.recordings.samples import frames, old_dataset, video

Rng = np.random.Generator


def make_whole(folder: Path, demos: Path) -> list[Path]:
    """One recording of each kind, small and whole."""
    pictures = frames(8)
    for name, codec in (("a.mp4", "libx264"), ("b.mkv", "libx264"), ("c.avi", "mpeg4"), ("d.ts", "mpeg2video"),
                        ("e.mov", "mjpeg"), ("f.webm", "libvpx")):
        video(folder / name, pictures, codec=codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p")
    for suffix in ("png", "jpg"):
        (folder / suffix).mkdir()
        for number, picture in enumerate(pictures[:3]):
            cv2.imwrite(str(folder / suffix / f"{number}.{suffix}"), picture)
    shutil.copy(demos / "episode-000000.npz", folder / "episode-000000.npz")
    kinds = ["mcap"]
    try:
        old_dataset(folder / "old", episodes=1, count=6)
        kinds.append("lerobot")
    except ModuleNotFoundError:     # no pyarrow: datasets are not read
        pass
    for kind in kinds:
        assert main(["convert", str(folder / "episode-000000.npz"), str(folder / kind), "--to", kind]) == 0
    (folder / "mcap/episode-000000/demo.npz").unlink()
    shutil.move(folder / "mcap/episode-000000", folder / "bag")
    (folder / "mcap").rmdir()
    shutil.copy(next((folder / "bag").glob("*.mcap")), folder / "g.mcap")
    _as_sqlite(folder / "bag", folder / "h")
    return sorted(folder.iterdir())


def _as_sqlite(bag: Path, out: Path) -> None:
    from rosbags.highlevel import AnyReader
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS2_JAZZY)
    with AnyReader([bag]) as reader, Writer(out, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        there = {connection.id: writer.add_connection(connection.topic, connection.msgtype, typestore=store)
                 for connection in reader.connections}
        for connection, time, data in reader.messages():
            writer.write(there[connection.id], time, data)


def cut(data: bytes, rng: Rng) -> bytes:
    return data[:rng.integers(1, len(data))]


def flip(data: bytes, rng: Rng) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, len(changed), rng.integers(1, 30))
    changed[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return changed.tobytes()


def flip_head(data: bytes, rng: Rng) -> bytes:
    """Where sizes, counts and rates stand."""
    size = min(len(data), 400)
    return flip(data[:size], rng) + data[size:]


def erase(data: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, len(data)))
    return data[:start] + bytes(len(data[start:start + length])) + data[start + length:]


def empty(data: bytes, rng: Rng) -> bytes:
    return b""


def noise(data: bytes, rng: Rng) -> bytes:
    return rng.bytes(len(data))


DAMAGES: tuple[Callable[[bytes, Rng], bytes], ...] = (cut, flip, flip_head, erase, empty, noise)
ENDINGS = (".mp4", ".mkv", ".avi", ".mcap", ".db3", ".bag", ".npz", ".png", ".ts")


def damage(whole: Path, out: Path, rng: Rng) -> tuple[Path, str]:
    """A damaged copy, and what was done to it: to the file, or to one of those of a folder."""
    copy = out / whole.name
    if whole.is_dir():
        shutil.copytree(whole, copy)
        files = sorted(file for file in copy.rglob("*") if file.is_file())
        file = files[rng.integers(len(files))]
        if rng.integers(10) == 0:
            file.unlink()
            return copy, f"{file.relative_to(out)} removed"
    else:
        shutil.copy(whole, copy)
        file = copy
        if rng.integers(5) == 0:
            ending = ENDINGS[rng.integers(len(ENDINGS))]
            return copy.rename(copy.with_suffix(ending)), f"{copy.name} called {ending}"
    how = DAMAGES[rng.integers(len(DAMAGES))]
    file.write_bytes(how(file.read_bytes(), rng))
    return copy, f"{file.relative_to(out)}: {how.__name__}"
