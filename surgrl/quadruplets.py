"""Quadruplets for violation of expectation (Piloto et al. 2022): two possible films, two impossible ones, same frames.

Two possible films are cut at the same time and their ends exchanged, so both pairs hold the same pictures, and what is
impossible is their order alone. A film that is not spliced from possible ones would be told by what it shows: an
empty picture is easy to predict for a network that has learnt nothing.

    continuity   the instrument jumps, the marker jumps, the marker vanishes or appears, all in plain view
    permanence   the shaft hides the marker; when it moves on, the marker is gone, or one is there that was not
    solidity     the tip touches a standing flap, and goes on through it, no faster than it may go
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from .films import FRAMES, SOLID, Film, Studio, Wall
from .paths import BELOW, TRIES, beside, over_ground, stand, sweep, wander
from .policy.errors import UserError
from .policy.spec import Array

CONCEPTS = ("continuity", "permanence", "solidity")
CONTROL = "solidity without a flap"         # the same paths, with which nothing is wrong there
TARGET = 3              # label of marker and lesion
JUMP = 0.014            # m, the least one: twice the longest step
Progress = Callable[[Iterable[int]], Iterable[int]]     # shows how far it is
CLEAR = 6               # px of a marker that is in plain view, at least


class Quadruplet(NamedTuple):
    """Two possible films and the two that come of exchanging their ends."""

    concept: str
    kind: str                           # what happens
    possible: tuple[Film, Film]
    impossible: tuple[Film, Film]       # the first begins as the first possible one
    cut: int                            # first frame after the exchange


def spliced(concept: str, kind: str, a: Film, b: Film, cut: int) -> Quadruplet:
    """Exchange the ends of two possible films from frame `cut` on."""
    ends = [Film(*(np.concatenate([head[:cut], tail[cut:]]) for head, tail in zip(first, second, strict=True)))
            for first, second in ((a, b), (b, a))]
    return Quadruplet(concept, kind, (a, b), (ends[0], ends[1]), cut)


def free_films(studio: Studio, count: int, rng: np.random.Generator, progress: Progress = iter) -> list[Film]:
    """Possible films: nothing impossible, nothing cut. Half of them beside a flap, or where none is."""
    return [_with_marker(studio, rng) if k % 2 else _with_flap(studio, rng) for k in progress(range(count))]


def quadruplets(studio: Studio, concept: str, count: int, rng: np.random.Generator,
                progress: Progress = iter) -> list[Quadruplet]:
    """`count` of one concept, or of CONTROL: from equal generators, solidity's paths without the flap."""
    makers = {"continuity": (_jump, _marker_jump, _vanish), "permanence": (_behind,), "solidity": (_through,),
              CONTROL: (_nothing_there,)}[concept]
    found: list[Quadruplet] = []
    for k in progress(range(count)):
        made = next((made for _ in range(TRIES) if (made := makers[k % len(makers)](studio, rng))), None)
        if made is None:
            raise UserError(f"no quadruplet of {concept} in {TRIES} draws; choose another --seed")
        found.append(made)
    return found


def _with_marker(studio: Studio, rng: np.random.Generator) -> Film:
    marker = _place(rng)
    path = sweep(studio, rng, marker) if rng.random() < 0.6 else None
    shown = marker if rng.random() < 0.75 else None
    return studio.with_marker(wander(studio, rng) if path is None else path[0], shown)


def _with_flap(studio: Studio, rng: np.random.Generator) -> Film:
    wall, stands = stand(rng), rng.random() < 0.7
    path = beside(studio, rng, wall, int(rng.choice([-1, 1])), obeys=stands)
    return studio.with_flap(path, wall if stands else None, _aside(rng, wall))


def _jump(studio: Studio, rng: np.random.Generator) -> Quadruplet | None:
    """Two ways of the instrument past one marker, exchanged where they are far apart."""
    a, b, marker = wander(studio, rng), wander(studio, rng), _place(rng)
    apart = [k for k in range(5, FRAMES - 4)
             if min(np.linalg.norm(a[k - 1] - b[k]), np.linalg.norm(b[k - 1] - a[k])) > JUMP]
    if not apart:
        return None
    return spliced("continuity", "instrument jumps", studio.with_marker(a, marker), studio.with_marker(b, marker),
                   int(rng.choice(apart)))


