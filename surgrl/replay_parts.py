"""What a replay's report tells in tables and pictures, below its timelines."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from .compared import Likeness
from .lane import Lane
from .latency import EDGES
from .page import Page, jpeg_uri
from .policy.profile import STATISTICS
from .policy.spec import Array
from .replaying import Replay
from .saliency import occlusion, overlay
from .trace import Trace

LOOKED = 6              # moments of which it is shown what the policy looks at
REASONS = 12            # lines of the table of reasons
Told = dict[str, Any]


def add_reasons(page: Page, lanes: Sequence[Lane], traces: Sequence[Trace]) -> None:
    """Why the gate limited or held, and where first."""
    page.heading("Why the gate limited or held")
    rows = []
    for lane, told in zip(lanes, traces, strict=True):
        for reason in told.reasons[:REASONS]:
            when = clock(reason.first / told.rate + float(told.times[0]))
            rows.append(f"<tr><td>{html.escape(lane.name)}</td><td>{html.escape(reason.example)}</td>"
                        f"<td>{reason.count} ({reason.count / told.ticks:.1%})</td><td><button class='seek' "
                        f"data-tick='{reason.first}'>{when}</button></td></tr>")
    if rows:
        page.markup("<div class='wide'><table><tr><th>policy</th><th>reason, e.g.</th><th>frames</th><th>first</th>"
                    f"</tr>{''.join(rows)}</table></div>")
    else:
        page.text("It did not: every command was sent as the policy asked.")
    page.text(f"The gate {lanes[0].playback.told()}.")


def add_saliency(page: Page, replay: Replay) -> None:
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
        shown = jpeg_uri(overlay(_seen(lane, moment.picture), heat))
        pictures.append(f"<figure><img src='{shown}' alt='what the policy looks at, at {when}'>"
                        f"<figcaption>{when}, up to {heat.max():.0%}</figcaption></figure>")
    page.markup(f'<div class="strip">{"".join(pictures)}</div>')


def _seen(lane: Lane, picture: Array) -> Array:
    """The policy's crop of a moment's picture."""
    image = lane.playback.bundle.image
    across, down = picture.shape[1] / image.width, picture.shape[0] / image.height
    top, left, height, width = image.crop
    return np.ascontiguousarray(picture[round(top * down):round((top + height) * down),
                                        round(left * across):round((left + width) * across)])


def add_drift(page: Page, lanes: Sequence[Lane], traces: Sequence[Trace]) -> None:
    """How far the pictures are from those of training."""
    page.heading("Against the pictures of training")
    for lane, told in zip(lanes, traces, strict=True):
        looks, profile = lane.looks, lane.looks.profile
        if len(lanes) > 1:
            page.subheading(lane.name)
        if profile is None or not looks.count:
            page.text("The bundle holds no statistics of its training pictures (frames.npz); export it anew to have "
                      "them.")
            continue
        strangest, tick = told.unlike
        when = clock(tick / told.rate + float(told.times[0]))
        page.markup(f"<p>{looks.count} pictures were looked at, about ten a second. {looks.unlike / looks.count:.1%} "
                    "are laid out unlike any of training (unlikeness above 1), "
                    f"{looks.odd / looks.count:.1%} are odd in the statistics below taken together (oddness above 1). "
                    f"The strangest, {strangest:.1f} times the limit, is at <button class='seek' data-tick='{tick}'>"
                    f"{when}</button>. The robot's gate of pictures would have held or latched as the timeline shows; "
                    "here it is told, not obeyed.</p>")
        rows = []
        for at, name in enumerate(STATISTICS):
            low, high = profile.bounds(name)
            rows.append([name, f"{looks.sums[at] / looks.count:.2f}", f"{low:.2f} to {high:.2f}",
                         f"{looks.outside[at] / looks.count:.1%}"])
        page.table(["of the picture", "mean here", "range in training", "pictures outside it"], rows)


def add_smoothness(page: Page, lanes: Sequence[Lane], traces: Sequence[Trace]) -> None:
    """Of what is wanted and of what is sent."""
    page.heading("Smoothness")
    rows = [[lane.name, word, _or_dash(motion.sparc, ".2f"), str(len(motion.lengths)), _or_dash(motion.jerk, ".3g")]
            for lane, told in zip(lanes, traces, strict=True)
            for word, motion in (("wanted", told.wanted), ("sent", told.sent))]
    page.table(["policy", "velocity", "SPARC", "windows with motion", "jerk, m/s3 (rms)"], rows)
    page.text("SPARC is the spectral arc length of the speed (Balasubramanian et al. 2015, J NeuroEng Rehabil 12:112), "
              "here the mean over windows of 10 s: no unit, nearer to 0 is smoother; a single reach of least jerk "
              "has -1.41.")


def add_likeness(page: Page, likenesses: Sequence[Likeness]) -> None:
    """Of motions with each other."""
    if not likenesses:
        return
    page.heading("Agreement")
    page.table(["between", "mean cosine", "95 % interval", "less than 90 degrees apart", "ticks", "how"], [
        [like.what, f"{like.cosine.mean:+.2f}",
         f"{like.cosine.low:+.2f} to {like.cosine.high:+.2f}" if like.cosine.blocks > 1 else "one block only",
         f"{like.cosine.share:.0%}", f"{like.cosine.ticks} in {like.cosine.blocks} blocks", like.note]
        for like in likenesses])
    page.text("Cosine of the angle between the two tip velocities, while both move faster than a tenth of their "
              "fastest: 1 is the same way, 0 no relation. Intervals are Student's over blocks of 2 s, since what "
              "follows within a block is not independent.")


def add_latency(page: Page, lanes: Sequence[Lane], latencies: Told) -> None:
    """In an element of its own: the one part of the page that differs from run to run."""
    parts = []
    for lane, told in zip(lanes, latencies["policies"], strict=True):
        if told["count"]:
            parts.append(f"<h3>{html.escape(lane.name)}: median {told['p50_ms']:.2f} ms, p99 "
                         f"{told['p99_ms']:.2f} ms, longest {told['longest_ms']:.1f} ms</h3>{_bars(told['counts'])}")
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
        bars.append(f"<g><title>{low:.2f} to {high:.2f} ms: {counts[at]} frames</title><rect "
                    f"x='{place * wide:.1f}' y='0' width='{wide:.1f}' height='124' fill-opacity='0'/>"
                    f"<rect x='{place * wide + .5:.1f}' "
                    f"y='{124 - tall:.1f}' width='{wide - 1:.1f}' height='{tall:.1f}'/></g>")
        if place % max(1, (last - first + 1) // 6) == 0:
            marks.append(f"<text x='{place * wide:.1f}' y='140'>{low:.2g} ms</text>")
    return (f"<svg class='bars' viewBox='0 0 660 144' width='660' role='img' aria-label='histogram of latencies'>"
            f"{''.join(bars)}{''.join(marks)}</svg>")


def add_origin(page: Page, lanes: Sequence[Lane], replay: Replay) -> None:
    """What the report came of."""
    page.heading("How this was made")
    span = replay.span
    lines = [f"from {span.start:g} s on, {'to the end' if np.isinf(span.duration) else f'{span.duration:g} s'}, "
             f"asked at {span.rate:g} Hz"]
    for lane in lanes:
        bundle, (top, left, height, width) = lane.playback.bundle, lane.playback.region
        lines.append(f"{lane.name}: bundle {bundle.fingerprint}, made for {bundle.task}; looks at {width}x{height} px "
                     f"at {top},{left}; its actions are in {lane.table}")
    page.code("\n".join(lines))


def _or_dash(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "-"


def clock(seconds: float) -> str:
    """As minutes and seconds."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}" if minutes else f"{rest:.1f} s"
