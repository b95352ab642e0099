"""Recordings as sources: videos, folders of pictures, bags, LeRobot datasets, demonstrations. All read alike."""

import os
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

from .decoded import Picture
from .pictures import PictureReader, picture_files
from .policy.errors import UserError
from .policy.spec import Array
from .replay_files import is_result
from .video import VideoReader
from .view import View
from .viewed import Viewed

BAGS = (".mcap", ".db3", ".bag")        # suffixes of ROS's recordings, beside folders
DEMO = ".npz"                           # of `surgrl demos`
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")


class Track(NamedTuple):
    """What a robot did or was told while it was recorded."""

    names: tuple[str, ...]
    units: tuple[str, ...]      # one for each name; "" where the source does not say
    time: Array                 # (N,) s, ascending, on the clock of the pictures
    values: Array               # (N, len(names)) float
    arm: str = ""               # whose poses these are, where it is one: what its topics begin with; "": not told


class Recording(Protocol):
    """What every reader offers. Times are s since the first picture."""

    path: Path
    width: int                  # px
    height: int                 # px
    rate: float                 # Hz of the pictures, mean; 0: not known
    duration: float | None      # s; None: not known
    colour: tuple[int, int]     # FFmpeg's numbers of matrix and range that Picture.yuv is in
    tags: dict[str, str]        # what else the file tells: titles, comments, dates; may name a patient
    state: Track | None         # what the robot measured
    action: Track | None        # what the robot was told
    task: str                   # what it was to do; "": not told
    demo: Path | None           # file of a demonstration's other parts (see demo_reader.py), where it is one

    def __enter__(self) -> "Recording":
        """Itself."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the files."""

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        """Every picture from the one shown at `start` (s) on. Can be read once."""

    def glimpses(self) -> list[Array]:
        """Some pictures from all over the recording, (H, W, 3) uint8 each."""


class Source(NamedTuple):
    """One recording."""

    path: Path
    episode: int | None = None      # of a dataset that holds several

    @property
    def name(self) -> str:
        """What to call it, and its results."""
        # Of "." and "..", too; a link's name is kept, and a folder's dot begins no suffix.
        name = os.path.basename(os.path.abspath(self.path)) if self.path.is_dir() else self.path.stem
        return name if self.episode is None else f"{name}-{self.episode:06d}"


def find_recordings(words: Iterable[str | Path]) -> list[Source]:
    """The recordings that files, folders and globs name, in order, each once, however many names lead to it.

    UserError where a word names none.
    What a replay left is found in no folder and by no glob; only its own name gives it.
    """
    found: dict[tuple[str, int | None], Source] = {}
    for word in words:
        paths = [path for path in sorted(map(Path, glob(str(word), recursive=True))) if not is_result(path)
                 ] if is_glob(word) else [Path(word)]
        sources = [source for path in paths for source in _within(path)]
        if not sources:
            raise UserError(f"{word}: names no recording; give a video ({', '.join(VIDEOS[:5])} ...), a bag, "
                            "a folder of them or a glob")
        for source in sources:
            real = os.path.realpath(source.path)
            before = found.setdefault((real, source.episode), source)
            if os.path.abspath(before.path) != real == os.path.abspath(source.path):        # a link's name is the worse
                found[real, source.episode] = source
    return list(found.values())


def is_glob(word: str | Path) -> bool:
    """Whether a word is a pattern, and not a name that has brackets."""
    return has_magic(str(word)) and not Path(word).exists()


def open_recording(source: Source | str | Path, topic: str | None = None, view: View | None = None) -> Recording:
    """A recording of any kind. topic: the camera, of a bag or dataset with several. view: what of a picture counts."""
    source, view = source if isinstance(source, Source) else Source(Path(source)), view or View()
    recording = _open(source, topic, view)
    if not view.edits:
        return recording
    try:
        return Viewed(recording, view)
    except BaseException:
        recording.__exit__(None, None, None)
        raise


def _open(source: Source, topic: str | None, view: View) -> Recording:
    path = source.path
    if is_dataset(path):
        from .lerobot import LeRobotReader
        if source.episode is None:
            count = len(_within(path))
            if count != 1:
                raise UserError(f"{path}: a dataset of {count} episodes, and no episode is named")
        return LeRobotReader(path, source.episode or 0, topic)
    if path.suffix.lower() in BAGS or is_bag(path) or (path.is_dir() and not picture_files(path)):
        from .bags import BagReader
        return BagReader(path, topic)
    if topic is not None:
        raise UserError(f"{path} shows one camera; the topic {topic} is for bags and datasets, leave it away")
    if path.is_dir():
        return PictureReader(path, view.rate)
    if path.suffix == DEMO:
        from .demo_reader import DemoReader
        return DemoReader(path, view.rate)
    return VideoReader(path, deinterlace=view.deinterlace)


def is_dataset(path: Path) -> bool:
    """Whether a folder is a LeRobot dataset."""
    return (path / "meta/info.json").is_file()


def is_bag(path: Path) -> bool:
    """Whether a folder is a rosbag2, whatever lies beside it, such as a picture for --mask."""
    return (path / "metadata.yaml").is_file()


def _within(path: Path, above: tuple[str, ...] = ()) -> list[Source]:
    """All recordings in a folder, however deep; or the one that a path is. above: folders that it was reached by."""
    if not path.is_dir():
        return [Source(path)] if path.exists() else []
    if is_dataset(path):
        from .lerobot import read_info
        return [Source(path, episode) for episode in range(int(read_info(path)["total_episodes"]))]
    if is_bag(path):
        return [Source(path)]
    real = os.path.realpath(path)
    if real in above:       # a link that leads back
        return []
    inner = sorted(item for item in path.iterdir() if not item.name.startswith(".") and not is_result(item))
    found = [source for item in inner if item.is_dir() or item.suffix.lower() in (*VIDEOS, *BAGS)
             or (item.suffix == DEMO and item.name.startswith("episode-"))
             for source in _within(item, (*above, real))]
    return found + ([Source(path)] if not {*picture_files(path)}.isdisjoint(inner) else [])
