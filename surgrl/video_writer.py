"""Recorded video out, on PyAV: H.264 that a browser plays."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from .ahead import DEPTH
from .decoded import BT601
from .files import atomic_file
from .policy.errors import UserError
from .policy.spec import Array


class VideoWriter:
    """An H.264 yuv420p mp4 of constant rate, encoded in a thread of its own."""

    def __init__(self, path: str | Path, size: tuple[int, int], *, rate: float,
                 colour: tuple[int, int] = BT601, quality: int = 25, key_every: int | None = None):
        """size: width, height px, both even; rate: Hz; colour: matrix and range that the planes are in.

        quality: 0 (best) to 51; key_every: frames from one that stands alone to the next, by default 2 s.
        """
        # Absolute, for FFmpeg takes what stands before a colon for a protocol.
        self._container = av.open(str(Path(path).absolute()), "w", format="mp4", options={"movflags": "faststart"})
        # Measured at 640x480: 0.9 ms of CPU time a frame; crf for qp 1.2, superfast for ultrafast 2.8.
        self._stream = stream = self._container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(10_000),
            options={"preset": "ultrafast", "qp": str(quality)})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = colour
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = key_every or max(1, round(2 * rate))    # a browser jumps to key frames
        self._pool = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> "VideoWriter":
        """Itself."""
        return self

    def write(self, yuv: Array) -> None:
        """Queue (height * 3 // 2, width) uint8, planes of yuv420p; raises an earlier frame's error."""
        self._pending.append(self._pool.submit(self._encode, yuv))
        if len(self._pending) > DEPTH:
            self._pending.popleft().result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Finish the file; after an error, only close it."""
        try:
            if kind is None:
                self._pending.append(self._pool.submit(self._encode, None))
                for frame in self._pending:
                    frame.result()
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._container.close()

    def _encode(self, yuv: Array | None) -> None:
        frame = None if yuv is None else av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        self._container.mux(self._stream.encode(frame))


def write_video(path: str | Path, frames: Iterable[Array], rate: float) -> None:
    """Write (H, W, 3) uint8 RGB frames at `rate` Hz as an mp4 that a browser plays; whole or not at all."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise UserError(f"{path}: a video of no frames; give at least one")
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2        # yuv420p has even sizes only
    with atomic_file(path) as scratch, VideoWriter(scratch, (width, height), rate=rate) as writer:
        for rgb in chain([first], frames):
            writer.write(yuv_of(rgb[:height, :width]))


def yuv_of(rgb: Array) -> Array:
    """(H, W, 3) uint8, H and W even -> (H * 3 // 2, W) uint8, planes of yuv420p in BT601."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").to_ndarray(format="yuv420p")
