"""What is replayed, by its kind: a video, or the pictures of a bag. Both read alike."""

from pathlib import Path
from typing import TYPE_CHECKING

from .policy.errors import UserError
from .video import VideoReader

if TYPE_CHECKING:
    from .bags import BagReader

BAGS = (".mcap", ".db3", ".bag")        # suffixes of ROS's recordings, beside folders


def open_recording(path: Path, topic: str | None = None) -> "VideoReader | BagReader":
    """A video, or the pictures of a bag. topic: of a bag, see BagReader."""
    if path.is_dir() or path.suffix in BAGS:
        from .bags import BagReader
        return BagReader(path, topic)
    if topic is not None:
        raise UserError(f"{path} is a video, the topic {topic} is for bags; leave it away")
    return VideoReader(path)
