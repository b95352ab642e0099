"""Surfaces painted by number: moist tissue with vessels, drawn from a seed."""

import cv2
import numpy as np

from .geometry import Array


def cloud(rng: np.random.Generator, size: int, octaves: tuple[int, ...]) -> Array:
    """Smooth noise of several grains: (size, size) float32 with mean 0 and standard deviation 1."""
    total = np.zeros((size, size), np.float32)
    for octave in octaves:
        grains = rng.standard_normal((octave, octave)).astype(np.float32)
        total += cv2.resize(grains, (size, size), interpolation=cv2.INTER_CUBIC) / np.sqrt(octave)
    return (total - total.mean()) / total.std()


def tissue(rng: np.random.Generator, size: int = 512, base: tuple[float, ...] = (205, 118, 104)) -> Array:
    """Moist tissue: (size, size, 3) uint8 RGB, mottled around `base`, with branching vessels."""
    shade, blush, fine = cloud(rng, size, (4, 8, 16)), cloud(rng, size, (6, 12)), cloud(rng, size, (64, 128))
    image = (np.array(base, np.float32) + shade[..., None] * [11, 10, 9] + blush[..., None] * [4, -9, -7]
             + fine[..., None] * [4, 4, 4])
    vessels = np.zeros((size, size), np.float32)
    for _ in range(16):
        _vessel(vessels, rng, rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi), width=size / 130.0, size=size)
    vessels = cv2.GaussianBlur(vessels, (0, 0), size / 900)[..., None]
    blood = np.array(base, np.float32) * [150 / 205, 42 / 118, 48 / 104]
    image = image * (1 - vessels) + blood * vessels
    return np.clip(image, 0, 255).astype(np.uint8)


def fat(rng: np.random.Generator, size: int = 320) -> Array:
    """Fat under peritoneum: (size, size, 3) uint8 RGB. Above: its upper side; below: its raw, paler underside."""
    half = size // 2
    upper = _lobules(rng, size, cells=520, base=(236, 176, 120), seam=(218, 138, 98))
    film = np.clip(0.35 + 0.22 * cloud(rng, size, (4, 8)), 0, 0.75)[..., None]        # peritoneum over it
    upper = upper * (1 - film) + np.array([222.0, 124.0, 102.0], np.float32) * film
    vessels = np.zeros((size, size), np.float32)
    for _ in range(6):
        _vessel(vessels, rng, rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi), width=size / 60.0, size=size)
    vessels = cv2.GaussianBlur(vessels, (0, 0), size / 700)[..., None]
    upper = upper * (1 - vessels) + np.array([146.0, 34.0, 40.0], np.float32) * vessels
    under = _lobules(rng, size, cells=260, base=(242, 208, 166), seam=(232, 172, 140))
    both = np.concatenate([cv2.resize(side, (size, half), interpolation=cv2.INTER_AREA) for side in (upper, under)])
    return np.clip(both, 0, 255).astype(np.uint8)


def tumour(rng: np.random.Generator, size: int = 256) -> Array:
    """A lesion: (size, size, 3) uint8 RGB, dark and mottled, with pale necrotic spots."""
    shade, spots, fine = cloud(rng, size, (4, 8)), cloud(rng, size, (7, 11)), cloud(rng, size, (32, 64))
    image = np.array([98.0, 34.0, 62.0], np.float32) + shade[..., None] * [20, 8, 14] + fine[..., None] * [7, 4, 6]
    pale = np.clip(spots - 1.1, 0, 1)[..., None]
    image = image * (1 - pale) + np.array([214.0, 188.0, 158.0], np.float32) * pale
    return np.clip(image, 0, 255).astype(np.uint8)


def _lobules(rng: np.random.Generator, size: int, cells: int, base: tuple, seam: tuple) -> Array:
    """Cells of fat around random seeds, darker where they meet (Worley 1996): (size, size, 3) float32."""
    seeds = np.full((size, size), 255, np.uint8)
    rows, columns = rng.integers(0, size, (2, cells))
    seeds[rows, columns] = 0
    distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 5) * np.sqrt(cells) / size
    depth = np.clip(1.9 * distance - 0.45, 0, 1)[..., None]
    grain = cloud(rng, size, (16, 64))[..., None]
    return np.array(base, np.float32) * (1 - depth) + np.array(seam, np.float32) * depth + 6 * grain


def mucosa(rng: np.random.Generator, size: int = 512) -> Array:
    """The colon's lining: (size, size, 3) uint8 RGB, pale pink under a net of fine vessels; it repeats seamlessly."""
    period = size // 2
    shade, blush, fine = (np.roll(np.pad(cloud(rng, period, octaves), ((0, period), (0, period)), mode="symmetric"),
                                  rng.integers(size, size=2), axis=(0, 1))      # mirrored, so that it repeats
                          for octaves in ((3, 5, 9), (4, 8), (40, 80)))
    image = (np.array([222.0, 142.0, 124.0], np.float32) + shade[..., None] * [9, 12, 11]
             + blush[..., None] * [4, -8, -7] + fine[..., None] * [3, 4, 4])
    wide = np.zeros((2 * size, 2 * size), np.float32)       # what leaves one edge comes in by the other
    for _ in range(26):
        start = rng.uniform(0.5 * size, 1.5 * size, 2)
        _vessel(wide, rng, start, rng.uniform(0, 2 * np.pi), width=rng.uniform(0.6, 1.0) * size / 140, size=size)
    vessels = wide.reshape(2, size, 2, size).max(axis=(0, 2))
    vessels = cv2.GaussianBlur(vessels, (0, 0), size / 600, borderType=cv2.BORDER_REFLECT)[..., None]
    image = image * (1 - 0.8 * vessels) + np.array([158.0, 58.0, 58.0], np.float32) * 0.8 * vessels
    return np.clip(image, 0, 255).astype(np.uint8)


def _vessel(canvas: Array, rng: np.random.Generator, start: Array, heading: float, width: float, size: int) -> None:
    """Draw a vessel as a wandering line that thins and branches, onto a square canvas in 0..1. size: its scale, px."""
    point, step = np.array(start), size / 100
    while width > size / 1000 and (point > -step).all() and (point < len(canvas) + step).all():
        heading += rng.normal(0, 0.22)
        after = point + step * np.array([np.cos(heading), np.sin(heading)])
        ends = [tuple(int(round(v * 16)) for v in p) for p in (point, after)]
        cv2.line(canvas, ends[0], ends[1], float(min(0.75, 0.35 + width * 80 / size)), max(1, round(width)),
                 cv2.LINE_AA, 4)
        if rng.random() < 0.12:
            _vessel(canvas, rng, after, heading + rng.choice([-1, 1]) * rng.uniform(0.4, 0.9), width * 0.6, size)
        point, width = after, width * 0.975
