"""Violation of expectation (Piloto et al. 2022): how much more an impossible pair surprises than a possible one."""

from collections.abc import Sequence
from math import fsum
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.plato.model import Plato

from .intervals import t_half, wilson
from .policy.spec import Array
from .quadruplets import Quadruplet


class Codes(NamedTuple):
    """A quadruplet as a network sees it: equal frames have equal codes, since they are made once."""

    possible: Tensor        # (2, T, K, D)
    impossible: Tensor      # (2, T, K, D)


def encode(plato: Plato, quadruplet: Quadruplet) -> Codes:
    """Codes of the two possible films, and their ends exchanged."""
    first, second = (plato.encode(film.images, film.labels) for film in quadruplet.possible)
    cut = quadruplet.cut
    return Codes(torch.stack([first, second]), torch.stack([torch.cat([first[:cut], second[cut:]]),
                                                            torch.cat([second[:cut], first[cut:]])]))


def unchanged(codes: Tensor) -> Tensor:
    """(B, T, K, D) -> (B, T - 1, K): surprise of one who expects that nothing ever changes."""
    return (codes[:, 1:] - codes[:, :-1]).square().sum(-1)


def pair_surprise(errors: Tensor) -> float:
    """S of a pair: the sum of all (2, T - 1, K). Exact, so that equal errors in another order tie."""
    return fsum(errors.flatten().tolist())


def figures(possible: Sequence[float], impossible: Sequence[float]) -> dict[str, Any]:
    """S of each quadruplet's pairs -> accuracy 1[S_impossible > S_possible], relative surprise, 95 % intervals.

    Relative surprise: (S_i - S_p) / (S_i + S_p). A tie is no success, and is told.
    """
    p, i = np.array(possible), np.array(impossible)
    relative = (i - p) / (i + p)
    accuracy, half = float((i > p).mean()), t_half(relative)
    return {"quadruplets": len(p), "accuracy": accuracy, "accuracy_95": list(wilson(accuracy, len(p))),
            "ties": float((i == p).mean()), "relative": float(relative.mean()),
            "relative_95": [float(relative.mean() - half), float(relative.mean() + half)],
            "surprise_possible": float(p.mean()), "surprise_impossible": float(i.mean())}


def frame_surprise(errors: Tensor) -> Array:
    """(B, T - 1, K) -> (B, T): all objects together; 0 in the first frame, of which nothing was expected."""
    return np.pad(errors.sum(-1).numpy(), ((0, 0), (1, 0)))
