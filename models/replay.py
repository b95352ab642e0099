"""A rollout as a memory holds it, so that objectives are fed by the one that feeds them off-policy."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .batch import Batch
from .memory import EpisodeMemory
from .rollout import Rollout

TOLD = ("mask", "expert")      # of the memory's signals those that a rollout carries


class Replay:
    """Steps of a rollout with all that objectives ask for. The rollout's end cuts an episode as a time limit does."""

    def __init__(self, rollout: Rollout, action: Tensor, needs: Sequence[str], *, gamma: float, seed: int):
        """action: (T, N, A) in [-1, 1]. needs: see EpisodeMemory.sample. gamma: discount of a step."""
        steps, count, channels, height, width = rollout.obs.shape
        stack = channels // 3
        self.needs = tuple(needs)
        extras = [name for name in TOLD if name in needs]
        self.memory = EpisodeMemory(count * (2 * steps + stack), frame_shape=(height, width, 3), stack=stack, nstep=1,
                                    action_dim=action.shape[-1], proprio_dim=rollout.proprio.shape[-1], gamma=gamma,
                                    seed=seed, extras=extras)
        self.slots = np.empty((steps, count), np.int64)
        for n in range(count):
            self._add(_Lived(rollout, action, extras, n), n)

    def at(self, times: Tensor, which: Tensor) -> Batch:
        """The steps at times (L, B) of environments (B,): a batch of L * B."""
        slots = self.slots[times.numpy(), which.numpy()].ravel()
        return self.memory.sample(len(slots), self.needs, slots=slots)

    def _add(self, lived: "_Lived", n: int) -> None:
        """The n-th environment's episodes, and the pieces of episodes at either end."""
        memory, fresh = self.memory, True
        for t in range(len(self.slots)):
            if fresh:
                # Of an episode under way the older frames of the first stack come before it; they begin no step.
                first, *further = lived.stacked(t)
                memory.begin(**first)
                for moment in further:
                    memory.add(np.zeros(lived.action.shape[-1]), 0.0, False, **moment)
            self.slots[t, n] = memory.newest
            memory.add(lived.action[t], float(lived.reward[t]), bool(lived.terminated[t]), **lived.after(t))
            fresh = bool(lived.ended[t])
        memory.end()


class _Lived:
    """One environment's part of a rollout, as arguments of EpisodeMemory's begin and add."""

    def __init__(self, rollout: Rollout, action: Tensor, extras: Sequence[str], n: int):
        self.extras = extras
        self.action, self.reward, self.terminated, self.ended, self.expert, self.proprio, self.next_proprio = (
            values[:, n].numpy() for values in (action, rollout.reward, rollout.terminated, rollout.ended,
                                                rollout.expert, rollout.proprio, rollout.next_proprio))
        self.obs = rollout.obs[:, n].unflatten(1, (-1, 3)).permute(0, 1, 3, 4, 2).numpy()       # (T, k, H, W, 3)
        self.next_frame = rollout.next_frame[:, n].numpy()
        self.masks = rollout.mask[:, n].numpy() if "mask" in extras else None
        self.next_mask = rollout.next_mask[:, n].numpy() if "mask" in extras else None

    def stacked(self, t: int) -> list[dict]:
        """The moments of the stack at t, oldest first, without those at its head that only repeat the next."""
        frames, first = self.obs[t], 0
        while first < len(frames) - 1 and (frames[first] == frames[first + 1]).all():
            first += 1
        last = len(frames) - 1
        return [self._moment(frames[k], self.proprio[t], None if self.masks is None else self.masks[t, k],
                             self.expert[t] if k == last else None) for k in range(first, len(frames))]

    def after(self, t: int) -> dict:
        """The moment that step t led to; its label is that of the next step, where it is of the same episode."""
        label = None if self.ended[t] or t + 1 == len(self.ended) else self.expert[t + 1]
        return self._moment(self.next_frame[t], self.next_proprio[t],
                            None if self.next_mask is None else self.next_mask[t], label)

    def _moment(self, frame: np.ndarray, proprio: np.ndarray, mask: np.ndarray | None,
                expert: np.ndarray | None) -> dict:
        moment = {"frame": frame, "proprio": proprio}
        if "mask" in self.extras:
            moment["mask"] = mask
        if "expert" in self.extras and expert is not None:
            moment["expert"] = expert
        return moment


def check_fed(needs: Sequence[str], horizon: int) -> None:
    """ValueError for what no rollout of so many steps can tell, found by asking for it."""
    memory = EpisodeMemory(2 * horizon, frame_shape=(1, 1, 3), action_dim=1, stack=1, extras=TOLD)
    moment = {"frame": np.zeros((1, 1, 3), np.uint8), "mask": np.zeros((1, 1)), "expert": np.zeros(1)}
    memory.begin(**moment)
    memory.add(np.zeros(1), 0.0, False, **moment)
    for need in needs:
        try:
            memory.sample(1, (need,))
        except ValueError as error:
            raise ValueError(f"dvc: a rollout of {horizon} steps cannot give {need!r}, which an objective needs "
                             f"({error}); take agent drqv2, sac or bc where their memory can, or leave the objective "
                             "out") from error
