"""Between an action in [-1, 1], as our own tasks take it, and what a Unity behaviour takes: numbers, choices, both."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from .geometry import Array
from .scene import Channel, checked_action
from .scenes.unity import Action, Behaviour


class Branch(NamedTuple):
    """A discrete branch: which channels it stands for, and with which values each of its choices does."""

    channels: tuple[int, ...]
    choices: tuple[tuple[float, ...], ...]      # in [-1, 1], as many as channels


class Acting(NamedTuple):
    """How the channels of an action become a behaviour's own."""

    channels: tuple[Channel, ...]
    continuous: tuple[int, ...]     # channel of each of Unity's numbers
    branches: tuple[Branch, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Choices of each branch."""
        return tuple(len(branch.choices) for branch in self.branches)

    def fits(self, behaviour: Behaviour) -> bool:
        """Whether the behaviour takes such actions."""
        return (len(self.continuous), self.sizes) == (behaviour.continuous, behaviour.branches)

    def unity(self, action: Array, allowed: Sequence[Array]) -> Action:
        """(A,) in [-1, 1] -> the same for Unity; of each branch the nearest choice that is allowed now."""
        discrete = []
        for branch, free in zip(self.branches, allowed, strict=True):
            away = np.square(np.asarray(branch.choices) - action[list(branch.channels)]).sum(axis=1)
            discrete.append(int(np.where(free, away, np.inf).argmin()))
        return Action(action[list(self.continuous)].tolist(), discrete)


def plain(behaviour: Behaviour) -> Acting:
    """For a behaviour that nobody has described: a channel for each number and each branch, its choices spread evenly
    from -1 to 1."""
    count = behaviour.continuous + len(behaviour.branches)
    branches = tuple(Branch((behaviour.continuous + k,), tuple((float(value),) for value in np.linspace(-1, 1, size)))
                     for k, size in enumerate(behaviour.branches))
    return Acting(_channels(count), tuple(range(behaviour.continuous)), branches)


def neutral(behaviour: Behaviour, allowed: Sequence[Array]) -> Action:
    """Of an agent that nobody moves: zeros, and of each branch the middle choice, or what is allowed nearest to it."""
    discrete = [int(min(np.flatnonzero(free), key=lambda choice: abs(choice - (size - 1) / 2)))
                for size, free in zip(behaviour.branches, allowed, strict=True)]
    return Action([0.0] * behaviour.continuous, discrete)


def native_space(behaviour: Behaviour) -> gymnasium.Space:
    """The behaviour's own actions: Box, Discrete, MultiDiscrete, or a tuple of Box and choices."""
    box = gymnasium.spaces.Box(-1.0, 1.0, (behaviour.continuous,), np.float32)
    if not behaviour.branches:
        return box
    choices = (gymnasium.spaces.Discrete(behaviour.branches[0]) if len(behaviour.branches) == 1
               else gymnasium.spaces.MultiDiscrete(behaviour.branches))
    return gymnasium.spaces.Tuple((box, choices)) if behaviour.continuous else choices


def native_action(action: Any, behaviour: Behaviour, allowed: Sequence[Array]) -> Action:
    """A sample of native_space -> the action. ValueError for numbers that are not finite and in [-1, 1], and for a
    choice that is not allowed now."""
    numbers, choices = action if behaviour.continuous and behaviour.branches else (
        (action, ()) if behaviour.continuous else ((), action))
    numbers = checked_action(numbers, _channels(behaviour.continuous))
    chosen = np.atleast_1d(np.asarray(choices))
    for k, (choice, free) in enumerate(zip(chosen, allowed, strict=True)):
        if choice not in np.flatnonzero(free):
            raise ValueError(f"choice {choice} of branch {k} of {behaviour.name}; allowed now: "
                             f"{np.flatnonzero(free).tolist()}")
    return Action(numbers, chosen)


def _channels(count: int) -> tuple[Channel, ...]:
    return tuple(Channel(f"action_{k}", "", -1.0, 1.0) for k in range(count))
