"""A linear probe: how well the places of things are read off frozen features of pictures that no training saw."""

import numpy as np
import torch

from models.sight import Sight

from .config import Config
from .interventions import Sampler
from .policy.image import stacked
from .policy.spec import Array
from .world import FIRST_UNSEEN_SEED

STRENGTHS = np.logspace(0, 8, 17)       # of the ridge, chosen for each place on folds of what is learnt from


def pictures_of(config: Config, count: int) -> tuple[Array, Array, list[str]]:
    """Images (N, 3, H, W) uint8, and where the instrument's tip and the things are: (N, K) m, with their names.

    Arm, things and tissue are drawn apart, so that none of them tells the other.
    """
    rng, sampler = np.random.default_rng(0), Sampler(config)
    try:
        states = sampler.states(range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + count), count, rng)
        moments, factors, names = sampler.factors(states, rng)
    finally:
        sampler.close()
    places = [k for k, name in enumerate(names) if name.endswith((" x", " y", " z"))]
    return np.stack([stacked([moment.frame]) for moment in moments]), factors[:, places], [names[k] for k in places]


def probe(encoder: Sight, images: Array, places: Array) -> tuple[Array, Array]:
    """R2 (K,) and root mean square error (K,) in m on the last quarter of the pictures, learnt from the others.

    Pictures come episode by episode, so things lie elsewhere in that quarter than in what is learnt from.
    """
    with torch.inference_mode():
        codes = np.concatenate([encoder(torch.from_numpy(images[k:k + 64])).numpy() for k in range(0, len(images), 64)])
    first = len(images) * 3 // 4
    codes, asked = np.split(codes / codes[:first].std(), [first])       # one scale for all numbers of a code
    known, true = np.split(places, [first])
    folds = np.array_split(np.arange(first), 4)                         # in a row: of other episodes, too
    tried = [_ridge(np.delete(codes, fold, 0), np.delete(known, fold, 0), codes[fold]) - known[fold] for fold in folds]
    missed = sum(np.square(error).sum(1) for error in tried)            # (S, K)
    read = _ridge(codes, known, asked)[missed.argmin(0), :, np.arange(known.shape[1])].T        # (N, K)
    error = np.square(read - true).mean(0)
    return 1 - error / true.var(0), np.sqrt(error)


def _ridge(codes: Array, places: Array, asked: Array) -> Array:
    """Ridge regression learnt from (N, D) and (N, K), at (M, D): (S, M, K), a reading for each of S strengths."""
    middle, mean = codes.mean(0), places.mean(0)
    left, size, right = np.linalg.svd(codes - middle, full_matrices=False)
    along, wanted = (asked - middle) @ right.T, left.T @ (places - mean)
    return np.stack([along @ ((size / (size ** 2 + strength))[:, None] * wanted) + mean for strength in STRENGTHS])
