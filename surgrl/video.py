"""Recorded video in, on PyAV: pictures by presentation time."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from .decoded import BT601, GLIMPSES, LONGEST, TIMESTAMP, Picture
from .interlace import deinterlaced
from .policy.errors import UserError
from .policy.spec import Array
from .upright import squared, turn_of

if TYPE_CHECKING:
    from .recordings import Track

BT709, UNSPECIFIED = 1, 2
SD_HEIGHT = 576     # px; what is higher and names no matrix is taken for BT.709, as players do


class VideoReader:
    """The video stream of a file. Refuses what has none, and tells when it is damaged or ends too early."""

    state: "Track | None" = None        # no robot
    action: "Track | None" = None
    demo: Path | None = None
    task = ""

    def __init__(self, path: str | Path, *, deinterlace: str = "flagged"):
        """Open the file and read what it promises. deinterlace: flagged frames, "always" or "never"."""
        self.path, self._deinterlace = Path(path), deinterlace
        self._container, self._stream = _open(self.path)
        stream = self._stream
        self._unit = float(stream.time_base or 1)               # s, of a time stamp
        stream.thread_type = "AUTO"
        self.rate = float(stream.average_rate or 0)             # Hz, mean; 0: the file does not say
        self.duration = self._promised()                        # s; None: the file does not say
        self.tags = {**self._container.metadata, **stream.metadata}
        self._size, turned = (stream.width, stream.height), False       # px; of the first frame, before it is turned
        try:
            # The flag is with the frames; another container, so that this one still stands at its beginning.
            first = self._glimpse([0.0])[0]
            self._size = first.width, first.height
            turn, turned = turn_of(first)
            square, wide = squared(first.width, stream.sample_aspect_ratio)
        except ValueError as error:
            self._container.close()
            raise UserError(f"{path}: {error}, by a flag; encode it anew: "
                            f"ffmpeg -i {self.path.name} mended.mp4") from error
        except IndexError:      # nothing can be decoded: told when it is read
            turn, square, wide = None, None, stream.width
        self._edit = turn if square is None else square if turn is None else lambda pixels: turn(square(pixels))
        matrix, span = stream.codec_context.colorspace, stream.codec_context.color_range
        self._high = matrix == UNSPECIFIED and stream.height > SD_HEIGHT
        self.colour = (BT709, span) if self._high else (matrix, span)
        self.width, self.height = (self._size[1], wide) if turned else (wide, self._size[1])
        if self._edit is not None:
            self.colour = BT601

    def __enter__(self) -> "VideoReader":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the file."""
        self._container.close()

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        """Every picture in order of presentation, from the one shown at `start` (s) on. Can be read once."""
        skipped, packets = self._packets(start)
        frames = self._frames(skipped, packets, start)
        if self._deinterlace != "never":
            frames = deinterlaced(frames, self._stream, always=self._deinterlace == "always")
        read, until, shown = skipped, 0.0, None
        for frame in frames:
            picture = self._picture(read, frame)
            if picture.time > until + LONGEST and read > skipped:
                raise self._damaged(read, until, f"the next picture's time is {picture.time:.0f} s")
            read, until = read + 1, max(until, picture.until)
            if picture.time <= start + TIMESTAMP:
                shown = picture
                continue
            if shown is not None:
                yield shown
                shown = None
            yield picture
        if shown is not None and start < shown.until:
            yield shown
        if read == skipped:
            raise self._damaged(read, until, "no picture could be decoded")
        if self.duration is not None and until < self.duration - max(2.5 / (self.rate or 30), 0.1):
            raise self._damaged(read, until, "it ends too early")

    def glimpses(self, start: float = 0.0, end: float | None = None) -> list[Array]:
        """Some pictures from all over the recording, or from `start` to `end` (s) of it, (H, W, 3) uint8 each."""
        end, shares = self.duration if end is None else end, (np.arange(GLIMPSES) + 0.5) / GLIMPSES
        found = [] if end is None else self._glimpse(list(start + shares * (end - start)))
        frames = {frame.pts: frame for frame in found
                  if frame.pts is not None and self._seconds(frame.pts) > start - TIMESTAMP}
        # Few key frames, as x264 makes them by default, or no duration: then it is read from end to end.
        for which in ("NONKEY", "DEFAULT"):
            if len(frames) < GLIMPSES // 2:
                frames = self._spread(start, np.inf if end is None else end, which)
        return [self._picture(0, frame).rgb() for frame in frames.values()]

    def _spread(self, start: float, end: float, skipped: str) -> dict[int, av.VideoFrame]:
        """Up to GLIMPSES frames (by time stamp) as far apart as they can be; skipped: kinds that are not decoded."""
        kept: list[av.VideoFrame] = []
        stride, count = 1, 0
        container, stream = _open(self.path)
        with container, suppress(av.FFmpegError):
            stream.codec_context.skip_frame = skipped
            if start:
                container.seek(int(start / self._unit) + (stream.start_time or 0), stream=stream)
            for frame in container.decode(stream):
                time = start - 1 if frame.pts is None else self._seconds(frame.pts)
                if time >= end:
                    break
                if time > start - TIMESTAMP:
                    if count % stride == 0:
                        kept.append(frame)
                    count += 1
                if len(kept) == 2 * GLIMPSES:
                    kept, stride = kept[::2], 2 * stride
        places = np.unique(np.linspace(0, len(kept) - 1, GLIMPSES).round().astype(int)) if kept else []
        return {kept[place].pts: kept[place] for place in places}

    def _glimpse(self, times: list[float]) -> list[av.VideoFrame]:
        """The key frames before some times; fewer where they cannot be decoded."""
        frames = []
        container, stream = _open(self.path)
        with container:
            for time in times:
                try:
                    if time:
                        container.seek(int(time / self._unit) + (stream.start_time or 0), stream=stream)
                    frames.append(next(container.decode(stream)))
                except (av.FFmpegError, StopIteration):
                    pass
        return frames

    def _frames(self, read: int, packets: Iterator[Any], start: float) -> Iterator[av.VideoFrame]:
        until = 0.0
        try:
            for packet in packets:
                if packet.is_corrupt:
                    raise self._damaged(read, until, "the data end within a picture")
                for frame in packet.decode():
                    # A decoder paints over what it cannot read, and a policy would act on the paint.
                    told = self._picture(read, frame).until
                    if frame.is_corrupt and told > start:
                        raise self._damaged(read, until, "a picture is damaged")
                    read, until = read + 1, max(until, told)
                    yield frame
        except av.FFmpegError as error:
            raise self._damaged(read, until, str(error.strerror)) from error

    def _picture(self, number: int, frame: av.VideoFrame) -> Picture:
        if frame.pts is None:
            raise UserError(f"{self.path}: gives no time for frame {number}; encode it anew: "
                            f"ffmpeg -i {self.path.name} mended.mp4")
        if self._high:
            frame.colorspace = BT709
        time, size = self._seconds(frame.pts), (frame.width, frame.height)
        if size != self._size:
            raise UserError(f"{self.path}: its picture at {time:.2f} s is {size[0]}x{size[1]} px, the first "
                            f"{self._size[0]}x{self._size[1]}; a recording has one size: encode it anew")
        span = frame.duration or 0
        return Picture(number, time, time + span * self._unit, frame, self._edit)

    def _packets(self, start: float) -> tuple[int, Iterator[Any]]:
        """Count of frames left out, and the packets from the last key frame before `start` on."""
        skipped, group, key = 0, list[Any](), -np.inf
        packets = self._container.demux(self._stream)
        try:
            for packet in packets:
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is None or packet.dts is None:
                    return skipped, chain(group, [packet], packets)
                if packet.is_keyframe and self._seconds(stamp) <= start:
                    skipped, group, key = skipped + len(group), [], stamp
                if stamp < key:     # leads the key frame but needs the group before it (an open GOP)
                    skipped += 1
                    continue
                group.append(packet)
                if self._seconds(packet.dts) > start and stamp > key:
                    return skipped, chain(group, packets)
        except av.FFmpegError as error:
            raise self._damaged(skipped + len(group), start, str(error.strerror)) from error
        return skipped, iter(group)

    def _seconds(self, stamp: int) -> float:
        return (stamp - (self._stream.start_time or 0)) * self._unit

    def _promised(self) -> float | None:
        """s that the file says its video lasts; a sound track may last longer."""
        stream, container = self._stream, self._container
        if container.format.name == "avi" and stream.frames and self.rate:
            return float(stream.frames / self.rate)        # the duration is guessed from the size: a cut would pass
        if stream.duration is not None:
            return float(stream.duration * self._unit)
        told = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))      # Matroska
        if told:        # where it ends, which is more than it lasts where it does not begin at 0
            return int(told[1]) * 3600 + int(told[2]) * 60 + float(told[3]) - (stream.start_time or 0) * self._unit
        if container.duration is not None and len(container.streams) == 1:
            return float(container.duration / av.time_base)
        return None

    def _damaged(self, read: int, until: float, why: str) -> UserError:
        whole = "" if self.duration is None else f" of {self.duration:.2f} s"
        return UserError(
            f"{self.path}: damaged or cut off: {read} frames could be read, {until:.2f} s{whole} ({why}); "
            "copy it anew, or save what can be read: "
            f"ffmpeg -err_detect ignore_err -i {self.path.name} mended.mp4")


def _open(path: Path) -> tuple[Any, Any]:
    """The file, and its first stream of moving pictures."""
    if not path.is_file():
        raise UserError(f"{path}: no such video file")
    try:
        # Absolute, for FFmpeg takes what stands before a colon for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except av.FFmpegError as error:
        raise UserError(f"{path}: {_why_not_opened(path)}") from error
    streams = [stream for stream in container.streams.video
               if not stream.disposition & av.stream.Disposition.attached_pic]      # a cover, not a video
    if not streams:
        container.close()
        raise UserError(f"{path}: holds no video stream; give a file with moving pictures: mp4, avi, mkv")
    if streams[0].codec_context is None:
        container.close()
        raise UserError(f"{path}: its video is of a kind that nothing here decodes; encode it anew: "
                        f"ffmpeg -i {path.name} mended.mp4")
    return container, streams[0]


def _why_not_opened(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == b"ftyp":        # an mp4's index is written last
        return ("an mp4 without its index: the recording or the copy was cut off, and no frame can be read; "
                "copy it anew, or rebuild the index with a tool such as untrunc")
    return "not a video that can be read; give an mp4, avi or mkv file"
