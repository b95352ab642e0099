"""The picture of `surgrl disentangle`: what was changed, and which half of the latent noticed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from .interventions import Pictures
from .policy.spec import Array

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  the backend must be chosen first
from matplotlib.axes import Axes  # noqa: E402

from .charts import ACCENT, INK, SECOND, SOFT  # noqa: E402

CHANGES = (("instrument", "instrument moved"), ("things", "things moved"), ("tissue", "tissue repainted"))


def draw(path: Path, eyes: Any, shown: Pictures, truth: Array, figures: dict[str, Any], rows: int) -> None:
    """PNG with a row for each of the first `rows` pictures. eyes: disentangle.Eyes; truth: masks of shown.before."""
    from .disentangle import mask_iou
    before, plain = eyes.halves(shown.before), eyes.halves(shown.tissue_before)
    masks = eyes.masks(before[1])
    # 1 on the bars: as far as two pictures lie apart that share nothing, for each half by itself.
    apart = [2 * float(half.var(0).sum()) for half in before]
    titles = ["frame", "true mask", "decoded mask", *(text for _, text in CHANGES), "change of each half"]
    figure, grid = plt.subplots(rows, 7, figsize=(14.5, 2.15 * rows + 1.0), width_ratios=[1] * 6 + [1.7],
                                layout="constrained", squeeze=False)
    for row, axes in enumerate(grid):
        _show(axes[0], shown.before[row].frame)
        _show(axes[1], truth[row], "gray")
        if masks is not None:
            _show(axes[2], masks[row], "gray")
            iou = float(mask_iou(masks[row:row + 1] > 0.5, truth[row:row + 1] > 0)[0])
            axes[2].set_xlabel(f"IoU {iou:.2f}", fontsize=9, color=INK)
        else:
            axes[2].axis("off")
        moved = []
        for axis, (name, _) in zip(axes[3:6], CHANGES, strict=True):
            after = getattr(shown, name)[row]
            _show(axis, after.frame)
            start = plain if name == "tissue" else before
            now = eyes.halves([after])
            moved.append([float(np.square(now[h][0] - start[h][row]).sum()) / apart[h] for h in (1, 0)])
        _bars(axes[6], moved)
        if row == 0:
            for axis, title in zip(axes, titles, strict=True):
                axis.set_title(title, fontsize=10, color=INK, loc="left")
    limit = max(1.0, *(axes[6].get_xlim()[1] for axes in grid))      # one scale for all rows
    for axes in grid:
        axes[6].set_xlim(0, limit)
    grid[0][6].legend(frameon=False, fontsize=8, labelcolor=INK, loc="lower right")
    grid[-1][6].set_xlabel("squared distance; 1: an unrelated picture", fontsize=9, color=INK)
    figure.suptitle(f"agent half: instrument / things {figures['agent_ratio']:.0f}, "
                    f"instrument / tissue {figures['agent_ratio_tissue']:.0f}"
                    f"   |   mean |cos| {figures['abs_cos']:.3f}   |   mask IoU {figures['mask_iou']:.2f}",
                    fontsize=12, color=INK)
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)


def _show(axis: Axes, image: Array, colours: str | None = None) -> None:
    axis.imshow(image, cmap=colours, vmin=0, vmax=None if colours is None else 1)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_color(SOFT)


def _bars(axis: Axes, moved: Sequence[Sequence[float]]) -> None:
    """moved: for each change, how far agent and world half went."""
    place, values = np.arange(len(moved)), np.array(moved)
    for column, (name, colour) in enumerate((("agent half", ACCENT), ("world half", SECOND))):
        bars = axis.barh(place + (column - 0.5) * 0.38, values[:, column], height=0.36, color=colour, label=name)
        axis.bar_label(bars, [f"{value:.3f}" if value < 0.1 else f"{value:.2f}" for value in values[:, column]],
                       padding=3, fontsize=8, color=INK)
    axis.set_yticks(place, [name for name, _ in CHANGES], fontsize=9, color=INK)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.25 * float(values.max()))
    axis.axvline(1.0, color=SOFT, linewidth=1, zorder=0)
    axis.tick_params(colors=INK, labelsize=8)
    for name, spine in axis.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(SOFT)
