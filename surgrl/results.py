"""What is left of a replay when it is done: its folder's files, and by what they are known to be done."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .compared import Likeness, Table, compare
from .parquet import write_parquet
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .recordings import Recording, Source
from .replay_files import LATENCY, OPTIONAL, REPORT, RESULTS, SUMMARY, THUMBNAIL, read_summary
from .replay_page import write_report
from .replaying import Replay, Span, latencies
from .segments import PARTS
from .trace import Trace, trace
from .view import View

FORMAT = 1
ASKED = ("topic", "speed", "acceleration", "parquet")       # options by which results differ


def describe(source: Source, bundles: Sequence[PolicyBundle], span: Span, view: View,
             options: Mapping[str, Any]) -> dict[str, Any]:
    """All that results depend on: plain data, the same for the same work."""
    return {"format": FORMAT, "source": source.name, "files": _files(source),
            "bundles": [bundle.fingerprint for bundle in bundles],
            "span": [span.start, None if np.isinf(span.duration) else span.duration, span.rate, span.video],
            "view": {**asdict(view), "mask": view.mask and sha256(view.mask.read_bytes()).hexdigest()},
            "options": {name: options.get(name) for name in ASKED}}


def done_before(folder: Path, key: Mapping[str, Any]) -> bool:
    """Whether the folder holds the results of exactly this work."""
    summary = read_summary(folder)
    return summary is not None and bool(summary["key"] == key)


def guard(folder: Path, source: Source) -> None:
    """UserError where results would replace files in the folder that are not of a replay of this source."""
    summary = read_summary(folder)
    if summary is None:
        # A kill while results took their place leaves some of them, without a summary and with the segments.
        theirs = [] if (folder / PARTS).is_dir() else [name for name in RESULTS if os.path.lexists(folder / name)]
        if theirs:
            raise UserError(f"{folder / theirs[0]}: would be replaced, and is not of a replay: there is no {SUMMARY} "
                            "beside it; name another --out, or move it away")
    elif summary.get("place") != _place(source) and (
            [summary["key"]["source"], summary["key"]["files"]] != [source.name, _files(source)]):
        raise UserError(f"{folder}: holds the replay of another recording, {summary['key']['source']}, which that of "
                        f"{source.path} would replace; name another folder with --out, or remove this one")


def publish(source: Source, video: Recording, replay: Replay, key: Mapping[str, Any], *, parquet: bool) -> None:
    """Make the results among the segments, put them into the folder, the summary last, and remove the segments."""
    lanes, ticks, folder = replay.lanes, replay.place.number, replay.segments.folder
    names, tables, traces = replay.join(), [], []
    for lane in lanes:
        playback = lane.playback
        action, fastest = playback.bundle.action, playback.limits.speed
        tables.append(Table(folder / lane.table, action.names, playback.axes, playback.rate, fastest))
        traces.append(trace(folder / lane.table, ticks, action, playback.rate, axes=playback.axes, fastest=fastest))
        if parquet:
            names.append(Path(lane.table).with_suffix(".parquet").name)
            write_parquet(folder / lane.table, folder / names[-1])
    likenesses = compare(tables, {what: track for what, track in (("what the robot was told", video.action),
                                                                  ("what the robot did", video.state)) if track})
    measured = latencies(replay)
    write_report(folder / REPORT, source.name, replay, traces, likenesses, measured)
    _write_json(folder / LATENCY, measured)
    _write_json(folder / SUMMARY, {"key": key, "place": _place(source), **_summary(replay, traces, likenesses)})
    middle = replay.album.moments[len(replay.album.moments) // 2].picture
    (folder / THUMBNAIL).write_bytes(cv2.imencode(".jpg", middle[:, :, ::-1])[1].tobytes())
    # Away with what an earlier replay with other options left, so that no two are mixed.
    for old in OPTIONAL:
        if old not in names:
            (folder.parent / old).unlink(missing_ok=True)
    replay.segments.publish([*names, LATENCY, THUMBNAIL, REPORT, SUMMARY])
    replay.segments.remove()


def _files(source: Source) -> list[list[Any]]:
    """Name, bytes and time of change (ns) of each file of a recording."""
    inner = sorted(source.path.rglob("*")) if source.path.is_dir() else [source.path]
    stats = [(str(path.relative_to(source.path)), path.stat()) for path in inner if path.is_file()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _place(source: Source) -> str:
    """Where a recording lies, as a hash: folders' names may tell a patient's."""
    return sha256(f"{source.path.resolve()} {source.episode}".encode()).hexdigest()


def _summary(replay: Replay, traces: Sequence[Trace], likenesses: Sequence[Likeness]) -> dict[str, Any]:
    """Figures of a replay, the same whenever it is made."""
    policies = []
    for lane, told in zip(replay.lanes, traces, strict=True):
        looks = lane.looks
        policies.append({
            "name": lane.name, "bundle": lane.playback.bundle.fingerprint, "frames": lane.counts,
            "sparc": {"wanted": _number(told.wanted.sparc), "sent": _number(told.sent.sparc)},
            "jerk_m_s3": {"wanted": _number(told.wanted.jerk), "sent": _number(told.sent.jerk)},
            **({"pictures": {"looked_at": looks.count, "unlike": looks.unlike, "odd": looks.odd,
                             "strangest": _number(told.unlike[0])}} if looks.profile else {})})
    return {"ticks": replay.place.number, "rate_hz": replay.span.rate, "began_s": replay.place.began,
            "policies": policies,
            "agreement": [{"between": like.what, **{name: _number(value) for name, value in
                                                    like.cosine._asdict().items()}} for like in likenesses]}


def _number(value: float) -> float | None:
    """As JSON has it."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
