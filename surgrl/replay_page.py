"""The report of one replay: a page that needs no other file but its videos, and not even those where they are small."""

import base64
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from .annotate import MILLI
from .compared import Likeness
from .lane import Lane
from .page import Page, jpeg_uri
from .policy.spec import Array
from .replay_parts import (
    add_drift,
    add_latency,
    add_likeness,
    add_origin,
    add_reasons,
    add_saliency,
    add_smoothness,
    clock,
)
from .replaying import Replay
from .trace import Band, Trace, shares

INLINE = 3_000_000      # bytes of videos, up to which they are put into the page
Told = dict[str, Any]


def asset(name: str) -> str:
    """The text of a file that lies beside this one."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def write_report(path: Path, name: str, replay: Replay, traces: Sequence[Trace], likenesses: Sequence[Likeness],
                 latencies: Told) -> None:
    """The page of a replay at `path`, whose videos lie in the same folder."""
    lanes, ticks, rate = replay.lanes, replay.place.number, replay.span.rate
    origins = " against ".join(lane.name for lane in lanes)
    page = Page(name, f"What {origins} would have commanded on this recording: {ticks} frames, "
                f"{clock(ticks / rate)} at {rate:g} Hz. Nothing moved. For research, not for clinical use.",
                style=asset("replay_page.css"), script=asset("replay_page.js"))
    _figures(page, lanes[0], traces[0])
    _watch(page, path.parent, replay, traces)
    _moments(page, replay)
    add_reasons(page, lanes, traces)
    add_saliency(page, replay)
    add_drift(page, lanes, traces)
    add_smoothness(page, lanes, traces)
    add_likeness(page, likenesses)
    add_latency(page, lanes, latencies)
    add_origin(page, lanes, replay)
    page.write(path)


def _figures(page: Page, lane: Lane, told: Trace) -> None:
    sent, limited, held = shares(lane.counts)
    looks = lane.looks
    page.figures([
        (f"{sent:.0%}", f"of the commands sent as asked; {limited:.0%} limited, {held:.0%} held"),
        (f"{told.sent.sparc:.2f}", "smoothness of what is sent (SPARC; nearer to 0 is smoother)"),
        *([(f"{looks.unlike / max(1, looks.count):.0%}", "of the pictures laid out unlike any of training")]
          if looks.profile else [])])


def _watch(page: Page, folder: Path, replay: Replay, traces: Sequence[Trace]) -> None:
    """The videos and the timelines below them."""
    page.heading("What it would have done")
    lanes = replay.lanes
    if replay.span.video:
        paths = [folder / lane.video for lane in lanes]
        inline = sum(path.stat().st_size for path in paths) <= INLINE
        clips = "".join(
            f'<figure><video {"controls " if not at else ""}muted playsinline preload="auto" '
            f'src="{_source(path, inline)}" aria-label="{html.escape(lane.name)} on the recording"></video>'
            f"<figcaption>{html.escape(lane.name)}</figcaption></figure>"
            for at, (lane, path) in enumerate(zip(lanes, paths, strict=True)))
        page.markup(f'<div class="watch">{clips}</div>')
    else:
        page.text("No annotated video was written (--no-video); the timelines tell what it would show.")
    page.markup('<p class="readout" id="readout"></p><div class="timeline" id="timeline" tabindex="0" role="slider" '
                'aria-label="Time in the recording: arrow keys move, space plays" '
                f'aria-valuemin="{traces[0].times[0]:.2f}" aria-valuemax="{traces[0].times[-1]:.2f}"></div>'
                '<div class="key"><span><i style="background:var(--sent)"></i>sent as asked</span>'
                '<span><i style="background:var(--limited)"></i>limited</span>'
                '<span><i style="background:var(--held)"></i>held, or latched</span>'
                + "".join(f'<span><i style="background:var(--{colour})"></i>{html.escape(lane.name)}</span>'
                          for colour, lane in zip(("one", "two"), lanes, strict=False))
                + "<span>Lines are means, their bands reach from the smallest to the largest value. Hover to read, "
                "click to move the video.</span></div>"
                '<noscript><p>The timelines need JavaScript; the tables below do not.</p></noscript>')
    data = json.dumps(_data(replay, traces), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page.markup(f'<script type="application/json" id="replay-data">{data}</script>')


def _data(replay: Replay, traces: Sequence[Trace]) -> Told:
    """What the script draws."""
    words: dict[str, int] = {"": 0}

    def at(text: str) -> int:
        return words.setdefault(text, len(words))

    lanes = replay.lanes
    labels = ["" if len(lanes) == 1 else f", {lane.name}" for lane in lanes]
    policies = [{"label": label, "gate": told.gate.tolist(), "picture": told.picture.tolist(),
                 "words": [at(text) for text in told.words], "remarks": [at(text) for text in told.remarks]}
                for label, told in zip(labels, traces, strict=True)]
    return {"rate": replay.span.rate, "start": round(float(traces[0].times[0]), 6), "ticks": traces[0].ticks,
            "frames": traces[0].frames.tolist(), "policies": policies, "channels": _channels(lanes, traces),
            "words": list(words)}


def _channels(lanes: Sequence[Lane], traces: Sequence[Trace]) -> list[Told]:
    """A timeline each: the first policy's entries, the speeds, the drift; the second policy's beside them."""
    spec, limits = lanes[0].playback.bundle.action, lanes[0].playback.limits
    found = [_channel(name, unit, (low, high), name, traces)
             for name, unit, low, high in zip(spec.names, spec.units, spec.low, spec.high, strict=True)]
    if any(axis is not None for axis in lanes[0].playback.axes):
        fastest = max(lane.playback.limits.speed for lane in lanes)
        found += [_channel(f"speed {word}", "m/s", (0, fastest), f"speed {word}", traces, limits.speed)
                  for word in ("wanted", "sent")]
    if lanes[0].looks.profile:
        for name in ("unlikeness", "oddness"):
            most = max((float(np.nanmax(told.bands[name].high)) for told in traces
                        if np.isfinite(told.bands[name].high).any()), default=1)
            found.append(_channel(f"{name} of the picture", "", (0, max(1.25, most)), name, traces, 1.0))
    return found


def _channel(title: str, unit: str, span: tuple[float, float], name: str, traces: Sequence[Trace],
             limit: float | None = None) -> Told:
    shown, scale = (MILLI[unit], 1e3) if unit in MILLI else (unit, 1.0)
    none = np.full(len(traces[0].gate), np.nan)
    bands = [told.bands.get(name, Band(none, none, none)) for told in traces]
    low, high = (float(f"{edge * scale:.4g}") for edge in span)
    return {"name": title, "unit": shown, "low": low, "high": high, "digits": 1 if scale > 1 else 2,
            "limit": None if limit is None else round(limit * scale, 6),
            "series": [{part: _plain(getattr(band, part), scale) for part in ("low", "mean", "high")}
                       for band in bands]}


def _plain(values: Array, scale: float) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value * scale:.4g}") for value in values.tolist()]


def _moments(page: Page, replay: Replay) -> None:
    page.heading("Moments")
    rate = replay.span.rate
    shown = "".join(
        f'<button class="seek" data-tick="{moment.number}"><img src="{jpeg_uri(moment.picture, 75)}" alt="the '
        f'recording at {clock(moment.number / rate + replay.place.began)}"><span>'
        f"{clock(moment.number / rate + replay.place.began)}</span></button>" for moment in replay.album.moments)
    page.markup(f'<div class="moments">{shown}</div>')


def _source(path: Path, inline: bool) -> str:
    if not inline:
        return quote(path.name)
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
