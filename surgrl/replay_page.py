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
from .latency import EDGES
from .page import Page, jpeg_uri
from .policy.profile import STATISTICS
from .policy.spec import Array
from .replaying import Replay
from .saliency import occlusion, overlay
from .trace import Band, Trace, shares

INLINE = 3_000_000      # bytes of videos, up to which they are put into the page
LOOKED = 6              # moments of which it is shown what the policy looks at
REASONS = 12            # lines of the table of reasons
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
    _reasons(page, lanes, traces)
    _saliency(page, replay)
    _drift(page, lanes, traces)
    _smoothness(page, lanes, traces)
    _likeness(page, likenesses)
    _latency(page, lanes, latencies)
    _how(page, lanes, replay)
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
            f'<figure><video {"controls " if not at else ""}muted playsinline preload="auto" src="{_source(path, inline)}" '
            f'aria-label="{html.escape(lane.name)} on the recording"></video>'
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
    low, high = (round(edge * scale, 6) for edge in span)
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
        f'<button class="seek" data-tick="{moment.number}"><img src="{jpeg_uri(moment.picture, 75)}" alt="the recording at '
        f'{clock(moment.number / rate + replay.place.began)}"><span>'
        f"{clock(moment.number / rate + replay.place.began)}</span></button>" for moment in replay.album.moments)
    page.markup(f'<div class="moments">{shown}</div>')


def _reasons(page: Page, lanes: Sequence[Lane], traces: Sequence[Trace]) -> None:
    page.heading("Why the gate limited or held")
    rows = []
    for lane, told in zip(lanes, traces, strict=True):
        for reason in told.reasons[:REASONS]:
            when = clock(reason.first / told.rate + float(told.times[0]))
            rows.append(f"<tr><td>{html.escape(lane.name)}</td><td>{html.escape(reason.example)}</td>"
                        f"<td>{reason.count} ({reason.count / told.ticks:.1%})</td><td><button class='seek' "
                        f"data-tick='{reason.first}'>{when}</button></td></tr>")
    if rows:
        page.markup("<div class='wide'><table><tr><th>policy</th><th>reason, e.g.</th><th>frames</th><th>first</th></tr>"
                    f"{''.join(rows)}</table></div>")
    else:
        page.text("It did not: every command was sent as the policy asked.")
    page.text(f"The gate {lanes[0].playback.told()}.")


def _saliency(page: Page, replay: Replay) -> None:
    """What the first policy looks at, on some of the moments."""
    lane, moments = replay.lanes[0], replay.album.moments
    if not moments:
        return
    page.heading("What it looks at")
    page.text("Bright: where covering a patch of the picture (a sixth of its edge, by its mean colour) changes the "
              "command most. Each picture has its own scale; the number is the change at its brightest, as a share of "
              "the command's range.")
    pictures = []
    for at in np.unique(np.linspace(0, len(moments) - 1, LOOKED + 2).astype(int)[1:-1]):
        moment = moments[at]
        heat = occlusion(lane.playback.runtime, moment.inputs)
        if not np.isfinite(heat).all():         # the command is no number, covered or not
            continue
        when = clock(moment.number / replay.span.rate + replay.place.began)
        pictures.append(f"<figure><img src='{jpeg_uri(overlay(_seen(lane, moment.picture), heat))}' alt='what the policy "
                        f"looks at, at {when}'><figcaption>{when}, up to {heat.max():.0%}</figcaption></figure>")
    page.markup(f'<div class="strip">{"".join(pictures)}</div>')


def _seen(lane: Lane, picture: Array) -> Array:
    """The policy's crop of a moment's picture."""
    image = lane.playback.bundle.image
    across, down = picture.shape[1] / image.width, picture.shape[0] / image.height
    top, left, height, width = image.crop
    return np.ascontiguousarray(picture[round(top * down):round((top + height) * down),
                                        round(left * across):round((left + width) * across)])


def _drift(page: Page, lanes: Sequence[Lane], traces: Sequence[Trace]) -> None:
    page.heading("Against the pictures of training")
    for lane, told in zip(lanes, traces, strict=True):
        looks, profile = lane.looks, lane.looks.profile
        if len(lanes) > 1:
            page.subheading(lane.name)
        if profile is None or not looks.count:
            page.text("The bundle holds no statistics of its training pictures (frames.npz); export it anew to have them.")
            continue
        strangest, tick = told.unlike
        when = clock(tick / told.rate + float(told.times[0]))
        page.markup(f"<p>{looks.count} pictures were looked at, about ten a second. {looks.unlike / looks.count:.1%} are "
                    f"laid out unlike any of training (unlikeness above 1), {looks.odd / looks.count:.1%} are odd in the "
                    f"statistics below taken together (oddness above 1). The strangest, {strangest:.1f} times the limit, "
                    f"is at <button class='seek' data-tick='{tick}'>{when}</button>. The robot's gate of pictures would "
                    "have held or latched as the timeline shows; here it is told, not obeyed.</p>")
        rows = []
        for at, name in enumerate(STATISTICS):
            low, high = profile.bounds(name)
            rows.append([name, f"{looks.sums[at] / looks.count:.2f}", f"{low:.2f} to {high:.2f}",
                         f"{looks.outside[at] / looks.count:.1%}"])
        page.table(["of the picture", "mean here", "range in training", "pictures outside it"], rows)


