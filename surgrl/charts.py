"""Charts, as SVG text."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  the backend must be chosen first
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import NullLocator  # noqa: E402

from .palette import ACCENT, INK, SECOND, SERIES, SOFT  # noqa: E402
from .records import Group, aligned, success_curve  # noqa: E402

# Text stays text, in whatever sans-serif font the reader has; the salt makes the same chart the same file.
matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "surgrl", "font.family": "sans-serif",
                        "text.color": INK}
AXES = {"step": "environment steps of its own", "seconds": "minutes of training", "update": "learning steps"}
SCALES = {"step": 1, "seconds": 60, "update": 1}
POINTS = 200            # of a curve of metrics: more are not seen, and make the page large
UNEQUAL = 6             # longest over shortest training above which their common axis is logarithmic
LOG_RANGE = 30          # largest over smallest value above which a positive metric is shown by its logarithm
COLUMNS = 4             # of small multiples


def success_curves(groups: Sequence[Group], axes: Sequence[str] = ("step", "seconds"), legend: bool = True) -> str:
    """Success of every group over steps and over wall time, each a line in its 95 % interval."""
    figure, panels = plt.subplots(1, len(axes), figsize=(11, 3.4), layout="constrained", sharey=True, squeeze=False)
    for name, axis in zip(axes, panels[0], strict=True):
        lengths, first = [], np.inf
        for k, group in enumerate(groups):
            curve, (colour, style) = success_curve(group, name), series(k)
            x = curve.x / SCALES[name]
            lengths.append(max(*x, 0.0))
            first = min(first, *x[x > 0], np.inf)
            axis.fill_between(x, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
            if len(x) == 1:         # trained first, evaluated once
                axis.errorbar(x, curve.mean, yerr=np.maximum([curve.mean - curve.low, curve.high - curve.mean], 0),
                              color=colour, capsize=3, linewidth=1.2)
            axis.plot(x, curve.mean, color=colour, linestyle=style, linewidth=1.8, marker="o", markersize=3.5,
                      label=group.label)
        axis.set_ylim(-0.03, 1.05)
        _from_zero(axis, lengths, first)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        _dress(axis, "success on unseen seeds, 95 % interval", AXES[name])
    if legend:
        _legend(figure, panels[0][0])
    return _svg(figure)


def _from_zero(axis: Axes, lengths: Sequence[float], first: float) -> None:
    """From 0 to the end of the longest curve; by the logarithm from `first` on, where a short one would be a speck."""
    longest = max(lengths, default=0.0) or 1.0
    if longest > UNEQUAL * min((length for length in lengths if length > 0), default=longest):
        axis.set_xscale("symlog", linthresh=first, linscale=0.5)
        axis.set_xlim(-0.1 * first, 1.15 * longest)
        axis.set_xticks([0, *(first * 3.0 ** k for k in range(20) if first * 3.0 ** k <= longest)])
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}" if value < 1000 else f"{value / 1000:.2g}k")
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.set_xlim(-0.03 * longest, 1.03 * longest)         # whole markers


def metric_curves(groups: Sequence[Group], names: Sequence[str], titles: Sequence[str] | None = None,
                  axis: str = "update") -> str:
    """Small multiples: one panel for each metric, the groups' means in it, their seeds faint behind."""
    across = min(COLUMNS, max(2, len(names)))
    rows = -(-len(names) // across)
    figure, panels = plt.subplots(rows, across, figsize=(11, 2.2 * rows + 0.3), layout="constrained", squeeze=False)
    for panel in panels.flat[len(names):]:
        panel.set_visible(False)
    for place, (name, title, panel) in enumerate(zip(names, titles or names, panels.flat, strict=False)):
        told = []
        for k, group in enumerate(groups):
            tables = [record.metrics for record in group.records if name in record.metrics]
            x, values = aligned(tables, axis, name)
            if not len(x):
                continue
            chosen = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))
            x, values, (colour, style) = x[chosen] / SCALES[axis], values[:, chosen], series(k)
            if len(values) > 1:
                panel.plot(x, values.T, color=colour, linewidth=0.6, alpha=0.35)
            panel.plot(x, values.mean(axis=0), color=colour, linestyle=style, linewidth=1.5, label=group.label)
            told.append(values)
        smallest, largest = min(map(np.min, told), default=0), max(map(np.max, told), default=0)
        if smallest > 0 and largest > LOG_RANGE * smallest:
            panel.set_yscale("log")
        _dress(panel, title, AXES[axis] if place >= len(names) - across else "")
    if len(groups) > 1:
        _legend(figure, *panels.flat)
    return _svg(figure)


def series(k: int) -> tuple[str, str]:
    """Colour and line style of the k-th group."""
    return SERIES[k % len(SERIES)], ("-", "--", ":")[k // len(SERIES) % 3]


def success_bars(names: Sequence[str], success: Sequence[float], low: Sequence[float], high: Sequence[float],
                 colours: Sequence[str] = ()) -> str:
    """Share of episodes with its 95 % interval, for each player."""
    figure, axis = plt.subplots(figsize=(5.4, 0.55 * len(names) + 0.9), layout="constrained")
    place, share = np.arange(len(names)), np.array(success)
    error = np.maximum([share - low, np.array(high) - share], 0)
    colours = colours or [SOFT if name in ("random policy", "scripted expert") else ACCENT for name in names]
    axis.barh(place, share, xerr=error, color=colours, ecolor=INK, capsize=3, height=0.62)
    axis.set_yticks(place, names)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.08)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _dress(axis, "", "")
    axis.grid(axis="y", visible=False)
    return _svg(figure)


def latency_histogram(latencies_ms: Sequence[float]) -> str:
    """Image-to-command latencies in ms, with median and 99th percentile."""
    values = np.array(latencies_ms)
    figure, axis = plt.subplots(figsize=(5.4, 2.5), layout="constrained")
    top = float(np.percentile(values, 99.5))
    axis.hist(np.minimum(values, top), bins=40, color=SECOND)
    for q, style in ((50, "-"), (99, "--")):
        mark = float(np.percentile(values, q))
        axis.axvline(mark, color=ACCENT, linestyle=style, label=f"p{q} {mark:.1f} ms")
    axis.legend(frameon=False, labelcolor=INK)
    _dress(axis, "", "ms from the image's stamp to the command's arrival")
    return _svg(figure)


def _legend(figure: Figure, *panels: Axes) -> None:
    """One for all panels, below them."""
    shown = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(4, max(1, len(shown))),
                  frameon=False, fontsize=9, labelcolor=INK)


def _dress(axis: Axes, title: str, x: str) -> None:
    axis.set_title(title, fontsize=10, color=INK, loc="left")
    axis.set_xlabel(x, fontsize=9, color=INK)
    axis.tick_params(colors=INK, labelsize=9)
    axis.grid(color=SOFT, linewidth=0.7)
    axis.set_axisbelow(True)
    for name, spine in axis.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(SOFT)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg"):]
