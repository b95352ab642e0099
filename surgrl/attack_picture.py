"""The plot of `surgrl attack`: success over the size of the disturbance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from .evaluate import Score

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  the backend must be chosen first

from .charts import ACCENT, INK, SECOND, SOFT  # noqa: E402


def draw(path: Path, budgets: Sequence[int], lines: Mapping[str, Sequence[Score]]) -> None:
    """PNG of two lines: success with its 95 % interval. budgets: brightness steps of 255."""
    figure, axis = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
    for k, ((name, scores), colour) in enumerate(zip(lines.items(), (ACCENT, SECOND), strict=True)):
        share = np.array([score.success for score in scores])
        error = np.maximum([share - [score.low for score in scores], [score.high for score in scores] - share], 0)
        place = np.arange(len(budgets)) + 0.06 * (k - 0.5)       # aside, or one interval would hide the other
        axis.errorbar(place, share, yerr=error, color=colour, marker="o", capsize=3, linewidth=1.6, label=name)
    axis.set_xticks(np.arange(len(budgets)), [f"{budget}/255" for budget in budgets])
    axis.set_ylim(-0.03, 1.05)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_title("success on unseen seeds (95 % interval)", fontsize=10, color=INK, loc="left")
    axis.set_xlabel("largest change of a pixel", fontsize=9, color=INK)
    axis.tick_params(colors=INK, labelsize=9)
    axis.grid(color=SOFT, linewidth=0.7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, labelcolor=INK, fontsize=9)
    figure.savefig(path, dpi=130, format="png")
    plt.close(figure)
