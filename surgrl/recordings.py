"""Recordings as sources: a video, the pictures of a bag. All read alike, whatever their kind."""

from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .policy.errors import UserError
from .policy.spec import Array
from .video import VideoReader

if TYPE_CHECKING:
    from .bags import BagReader

BAGS = (".mcap", ".db3", ".bag")        # suffixes of ROS's recordings, beside folders
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")


class Track(NamedTuple):
    """What a robot did or was told while it was recorded."""

    names: tuple[str, ...]
    units: tuple[str, ...]      # one for each name; "" where the source does not say
    time: Array                 # (N,) s, ascending, on the clock of the pictures
    values: Array               # (N, len(names)) float


class Source(NamedTuple):
    """One recording."""

    path: Path
    episode: int | None = None      # of a dataset that holds several

    @property
    def name(self) -> str:
        """What to call it, and its results."""
        return self.path.stem if self.episode is None else f"{self.path.stem}-{self.episode:06d}"


def find_recordings(words: Iterable[str | Path]) -> list[Source]:
    """The recordings that files, folders and globs name, in order, each once. UserError where a word names none."""
    found: dict[Source, None] = {}
    for word in words:
        paths = sorted(map(Path, glob(str(word), recursive=True))) if has_magic(str(word)) else [Path(word)]
        sources = [source for path in paths for source in _within(path)]
        if not sources:
            raise UserError(f"{word}: names no recording; give a video ({', '.join(VIDEOS[:5])} ...), a bag, "
                            "a folder of them or a glob")
        found.update(dict.fromkeys(sources))
    return list(found)


def open_recording(path: Path, topic: str | None = None) -> "VideoReader | BagReader":
    """A video, or the pictures of a bag. topic: of a bag, see BagReader."""
    if path.is_dir() or path.suffix in BAGS:
        from .bags import BagReader
        return BagReader(path, topic)
    if topic is not None:
        raise UserError(f"{path} is a video, the topic {topic} is for bags; leave it away")
    return VideoReader(path)


def _within(path: Path) -> list[Source]:
    if not path.is_dir() or (path / "metadata.yaml").is_file():
        return [Source(path)] if path.exists() else []
    return [Source(file) for file in sorted(path.rglob("*")) if file.suffix.lower() in (*VIDEOS, *BAGS)]
