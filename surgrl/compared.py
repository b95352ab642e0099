"""Policies against each other, and against what the robot of a recording did: by the direction of the tip's motion."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .agreement import BLOCK, Agreement, Cosine
from .policy.spec import Array
from .recordings import Track
from .trace import Window, windows

HALF = 0.1          # s, half of the span over which a recorded position is differentiated
VELOCITY = (("v_x", "v_y", "v_z"), ("vx", "vy", "vz"), ("linear_x", "linear_y", "linear_z"))
POSITION = (("x", "y", "z"), ("p_x", "p_y", "p_z"), ("position_x", "position_y", "position_z"))
Velocity = Callable[[Array], Array]     # (T,) s -> (T, 3) m/s, NaN where nothing is known


class Table(NamedTuple):
    """Actions of one policy, as `surgrl replay` writes them, and how to read them."""

    path: Path
    names: Sequence[str]        # of the action
    axes: list[int | None]      # of the action, which are v_x, v_y, v_z
    rate: float                 # Hz
    fastest: float              # m/s


class Likeness(NamedTuple):
    """How alike two motions are."""

    what: str               # the two
    cosine: Cosine
    note: str


def compare(tables: Sequence[Table], tracks: Mapping[str, Track]) -> list[Likeness]:
    """The first policy against the second, if any, and each against every track that tells a velocity or a place."""
    found = []
    if len(tables) > 1:
        told = _cosine(tables[0], tables[1].fastest, (window.wanted for window in _windows(tables[1])))
        if told:
            found.append(Likeness("the two policies", told, "what they want, before the gate"))
    for name, track in tracks.items():
        velocity = velocity_of(track)
        if velocity is None:
            continue
        moving = velocity(track.time)
        sizes = np.linalg.norm(moving[np.isfinite(moving).all(axis=1)], axis=1)
        if not len(sizes) or not (fastest := float(np.percentile(sizes, 95))) > 0:
            continue
        for at, table in enumerate(tables):
            who = f"{'second policy' if at else 'policy'} and {name}"
            told = _cosine(table, fastest, (velocity(window.time) for window in _windows(table)))
            if told:
                found.append(Likeness(who, told, "axes of the recording taken as those of the camera"))
            turned = _turned(table, fastest, velocity)
            if turned:
                found.append(Likeness(f"{who}, turned", turned, "recorded axes turned to fit best in every other "
                                      f"{BLOCK:g} s; told of the others"))
    return found


def velocity_of(track: Track) -> Velocity | None:
    """The tip's velocity that a track tells, by the names of its entries; None where it tells none."""
    for names in VELOCITY:
        if set(names) <= set(track.names):
            return _interpolated(track, names)
    for names in POSITION:
        if set(names) <= set(track.names):
            place = _interpolated(track, names)
            return lambda time: (place(time + HALF) - place(time - HALF)) / (2 * HALF)
    return None


def _interpolated(track: Track, names: Sequence[str]) -> Velocity:
    columns = [track.values[:, track.names.index(name)] for name in names]
    return lambda time: np.stack([np.interp(time, track.time, column, np.nan, np.nan) for column in columns], axis=1)


def _windows(table: Table) -> Iterator[Window]:
    return windows(table.path, len(table.names), table.rate, table.axes)


def _cosine(table: Table, fastest: float, others: Iterable[Array]) -> Cosine | None:
    """Against other velocities (T, 3), window by window."""
    agreement = Agreement(table.rate, (table.fastest, fastest))
    for window, other in zip(_windows(table), others, strict=False):
        agreement.add(window.wanted, other)
    return agreement.told()


def _turned(table: Table, fastest: float, velocity: Velocity) -> Cosine | None:
    """With the rotation that fits best (Kabsch 1976) in blocks of even number, in the blocks between."""
    agreement = Agreement(table.rate, (table.fastest, fastest))
    together = np.zeros((3, 3))
    for window in _windows(table):
        one, other, even = _halves(window, velocity, agreement.ticks)
        good = even & np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
        together += other[good].T @ one[good]
    if not together.any():
        return None
    left, _, right = np.linalg.svd(together)
    turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right          # row vectors: recorded @ turn
    for window in _windows(table):
        one, other, even = _halves(window, velocity, agreement.ticks)
        agreement.add(one, np.where(even[:, None], np.nan, other @ turn))
    return agreement.told()


def _halves(window: Window, velocity: Velocity, ticks: int) -> tuple[Array, Array, Array]:
    """Wanted and recorded velocities (T, 3), and whether each tick is of a block of even number."""
    return window.wanted, velocity(window.time), np.arange(len(window.time)) // ticks % 2 == 0
