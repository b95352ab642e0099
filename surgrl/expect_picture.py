"""The picture of `surgrl expect`: a possible and an impossible film of each concept, and how each frame surprises."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from models.plato.model import Plato

from .palette import ACCENT, INK, SECOND, SOFT
from .policy.spec import Array
from .quadruplets import Quadruplet
from .surprise import encode, frame_surprise

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  the backend must be chosen first
from matplotlib.axes import Axes  # noqa: E402

AROUND = (-6, -3, -1, 0, 2, 4)      # frames that are shown, from the first one after the cut
COLOURS = {"possible": SECOND, "impossible": ACCENT}


def draw(path: Path, plato: Plato, shown: Sequence[Quadruplet]) -> None:
    """PNG with two rows for each quadruplet: the first possible film, and the impossible one that begins like it.

    The curves are means of both films of a pair, whose sum is scored.
    """
    figure, grid = plt.subplots(2 * len(shown), len(AROUND) + 1, figsize=(13, 2.9 * len(shown)), squeeze=False,
                                width_ratios=[1] * len(AROUND) + [3.2], layout="constrained")
    for block, quadruplet in enumerate(shown):
        rows, codes = grid[2 * block:2 * block + 2], encode(plato, quadruplet)
        for axes, (name, colour), film in zip(rows, COLOURS.items(),
                                              (quadruplet.possible[0], quadruplet.impossible[0]), strict=True):
            for axis, offset in zip(axes, AROUND, strict=False):
                frame = min(max(quadruplet.cut + offset, 0), len(film.images) - 1)
                changed = name == "impossible" and frame >= quadruplet.cut
                _show(axis, film.images[frame], colour if changed else SOFT)
                axis.set_xlabel(f"frame {frame}", fontsize=8, color=INK, labelpad=1)
            axes[0].set_ylabel(name, fontsize=10, color=colour)
        rows[0][0].set_title(" ", fontsize=11)      # room for a text that is wider than the picture under it
        rows[0][0].text(0, 1.06, f"{quadruplet.concept}: {quadruplet.kind}", fontsize=11, color=INK,
                        transform=rows[0][0].transAxes, in_layout=False)
        for axis in rows[:, -1]:
            axis.remove()
        _curves(figure.add_subplot(grid[0, 0].get_gridspec()[2 * block:2 * block + 2, -1]), quadruplet.cut,
                {"possible": frame_surprise(plato.surprise(codes.possible)).mean(0),
                 "impossible": frame_surprise(plato.surprise(codes.impossible)).mean(0)})
    figure.savefig(path, dpi=100, format="png")
    plt.close(figure)


def _show(axis: Axes, image: Array, colour: str) -> None:
    axis.imshow(image)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(2 if colour != SOFT else 0.8)


def _curves(axis: Axes, cut: int, curves: dict[str, Array]) -> None:
    """curves: surprise (T,) of each frame."""
    axis.axvline(cut - 0.5, color=SOFT, linewidth=6)
    for name, values in curves.items():
        frames = np.arange(1, len(values))
        axis.plot(frames, values[1:], color=COLOURS[name], marker="o", markersize=3, linewidth=1.6, label=name)
    axis.set_ylim(0)
    axis.set_ylabel("surprise, mean of the pair", fontsize=9, color=INK)
    axis.set_xlabel("frame", fontsize=9, color=INK)
    axis.tick_params(colors=INK, labelsize=8)
    axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    for name, spine in axis.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(SOFT)