def _marker_jump(studio: Studio, rng: np.random.Generator) -> Quadruplet | None:
    """One way of the instrument, the marker in two places, both in plain view."""
    path, first, second = wander(studio, rng), _place(rng), _place(rng)
    if np.linalg.norm(first - second) < JUMP:
        return None
    return _in_view(rng, "marker jumps", studio.with_marker(path, first), studio.with_marker(path, second), both=True)


def _vanish(studio: Studio, rng: np.random.Generator) -> Quadruplet | None:
    """One way of the instrument, with the marker in plain view and without it."""
    path = wander(studio, rng)
    return _in_view(rng, "marker vanishes or appears", studio.with_marker(path, _place(rng)),
                    studio.with_marker(path, None), both=False)


def _in_view(rng: np.random.Generator, kind: str, a: Film, b: Film, *, both: bool) -> Quadruplet | None:
    clear = [shown(film) >= CLEAR for film in ((a, b) if both else (a,))]
    seen = np.all(clear, axis=0)
    cuts = [k for k in range(5, FRAMES - 4) if seen[k - 2:k + 2].all()]
    return spliced("continuity", kind, a, b, int(rng.choice(cuts))) if cuts else None


def _behind(studio: Studio, rng: np.random.Generator) -> Quadruplet | None:
    """The shaft sweeps over the marker, or over where none is; exchanged while it would be hidden: equal pictures."""
    marker = _place(rng)
    found = sweep(studio, rng, marker)
    if found is None:
        return None
    path, dwell = found
    a, b = studio.with_marker(path, marker), studio.with_marker(path, None)
    cut = dwell.stop - 1
    seen = shown(a) >= CLEAR
    hidden = all(np.array_equal(a.labels[k], b.labels[k]) for k in (cut - 1, cut))
    if not (hidden and seen[:3].all() and seen[-2:].all()):
        return None
    return spliced("permanence", "marker behind the shaft", a, b, cut)


def _through(studio: Studio, rng: np.random.Generator, stands: bool = True) -> Quadruplet:
    """Two ways that come to touch a flap in the same frame, one from each side, and stay; exchanged as they touch."""
    wall, cut = stand(rng), int(rng.integers(6, FRAMES - 4))
    y = np.clip(rng.uniform(wall.low + 0.008, wall.high - 0.008) + rng.uniform(-0.0015, 0.0015) * np.arange(FRAMES),
                wall.low + 0.004, wall.high - 0.004)
    above = rng.uniform(0.001, 0.6 * BELOW)
    pace = rng.uniform(0.003, 0.006)            # m in a frame, in which it comes
    away = np.maximum(cut - 1 - np.arange(FRAMES), 0) * pace
    paths = []
    for side in (-1, 1):
        x = wall.middle(y, above) + side * (SOLID + np.minimum(away, 0.022))
        paths.append(np.stack([over_ground(studio, np.array([a, b, above])) for a, b in zip(x, y, strict=True)]))
    lesion = _aside(rng, wall)
    a, b = (studio.with_flap(path, wall if stands else None, lesion) for path in paths)
    return spliced("solidity" if stands else CONTROL, "through the flap" if stands else "where no flap is", a, b, cut)


def _nothing_there(studio: Studio, rng: np.random.Generator) -> Quadruplet:
    return _through(studio, rng, stands=False)


def shown(film: Film) -> Array:
    """(T,) px of marker or lesion in each frame."""
    return (film.labels == TARGET).sum((1, 2))


def _place(rng: np.random.Generator) -> Array:
    return rng.uniform([-0.024, -0.022], [0.024, 0.026])


def _aside(rng: np.random.Generator, wall: Wall) -> Array:
    """(2,) m for the lesion: within view, well away from the flap."""
    y = rng.uniform(-0.02, 0.025)
    side = -1 if wall.middle(y, 0.0) > 0 else 1
    return np.array([wall.middle(y, 0.0) + side * rng.uniform(0.014, 0.024), y])
