"""A table of actions as charts and figures: read once, window by window, in memory that does not grow with it."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .policy.spec import ActionSpec, Array
from .smoothness import Smoothness

BINS = 1000         # of a timeline
WINDOW = 10.0       # s, of one measure of smoothness
GATE = ("sent", "limited", "held")
PICTURE = ("ok", "hold", "latch")


@dataclass
class Window:
    """Some rows of a table."""

    first: int              # tick of the first row
    time: Array             # (T,) s
    frame: Array            # (T,) int
    action: Array           # (T, A) SI; NaN where the policy was not asked
    wanted: Array           # (T, 3) m/s, tip velocity
    sent: Array             # (T, 3) m/s
    gate: Array             # (T,) int, into GATE
    picture: Array          # (T,) int, into PICTURE
    drift: Array            # (T, 2) unlikeness and oddness
    reasons: list[str]      # of the gate
    remarks: list[str]      # of the gate of pictures


def windows(path: Path, count: int, rate: float, axes: list[int | None]) -> Iterator[Window]:
    """A table that `surgrl replay` wrote, in pieces of WINDOW.

    count: entries of the action; axes: those of them that are v_x, v_y, v_z.
    """
    size = max(8, round(WINDOW * rate))
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        at = {name: number for number, name in enumerate(next(rows))}
        first = 0
        while piece := list(islice(rows, size)):
            numbers = np.array([[_number(cell) for cell in row[:2 + count]] for row in piece])
            still = np.zeros(len(piece))
            velocity = np.stack([still if axis is None else numbers[:, 2 + axis] for axis in axes], axis=1)
            reasons = [row[at["reasons"]] for row in piece]
            gate = [2 if row[at["hold"]] == "1" else 1 if row[at["reasons"]] else 0 for row in piece]
            sent = [[float(row[at[f"sent_{name} [m/s]"]]) for name in ("v_x", "v_y", "v_z")] for row in piece]
            drift = [[_number(row[at[name]]) for name in ("unlikeness", "oddness")] for row in piece]
            yield Window(first, numbers[:, 1], numbers[:, 0].astype(int), numbers[:, 2:], velocity, np.array(sent),
                         np.array(gate), np.array([PICTURE.index(row[at["picture"]]) for row in piece]),
                         np.array(drift), reasons, [row[at["picture_reason"]] for row in piece])
            first += len(piece)


def _number(cell: str) -> float:
    return float(cell) if cell else np.nan


@dataclass
class Band:
    """One channel in bins of equal length: smallest, mean and largest of each; NaN where there is none."""

    low: Array
    mean: Array
    high: Array


@dataclass
class Reason:
    """Why the gate limited or held: numbers in it differ from tick to tick."""

    example: str
    first: int          # tick
    count: int = 0


@dataclass
class Trace:
    """All that a report shows of one policy over one recording."""

    ticks: int
    rate: float                 # Hz
    bands: dict[str, Band]      # channel -> over the bins
    gate: Array                 # (B,) into GATE, the gravest of each bin
    picture: Array              # (B,) into PICTURE
    words: list[str]            # of the gate in each bin, empty where it sent
    remarks: list[str]          # of the gate of pictures
    frames: Array               # (B,) int, of the first tick
    times: Array                # (B,) s
    wanted: Smoothness
    sent: Smoothness
    reasons: list[Reason] = field(default_factory=list)
    unlike: tuple[float, int] = (np.nan, 0)     # largest of unlikeness and oddness, and its tick

    def bin_of(self, tick: Array) -> Array:
        """The bins of ticks."""
        return np.asarray(tick * len(self.gate) // self.ticks)


def trace(path: Path, ticks: int, action: ActionSpec, rate: float, *, axes: list[int | None],
          fastest: float) -> Trace:
    """Read a table of `ticks` rows. fastest: m/s, limit of the gate."""
    bins = min(ticks, BINS)
    channels = [*action.names, "speed wanted", "speed sent", "unlikeness", "oddness"]
    lows, highs = np.full((len(channels), bins), np.inf), np.full((len(channels), bins), -np.inf)
    sums, counts = np.zeros((len(channels), bins)), np.zeros((len(channels), bins), int)
    told = Trace(ticks, rate, {}, np.zeros(bins, int), np.zeros(bins, int), [""] * bins, [""] * bins,
                 np.zeros(bins, int), np.zeros(bins), Smoothness(rate, fastest), Smoothness(rate, fastest))
    reasons: dict[str, Reason] = {}
    for window in windows(path, len(action.names), rate, axes):
        number = window.first + np.arange(len(window.time))
        place = told.bin_of(number)
        values = np.column_stack([window.action, np.linalg.norm(window.wanted, axis=1),
                                  np.linalg.norm(window.sent, axis=1), window.drift])
        for channel, column in enumerate(values.T):
            good = np.isfinite(column)
            where, some = place[good], column[good]
            np.minimum.at(lows[channel], where, some)
            np.maximum.at(highs[channel], where, some)
            np.add.at(sums[channel], where, some)
            np.add.at(counts[channel], where, 1)
        newest = np.flatnonzero(np.diff(place, prepend=-1 if not window.first else told.bin_of(np.array(
            [window.first - 1]))[0]))       # the first tick of each bin
        told.frames[place[newest]], told.times[place[newest]] = window.frame[newest], window.time[newest]
        for levels, words, grave, texts in ((told.gate, told.words, window.gate, window.reasons),
                                            (told.picture, told.remarks, window.picture, window.remarks)):
            for at in np.flatnonzero(grave):
                if grave[at] > levels[place[at]]:
                    levels[place[at]], words[place[at]] = grave[at], texts[at]
        for tick, why in zip(number.tolist(), window.reasons, strict=True):
            if why:
                reason = reasons.setdefault(re.sub(r"[-+.\d]+", "#", why), Reason(why, tick))
                reason.count += 1
        told.wanted.add(window.wanted)
        told.sent.add(window.sent)
        strangest = np.nan_to_num(window.drift, nan=-1).max(axis=1)
        if not strangest.max() <= told.unlike[0] and strangest.max() >= 0:
            told.unlike = float(strangest.max()), int(number[strangest.argmax()])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums / counts
    none = counts == 0
    lows[none], highs[none] = np.nan, np.nan
    told.bands = {name: Band(lows[at], mean[at], highs[at]) for at, name in enumerate(channels)}
    told.reasons = sorted(reasons.values(), key=lambda reason: -reason.count)
    return told


def shares(counts: dict[str, Any]) -> list[float]:
    """Of the ticks: sent as asked, limited, held."""
    whole = max(1, sum(counts.values()))
    return [counts[name] / whole for name in GATE]
