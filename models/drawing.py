"""Which slots of an EpisodePool a batch begins in, and which other moments of the same episodes go with them."""

import numpy as np

from .episodes import Array, EpisodePool


def draw_steps(pool: EpisodePool, rng: np.random.Generator, size: int, demo_share: float | None) -> Array:
    """Slots (size,) at which transitions begin, evenly over steps.

    demo_share: fraction from demonstrations; None: as many as there are among all steps.
    """
    own, demos = pool.own, pool.demos
    if not own.size + demos.size:
        raise ValueError("the memory is empty; add steps before sampling")
    if demo_share is None:
        draw = rng.integers(own.size + demos.size, size=size)
        lived = draw < own.size
        return np.concatenate([own.at(draw[lived]), demos.at(draw[~lived] - own.size)])
    if not 0 <= demo_share <= 1:
        raise ValueError(f"demo_share is {demo_share}; it must lie in [0, 1]")
    if demo_share > 0 and not demos.size:
        raise ValueError(f"demo_share is {demo_share}, but the memory holds no demonstrations; "
                         "add some with begin(..., demo=True) or set it to 0")
    if demo_share == 0 and not own.size:
        raise ValueError("demo_share is 0, but the memory holds nothing but demonstrations")
    # Until the agent has lived a step itself, demonstrations are all there is.
    shown = round(size * demo_share) if own.size else size
    draws = [(line, rng.integers(line.size, size=count))
             for line, count in ((own, size - shown), (demos, shown)) if count]
    return np.concatenate([line.at(draw) for line, draw in draws])


def draw_near(pool: EpisodePool, rng: np.random.Generator, slot: Array, steps: int) -> Array:
    """For each slot (B,), which is never an episode's last, another of its episode at most so many steps away."""
    slots, step, length = _around(pool, slot)
    low, high = np.maximum(step - steps, 0), np.minimum(step + steps, length - 1)
    draw = low + rng.integers(high - low)
    draw += draw >= step                                            # itself left out
    return _picked(slots, draw)


def draw_far(pool: EpisodePool, rng: np.random.Generator, slot: Array, steps: int) -> Array:
    """For each slot (B,) another of its episode, more than so many steps away; or the farthest there is."""
    slots, step, length = _around(pool, slot)
    low, high = np.maximum(step - steps, 0), np.minimum(step + steps, length - 1)
    close = high - low + 1                                          # frames too close, itself among them
    draw = rng.integers(np.maximum(length - close, 1))
    draw += np.where(draw >= low, close, 0)
    farthest = np.where(step > length - 1 - step, 0, length - 1)
    return _picked(slots, np.where(close < length, draw, farthest))


def history(pool: EpisodePool, slot: Array, stack: int) -> list[Array]:
    """Slots of the frames that are stacked at each slot (B,), oldest first; `stack` arrays (B,)."""
    slots = [slot]
    for _ in range(stack - 1):
        slots.append(pool.before[slots[-1]])
    return slots[::-1]


def future(pool: EpisodePool, slot: Array, steps: int) -> list[Array]:
    """Slots 0, 1 ... `steps` after each slot (B,); after an episode's end its last one repeats."""
    slots = [slot]
    for _ in range(steps):
        slots.append(pool.after[slots[-1]])
    return slots


def _around(pool: EpisodePool, slot: Array) -> tuple[list[list[int]], Array, Array]:
    """For each slot: those of its episode, its place among them, and how many they are."""
    slots = pool.frames_of(slot)
    return slots, pool.step[slot], np.array([len(frames) for frames in slots])


def _picked(slots: list[list[int]], place: Array) -> Array:
    """From each episode's slots the one at that place."""
    return np.array([frames[i] for frames, i in zip(slots, place.tolist(), strict=True)])
