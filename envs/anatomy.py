"""The shape of colons, drawn by lot: where they run, how wide they are, where they fold.

Sizes are assumed, of an insufflated adult colon: 18-30 mm in radius, a caecum somewhat wider; the length is a stretch
that suits an episode, a third of the whole.
"""

import numpy as np

from .geometry import Array, rotations_by

STATIONS, SIDES, CAP = 120, 24, 8       # rings along the tube, vertices of a ring, rings of them that close the caecum
LENGTH = (0.50, 0.70)                   # m, from the entry to where the caecum begins to close
RADIUS = (0.018, 0.030)                 # m, of the lumen between folds
CAECUM_RADIUS = 0.034                   # m, at most
THROAT = 0.013                          # m, radius that no fold narrows the lumen below
CURVATURE = 22.0                        # 1/m, of the centre line: bends of 45 mm or wider, more than the radius
APART, NEIGHBOURS = 0.075, 0.150        # m, between parts of the centre line that lie farther along it than that


def centre_line(rng: np.random.Generator, tube: int, step: float, cap: Array) -> tuple[Array, Array]:
    """Points (N, 3) m and rotation-minimising frames (N, 3, 3), z along the line, of a tube and its straight cap.

    A random curvature, bounded, is integrated; a line that comes near itself is drawn anew, each time straighter.
    """
    at = np.arange(tube) * step
    all_at = np.concatenate([at, at[-1] + cap])
    calm = np.clip(np.minimum(at / 0.03, (at[-1] - at) / 0.05), 0, 1)[:, None]      # straight at entry and caecum
    apart = np.abs(np.subtract.outer(all_at, all_at)) > NEIGHBOURS
    wildness = 0.9
    while True:
        noise = wildness * _smooth(rng, at, 0.07, 2)
        bend = CURVATURE * calm * noise / np.sqrt(1 + np.square(noise).sum(axis=1, keepdims=True))     # (n, 2) 1/m
        turns = rotations_by(np.column_stack([-bend[:, 1], bend[:, 0], np.zeros(tube)]) * step)
        turns[0] = np.eye(3)
        hop = 1
        while hop < tube:       # all prefix products in log2(n) passes
            turns[hop:] = turns[:-hop] @ turns[hop:]
            hop *= 2
        heading = turns[:, :, 2]
        points = np.zeros((tube, 3))
        points[1:] = np.cumsum((heading[:-1] + heading[1:]) / 2 * step, axis=0)
        points = np.concatenate([points, points[-1] + cap[:, None] * heading[-1]])
        gaps = np.square(points).sum(axis=1)[:, None] + np.square(points).sum(axis=1) - 2 * points @ points.T
        if (gaps[apart] > APART ** 2).all():
            break
        wildness *= 0.95
    return points, np.concatenate([turns, np.repeat(turns[-1:], len(cap), axis=0)])


def bore(rng: np.random.Generator, tube: int, step: float, angle: Array) -> tuple[Array, float]:
    """Radius (n, S) m of the tube's wall, and that (m) of the caecum's end.

    Folds are semilunar: each spans a third of the circumference between two taeniae, its crest triangular along the
    tube; three of them, not quite abreast, make the triangular lumen of the transverse colon.
    """
    at = np.arange(tube) * step
    width = rng.uniform(0.021, 0.026) * (1 + 0.10 * _smooth(rng, at, 0.10, 1))
    width = np.clip(width, *RADIUS)
    to_end = at[-1] - at[:, None]
    pouch = float(min(1.15 * width[-1, 0], CAECUM_RADIUS))
    width = width + (pouch - width) * np.clip(1 - to_end / 0.05, 0, 1)
    taenia = rng.uniform(0, 2 * np.pi) + 0.5 * _smooth(rng, at, 0.25, 1)                # (n, 1) rad
    radius = width * (1 - 0.05 * np.cos(3 * (angle - taenia)))
    narrowing = np.zeros((tube, len(angle)))
    place = rng.uniform(0.015, 0.03)
    while place < at[-1] - 0.045:
        for sector in range(3):
            turn = angle - taenia - (2 * sector + 1) * np.pi / 3
            turn = (turn + np.pi) % (2 * np.pi) - np.pi
            crest = place + rng.uniform(-0.007, 0.007)
            span = np.clip(np.cos(1.35 * turn), 0, 1) ** 0.6 * (np.abs(turn) < 1.15)
            ridge = np.clip(1 - np.abs(at - crest) / rng.uniform(0.006, 0.009), 0, 1)[:, None]
            narrowing = np.maximum(narrowing, rng.uniform(0.12, 0.45) * span * ridge)
        place += rng.uniform(0.022, 0.036)
    radius = np.maximum(radius * (1 - narrowing), THROAT)
    radius[-1] = pouch
    return radius, pouch


def _smooth(rng: np.random.Generator, at: Array, grain: float, columns: int) -> Array:
    """Noise (len(at), columns) of unit variance at its knots, which lie `grain` m apart; linear between them."""
    knots = rng.normal(0, 1, (int(at[-1] / grain) + 2, columns))
    return np.column_stack([np.interp(at, grain * np.arange(len(knots)), knot) for knot in knots.T])