def _smoothness(page: Page, lanes: Sequence[Lane], traces: Sequence[Trace]) -> None:
    page.heading("Smoothness")
    rows = [[lane.name, word, _or_dash(motion.sparc, ".2f"), str(len(motion.lengths)), _or_dash(motion.jerk, ".3g")]
            for lane, told in zip(lanes, traces, strict=True)
            for word, motion in (("wanted", told.wanted), ("sent", told.sent))]
    page.table(["policy", "velocity", "SPARC", "windows with motion", "jerk, m/s3 (rms)"], rows)
    page.text("SPARC is the spectral arc length of the speed (Balasubramanian et al. 2015, J NeuroEng Rehabil 12:112), "
              "here the mean over windows of 10 s: no unit, nearer to 0 is smoother; one reach of a healthy arm has "
              "about -1.6.")


def _likeness(page: Page, likenesses: Sequence[Likeness]) -> None:
    if not likenesses:
        return
    page.heading("Agreement")
    page.table(["between", "mean cosine", "95 % interval", "less than 90 degrees apart", "ticks", "how"], [
        [like.what, f"{like.cosine.mean:+.2f}",
         f"{like.cosine.low:+.2f} to {like.cosine.high:+.2f}" if like.cosine.blocks > 1 else "one block only",
         f"{like.cosine.share:.0%}", f"{like.cosine.ticks} in {like.cosine.blocks} blocks", like.note]
        for like in likenesses])
    page.text("Cosine of the angle between the two tip velocities while both move faster than a tenth of their fastest: "
              "1 is the same way, 0 no relation. Intervals are Student's over blocks of 2 s, since what follows within "
              "a block is not independent.")


def _latency(page: Page, lanes: Sequence[Lane], latencies: Told) -> None:
    """In an element of its own: the one part of the page that differs from run to run."""
    parts = []
    for lane, told in zip(lanes, latencies["policies"], strict=True):
        if told["count"]:
            parts.append(f"<h3>{html.escape(lane.name)}: median {told['p50_ms']:.2f} ms, p99 {told['p99_ms']:.2f} ms, "
                         f"longest {told['longest_ms']:.1f} ms</h3>{_bars(told['counts'])}")
    speed = latencies["frames"] / max(latencies["seconds"], 1e-9)
    page.markup("<section id='latency'><h2>Latency</h2><p>From picture to action on this machine, for each frame: "
                f"prepare, stack, network. The whole replay, with reading and writing, ran at {speed:.0f} frames a "
                f"second. These figures alone differ from run to run.</p>{''.join(parts)}</section>")


def _bars(counts: Sequence[int]) -> str:
    """A histogram as SVG; each bar tells its span and count."""
    used = np.flatnonzero(counts)
    first, last = max(0, int(used[0]) - 1), int(used[-1]) + 1
    most, wide = max(counts), 640 / (last - first + 1)
    bars, marks = [], []
    for place, at in enumerate(range(first, min(last + 1, len(counts)))):
        low, high = (EDGES[at - 1] if at else 0.0), EDGES[min(at, len(EDGES) - 1)]
        tall = 120 * counts[at] / most
        bars.append(f"<g><title>{low:.2f} to {high:.2f} ms: {counts[at]} frames</title><rect x='{place * wide:.1f}' y='0' "
                    f"width='{wide:.1f}' height='124' fill-opacity='0'/><rect x='{place * wide + .5:.1f}' "
                    f"y='{124 - tall:.1f}' width='{wide - 1:.1f}' height='{tall:.1f}'/></g>")
        if place % max(1, (last - first + 1) // 6) == 0:
            marks.append(f"<text x='{place * wide:.1f}' y='140'>{low:.2g} ms</text>")
    return (f"<svg class='bars' viewBox='0 0 660 144' width='660' role='img' aria-label='histogram of latencies'>"
            f"{''.join(bars)}{''.join(marks)}</svg>")


def _how(page: Page, lanes: Sequence[Lane], replay: Replay) -> None:
    page.heading("How this was made")
    span = replay.span
    lines = [f"from {span.start:g} s on, {'to the end' if np.isinf(span.duration) else f'{span.duration:g} s'}, "
             f"asked at {span.rate:g} Hz"]
    for lane in lanes:
        bundle, (top, left, height, width) = lane.playback.bundle, lane.playback.region
        lines.append(f"{bundle.folder.name}: bundle {bundle.fingerprint}, made for {bundle.task}; looks at {width}x{height} "
                     f"px at {top},{left}; its actions are in {lane.table}")
    page.code("\n".join(lines))


def _source(path: Path, inline: bool) -> str:
    if not inline:
        return quote(path.name)
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _or_dash(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "-"


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}" if minutes else f"{rest:.1f} s"
