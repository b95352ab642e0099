"""Interlaced video made progressive: one whole picture of each pair of fields, by FFmpeg's bwdif."""

from collections.abc import Iterator
from typing import Any

import av
from av.filter import Graph
from av.video.stream import VideoStream


def deinterlaced(frames: Iterator[av.VideoFrame], stream: VideoStream, *, always: bool) -> Iterator[av.VideoFrame]:
    """The same frames at the same times. Those that are flagged as interlaced are mended; always: all are."""
    graph = None
    for frame in frames:
        if graph is None:
            if not (always or frame.interlaced_frame):
                yield frame
                continue
            graph = _graph(frame, stream, "all" if always else "interlaced")
        graph.push(frame)
        yield from _ready(graph, stream)
    if graph is not None:
        graph.push(None)
        yield from _ready(graph, stream)


def _graph(frame: av.VideoFrame, stream: VideoStream, which: str) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base)
    bwdif, sink = graph.add("bwdif", f"mode=send_frame:deint={which}"), graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph


def _ready(graph: Graph, stream: VideoStream) -> Iterator[av.VideoFrame]:
    while True:
        try:
            frame: Any = graph.pull()
        except (av.BlockingIOError, av.EOFError):       # wants the next frame first, or there is none
            return
        # The filter counts in fields.
        scale = frame.time_base / stream.time_base
        frame.pts, frame.duration = round(frame.pts * scale), round(frame.duration * scale)
        frame.time_base = stream.time_base
        yield frame
