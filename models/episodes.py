"""Which frame of which episode lies in which slot: the bookkeeping under EpisodeMemory."""

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Episode(NamedTuple):
    """Where the frames of one episode lie."""

    slots: list[int]    # T + 1 of them in order; all but the last begin a transition
    demo: bool


class EpisodePool:
    """Slots for frames. Each names the slot before and after it, so that nothing can cross an episode.

    The first frame of an episode is its own predecessor, the last one its own successor. A full pool drops
    its oldest whole episode; demonstrations are never dropped.
    """

    def __init__(self, capacity: int):
        """capacity: slots."""
        self.capacity = capacity
        self.before, self.after, self.step, self._key = (np.empty(capacity, np.int64) for _ in range(4))
        self._forget()

    def begin(self, demo: bool) -> int:
        """The slot of the first frame of a new episode."""
        self.end()
        slot = self._take()
        self._latest += 1
        self._open = self._latest
        self._add_episode(Episode([slot], demo))
        return slot

    def extend(self) -> int:
        """The slot of the next frame of the open episode; the frame before it begins a transition now."""
        if self._open is None:
            raise ValueError("no episode is open; call begin() first")
        slot = self._take()
        episode = self._episodes[self._open]
        last = episode.slots[-1]
        self.after[last], self.before[slot], self.after[slot] = slot, last, slot
        self.step[slot], self._key[slot] = len(episode.slots), self._open
        episode.slots.append(slot)
        (self.demos if episode.demo else self.own).push(last)
        return slot

    @property
    def newest(self) -> int:
        """Slot of the open episode's last frame."""
        if self._open is None:
            raise ValueError("no episode is open; call begin() first")
        return self._episodes[self._open].slots[-1]

    def end(self) -> None:
        """The open episode is complete."""
        self._open = None

    def frames_of(self, slot: Array) -> list[list[int]]:
        """For each of (B,) slots, all slots of its episode in order."""
        return [self._episodes[key].slots for key in self._key[slot].tolist()]

    def state_dict(self) -> dict[str, Array]:
        """All complete episodes, the oldest first."""
        whole = [episode for key, episode in self._episodes.items() if key != self._open]
        return {"slots": np.array([slot for episode in whole for slot in episode.slots], np.int64),
                "lengths": np.array([len(episode.slots) for episode in whole], np.int64),
                "demo": np.array([episode.demo for episode in whole], np.bool_),
                "used": np.array(self.used)}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Take over a state_dict() of a pool that used no more slots than this one has."""
        self._forget()
        self.used = int(state["used"])
        ends = np.cumsum(state["lengths"])
        for end, length, demo in zip(ends, state["lengths"], state["demo"], strict=True):
            self._latest += 1
            self._add_episode(Episode(state["slots"][end - length:end].tolist(), bool(demo)))
        taken = set(state["slots"].tolist())
        self._free = [slot for slot in range(self.used) if slot not in taken]

    def _forget(self) -> None:
        self._episodes: dict[int, Episode] = {}
        self._order: deque[int] = deque()       # keys of the episodes that may be dropped, oldest first
        self._open: int | None = None
        self._latest = 0
        self._free: list[int] = []
        self.used = 0                           # slots from here on were never given out
        self.own, self.demos = Line(self.capacity), Line(self.capacity)

    def _add_episode(self, episode: Episode) -> None:
        slots = np.array(episode.slots)
        self.before[slots] = np.concatenate([slots[:1], slots[:-1]])
        self.after[slots] = np.concatenate([slots[1:], slots[-1:]])
        self.step[slots], self._key[slots] = np.arange(len(slots)), self._latest
        self._episodes[self._latest] = episode
        if not episode.demo:
            self._order.append(self._latest)
        for slot in episode.slots[:-1]:
            (self.demos if episode.demo else self.own).push(slot)

    def _take(self) -> int:
        if not self._free:
            if self.used < self.capacity:
                self.used += 1
                return self.used - 1
            self._drop_oldest()
        return self._free.pop()

    def _drop_oldest(self) -> None:
        if not self._order or self._order[0] == self._open:
            demos = sum(len(episode.slots) for episode in self._episodes.values() if episode.demo)
            raise TooSmallError(f"memory of {self.capacity} frames is too small for {demos} frames of "
                           "demonstrations and the episode being lived; give it a larger capacity")
        episode = self._episodes.pop(self._order.popleft())
        self._free.extend(reversed(episode.slots))
        self.own.drop(len(episode.slots) - 1)


class TooSmallError(ValueError):
    """The memory cannot hold what must not be forgotten."""


class Line:
    """Slots in the order they came, dropped from the front, drawn by position; all without copying."""

    def __init__(self, capacity: int):
        """capacity: the most slots at a time."""
        self._slots = np.empty(capacity, np.int64)
        self._head = self.size = 0

    def push(self, slot: int) -> None:
        """One more at the back."""
        self._slots[(self._head + self.size) % len(self._slots)] = slot
        self.size += 1

    def drop(self, count: int) -> None:
        """So many from the front."""
        self._head = (self._head + count) % len(self._slots)
        self.size -= count

    def at(self, position: Array) -> Array:
        """(B,) positions -> (B,) slots."""
        return self._slots[(self._head + position) % len(self._slots)]
