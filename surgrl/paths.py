"""Possible paths of an instrument's tip: free wandering, the shaft's sweep over a marker, work beside a flap."""

import numpy as np

from .films import FRAMES, HIGH, LOW, SOLID, SPEED, Studio, Wall
from .policy.spec import Array

BELOW = 0.010           # m over the tissue, under which the tip stays beside a flap: lower than any flap is high
COVER = 0.0005          # m, across the shaft, from its axis to the line of sight of what it is to hide
TRIES = 200             # draws before a path counts as not to be had


def wander(studio: Studio, rng: np.random.Generator, start: Array | None = None) -> Array:
    """(FRAMES, 3) m: from a place to the next, at changing speed, down to the tissue and along it at times."""
    tip = rng.uniform(LOW, HIGH) if start is None else np.asarray(start, float)
    tip, goal, pace = studio.lowest(tip), rng.uniform(LOW, HIGH), rng.uniform(0.3, 1.0)
    path = [tip]
    while len(path) < FRAMES:
        if np.linalg.norm(goal - tip) < 0.004:
            goal, pace = rng.uniform(LOW, HIGH), rng.uniform(0.3, 1.0)
        # A goal below the tissue is pressed against: that is how it shows that it is solid.
        tip = studio.lowest(tip + limited(goal - [0, 0, 0.004] - tip, pace * SPEED * studio.step))
        path.append(tip)
    return np.stack(path)


def beside(studio: Studio, rng: np.random.Generator, wall: Wall, side: int, *, obeys: bool = True) -> Array:
    """(FRAMES, 3) m: work on one side, -1 or +1, of a flap, pushing against it at times. obeys: whether it stops."""
    low, high = (np.array([wall.low + 0.004, 0.0]), np.array([wall.high - 0.004, BELOW]))

    def draw() -> Array:
        y, above = rng.uniform(low, high)
        x = wall.middle(y, above) + side * rng.uniform(-0.010, 0.022)      # every third lies beyond: it pushes
        return np.array([x, y, above])
    tip, goal, pace = draw(), draw(), rng.uniform(0.3, 1.0)
    tip[0] = wall.middle(*tip[1:]) + side * rng.uniform(SOLID, 0.02)
    path = [tip]
    while len(path) < FRAMES:
        if np.linalg.norm(goal - tip) < 0.003 or rng.random() < 0.1:
            goal, pace = draw(), rng.uniform(0.3, 1.0)
        tip = tip + limited(goal - tip, pace * SPEED * studio.step)
        if obeys:
            tip[0] = kept(wall, tip, side)
        path.append(tip)
    return np.stack([over_ground(studio, tip) for tip in path])


def sweep(studio: Studio, rng: np.random.Generator, marker: Array) -> tuple[Array, range] | None:
    """A path (FRAMES, 3) m on which the shaft comes between eye and marker, and the frames in which it dwells there.

    None where the arm cannot reach so far.
    """
    target = np.array([*marker, studio.ground(*marker) + 0.0035])
    for _ in range(TRIES):
        hidden = studio.eye + rng.uniform(0.55, 0.92) * (target - studio.eye)
        along = (hidden - studio.trocar) / np.linalg.norm(hidden - studio.trocar)
        middle = hidden + rng.uniform(0.004, 0.03) * along + studio.wrist_to_tip
        across = np.cross(along, target - studio.eye)
        across /= np.linalg.norm(across)
        dwell = int(rng.integers(3, 6))
        start = int(rng.integers(4, FRAMES - dwell - 3))
        pace = rng.uniform(0.003, 0.0065)       # m in a frame
        direction = rng.choice([-1, 1]) * across
        back = rng.choice([-1, 1])              # on, or back the way it came
        offset = np.array([min(k - start, 0) + back * max(k - start - dwell + 1, 0) for k in range(FRAMES)])
        path = middle + rng.uniform(-COVER, COVER) * across + pace * offset[:, None] * direction
        fits = ((path >= LOW - 0.006) & (path <= HIGH + 0.008)).all()
        if fits and all(tip[2] >= studio.lowest(tip)[2] for tip in path):
            return path, range(start, start + dwell)
    return None


def limited(step: Array, longest: float) -> Array:
    """A step (3,) m, no longer than `longest` m along any axis."""
    return step / max(1.0, float(np.abs(step).max()) / longest)


def kept(wall: Wall, tip: Array, side: int) -> float:
    """x (m) of a tip (x, y, height over the tissue), kept on its side of the flap."""
    edge = wall.middle(*tip[1:]) + side * SOLID
    return max(tip[0], edge) if side > 0 else min(tip[0], edge)


def over_ground(studio: Studio, tip: Array) -> Array:
    """(x, y, height over the tissue) m -> (x, y, z) m."""
    return studio.lowest(np.array([tip[0], tip[1], tip[2] + studio.ground(*tip[:2])]))


def stand(rng: np.random.Generator) -> Wall:
    """A flap anywhere in the field."""
    middle, half = rng.uniform(-0.004, 0.008), rng.uniform(0.020, 0.026)
    return Wall(rng.uniform(-0.014, 0.014), rng.uniform(-0.25, 0.25), rng.uniform(0.05, 0.25),
                rng.uniform(0.011, 0.014), middle - half, middle + half)
