"""One recording through one or two policies, into tables, videos and what a report needs; goes on after a kill."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from .ahead import ahead
from .album import Album
from .annotate import BASE, Annotator
from .lane import Lane
from .looks import Look
from .playback import Answer
from .policy.errors import UserError
from .recordings import Recording
from .segments import Segments, join_tables, join_videos
from .ticks import Place, Tick, sample
from .video_writer import VideoWriter

SEGMENT = 10.0          # s of a recording in one segment: what a kill costs at most
LEAD = 1.0              # s before a place at which a replay goes on, from which on it reads: filters look back
NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Span:
    """The part of a recording that is replayed, and how."""

    start: float            # s
    duration: float         # s; inf: to the end
    rate: float             # Hz
    video: bool             # whether to write annotated ones


class Heard(NamedTuple):
    """A tick and what was said to it; its picture is let go."""

    tick: Tick
    told: list[tuple[Answer, Look]]         # of each lane
    memory: dict[str, Any] | None           # after the last tick of a segment


class Replay:
    """One recording's replay, segment by segment."""

    def __init__(self, lanes: Sequence[Lane], span: Span, segments: Segments):
        """Goes on where `segments` stand."""
        self.lanes, self.span, self.segments = lanes, span, segments
        self.album, self.seconds = Album(), 0.0             # s of work, over all runs
        self.place, self.finished = Place(span.start, 0), False
        self._length = max(1, round(SEGMENT * span.rate))   # ticks of a segment
        if segments.memory:
            self._recall(segments.memory)

    def run(self, video: Recording, advance: Callable[[int], object]) -> None:
        """All segments that are not done yet; `advance` is told of each tick."""
        if self.finished:
            return
        size = _picture_size(video.width, video.height) if self.span.video else None
        began, (start, number) = perf_counter(), self.place
        begin = start + number / self.span.rate - LEAD if number else 0.0
        pictures = video.pictures(max(self.span.start, begin))
        ticks = sample(pictures, self.span.rate, self.place, self.span.duration, size)
        with ExitStack() as stack:
            shown = stack.enter_context(closing(ahead(ticks)))      # threads end before the file closes
            heard = stack.enter_context(closing(ahead(self._hear(shown, number))))
            for first in heard:
                if not number:
                    self.place = Place(first.tick.time, 0)
                memory, number = self._segment(first, heard, number, video, size, advance)
                self.place, now = Place(self.place.began, number), perf_counter()
                self.seconds, began = self.seconds + now - began, now
                if memory is not None:
                    self.segments.commit(self._memory(memory))
        if not number:
            lasts = "" if video.duration is None else f"; it lasts {video.duration:.2f} s"
            raise UserError(f"{video.path}: shows no picture at --start {self.span.start:g} s{lasts}")
        self.finished = True
        self.segments.commit(self._memory(self._heard()), one_more=number % self._length > 0)

    def join(self) -> list[str]:
        """Make the whole tables and videos, among the segments; their names."""
        segments, names = self.segments, []
        for lane in self.lanes:
            header = ",".join(lane.header()).encode() + b"\r\n"
            join_tables(segments.paths(lane.table), header, segments.folder / lane.table)
            names.append(lane.table)
            if self.span.video:
                join_videos(segments.paths(lane.video), segments.folder / lane.video)
                names.append(lane.video)
        return names

    def _hear(self, ticks: Iterator[Tick], number: int) -> Iterator[Heard]:
        """Ask the policies, in a thread of its own."""
        for at, tick in enumerate(ticks, number):
            told = [lane.hear(at, tick) for lane in self.lanes]
            first = self.lanes[0].playback
            self.album.add(at, first.seen(tick), first.runtime.inputs)
            ends = (at + 1) % self._length == 0
            yield Heard(tick._replace(rgb=NO_PICTURE), told, self._heard() if ends else None)

    def _segment(self, first: Heard, rest: Iterator[Heard], number: int, video: Recording,
                 size: tuple[int, int] | None, advance: Callable[[int], object]) -> tuple[dict[str, Any] | None, int]:
        """Write the files of one; the memory after it, None at the end of the recording, and the ticks done."""
        with ExitStack() as stack:
            tables, writers = [], []
            for lane in self.lanes:
                file = stack.enter_context(self.segments.path(lane.table).open("w", newline=""))
                tables.append(csv.writer(file))
                if size:
                    writers.append((stack.enter_context(VideoWriter(
                        self.segments.path(lane.video), size, rate=self.span.rate,
                        colour=video.colour)), _annotator(lane, size, video.width)))
            heard: Heard | None = first
            while heard is not None:
                tick, planes = heard.tick, heard.tick.yuv
                for at, (lane, (answer, look)) in enumerate(zip(self.lanes, heard.told, strict=True)):
                    note = lane.judge(tick, answer)
                    tables[at].writerow(lane.row(note, look))
                    if planes is not None:
                        drawn = planes.copy() if at + 1 < len(self.lanes) else planes
                        writer, annotator = writers[at]
                        annotator.draw(drawn, note)
                        writer.write(drawn)
                number += 1
                advance(1)
                if heard.memory is not None:
                    return heard.memory, number
                heard = next(rest, None)
        return None, number

    def _heard(self) -> dict[str, Any]:
        return {"lanes": [lane.heard() for lane in self.lanes], "album": self.album.memory()}

    def _memory(self, heard: Mapping[str, Any]) -> dict[str, Any]:
        """What `_hear` remembered at a tick, and what the writing side remembers at the same."""
        lanes = {str(at): {**told, **lane.judged()} for at, (told, lane) in
                 enumerate(zip(heard["lanes"], self.lanes, strict=True))}
        return {"lanes": lanes, "album": heard["album"], "place": list(self.place), "finished": self.finished,
                "seconds": self.seconds}

    def _recall(self, memory: Mapping[str, Any]) -> None:
        for at, lane in enumerate(self.lanes):
            lane.recall(memory["lanes"][str(at)])
        self.album.recall(memory["album"])
        self.place, self.finished, self.seconds = Place(*memory["place"]), memory["finished"], memory["seconds"]


def latencies(replay: Replay) -> dict[str, Any]:
    """What was measured and differs from run to run: kept apart from all that does not."""
    return {"frames": replay.place.number, "seconds": round(replay.seconds, 3),
            "policies": [lane.latency.told() for lane in replay.lanes]}


def _annotator(lane: Lane, size: tuple[int, int], width: int) -> Annotator:
    playback = lane.playback
    return Annotator(playback.bundle.action, size, view=playback.view(size[0] / width), arrow=playback.drawable)


def _picture_size(width: int, height: int) -> tuple[int, int]:
    """Width, height px of the annotated video: even, and large enough to read what is written on it."""
    scale = max(1.0, min(BASE[0] / width, BASE[1] / height))
    return round(width * scale / 2) * 2, round(height * scale / 2) * 2
