"""The report's charts, as SVG text."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  the backend must be chosen first
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

INK, ACCENT, SECOND, SOFT = "#24303c", "#b3243c", "#1f7a8c", "#d9dee3"


def learning_curve(run: Path) -> str:
    """What the run's metrics.csv and eval.csv tell over wall time: errors falling, success rising."""
    metrics, scores = _columns(run / "metrics.csv"), _columns(run / "eval.csv")
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.9), layout="constrained")
    minutes = metrics["seconds"] / 60
    for axis, name, title, log in ((axes[0], "imitation/error", "squared error to the expert's action", True),
                                   (axes[1], "dear/mask_iou", "instrument mask read from the latent (IoU)", False)):
        if name in metrics:
            axis.plot(minutes, metrics[name], color=SECOND, linewidth=1.6)
        _dress(axis, title, "minutes of training")
        if log:
            axis.set_yscale("log")
    error = [scores["success"] - scores["low"], scores["high"] - scores["success"]]
    axes[2].errorbar(scores["seconds"] / 60, scores["success"], yerr=np.maximum(error, 0), color=ACCENT, marker="o",
                     capsize=3, linewidth=1.6)
    axes[2].set_ylim(-0.03, 1.05)
    _dress(axes[2], "success on unseen seeds (95 % interval)", "minutes of training")
    return _svg(figure)


def success_bars(names: Sequence[str], success: Sequence[float], low: Sequence[float],
                 high: Sequence[float]) -> str:
    """Share of episodes with its 95 % interval, for each player."""
    figure, axis = plt.subplots(figsize=(5.4, 0.55 * len(names) + 0.9), layout="constrained")
    place, share = np.arange(len(names)), np.array(success)
    error = np.maximum([share - low, np.array(high) - share], 0)
    colours = [SOFT if name in ("random policy", "scripted expert") else ACCENT for name in names]
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


def _columns(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else [])}


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
    figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg"):]
