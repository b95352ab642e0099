"""Whether a picture shows the inside of a body: a plain rule on colours, so that faces and rooms can be blanked."""

import cv2
import numpy as np

from .policy.spec import Array

SIDE = 48               # px, that the rule looks at
LIT = 30                # of 255: darker pixels tell nothing about colour
RED = 1.25              # R over the mean of G and B, from which on a pixel has the colour of tissue or blood
LEAST_RED = 0.24        # share of the lit pixels: fewer, and it is no inside; benchmarks/outside.py shows both sides
LEAST_LIT = 0.02        # share of the picture: less is black, and nobody can tell


def redness(pixels: Array) -> float:
    """Share of the lit pixels of (H, W, 3) uint8 that have the colour of tissue; nan of a black picture."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    lit = small.max(axis=2) > LIT
    if lit.mean() < LEAST_LIT:
        return float("nan")
    red = small[..., 0] > RED * small[..., 1:].mean(axis=2)
    return float(red[lit].mean())


def is_outside(pixels: Array) -> bool:
    """Whether (H, W, 3) uint8 shows no inside of a body; a black picture does not count as outside."""
    return redness(pixels) < LEAST_RED
