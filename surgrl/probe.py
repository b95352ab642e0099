"""A linear probe: how well the places of things are read off frozen features of pictures that no training saw."""

import numpy as np
import torch
from sklearn.linear_model import RidgeCV

from models.sight import Sight

from .config import Config
from .interventions import Sampler
from .policy.image import stacked
from .policy.spec import Array
from .world import FIRST_UNSEEN_SEED

STRENGTHS = np.logspace(-1, 5, 13)      # of the ridge, chosen by leave-one-out on the pictures that it learns from


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
    """R2 (K,) and root mean square error (K,) in m on every fourth picture, learnt from the others."""
    with torch.inference_mode():
        codes = np.concatenate([encoder(torch.from_numpy(images[k:k + 64])).numpy() for k in range(0, len(images), 64)])
    held = np.arange(len(images)) % 4 == 3
    mean, spread = codes[~held].mean(0), codes[~held].std(0) + 1e-6
    codes = (codes - mean) / spread
    read = RidgeCV(STRENGTHS, alpha_per_target=True).fit(codes[~held], places[~held]).predict(codes[held])
    error = np.square(read - places[held]).mean(0)
    return 1 - error / places[held].var(0), np.sqrt(error)
