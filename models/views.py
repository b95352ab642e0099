"""What a batch shows of the frames that lie in given slots: stacks, masks, n-step returns, sequences."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .drawing import future, history
from .episodes import Array, EpisodePool


class Views:
    """Makes tensors of an EpisodeMemory's fields. Stacks begin with the episode, returns end with it."""

    def __init__(self, pool: EpisodePool, fields: Mapping[str, Array], *, frame_shape: tuple[int, int, int],
                 stack: int, features: bool):
        """fields: what lies in each slot, by name. features: of a frozen encoder, in the place of frames."""
        self._pool, self._fields = pool, fields
        self._shape, self._stack, self._features = frame_shape, stack, features

    def stacked(self, slot: Array, field: str = "frame") -> Tensor:
        """(B, 3*stack, h, w) uint8, NHWC in memory; or (B, stack*F, 1, 1) float32, where features are kept."""
        slots = history(self._pool, slot, self._stack)
        if self._features:
            features = self._fields[field][np.stack(slots, axis=1)]                     # (B, stack, F)
            return torch.from_numpy(features.reshape(len(slot), -1, 1, 1))
        frames = [self._fields[field][one] for one in slots]                            # (B, h, w, 3) each
        if self._stack == 1:
            return torch.from_numpy(frames[0]).permute(0, 3, 1, 2)
        images = np.empty((len(slot), *self._shape[:2], 3 * self._stack), np.uint8)
        planes = images.reshape(-1, 3 * self._stack)
        for k, frame in enumerate(frames):
            for colour in range(3):     # one long strided copy per plane: 5 times faster than 3 bytes a pixel
                planes[:, 3 * k + colour] = frame.reshape(-1, 3)[:, colour]
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def masks(self, slot: Array) -> Tensor:
        """(B, stack, h, w) uint8 in {0, 1}."""
        bits = self._fields["mask"][np.stack(history(self._pool, slot, self._stack), axis=1)]
        height, width, _ = self._shape
        masks = np.unpackbits(bits, axis=2, count=height * width)
        return torch.from_numpy(masks.reshape(len(slot), self._stack, height, width))

    def values(self, slot: Array, field: str) -> Tensor:
        """(B, ...) what lies there."""
        return torch.from_numpy(self._fields[field][slot])

    def look_ahead(self, slot: Array, nstep: int, gamma: float) -> tuple[Array, Tensor, Tensor]:
        """Slots (B,) n steps on, or at the end; return (B, 1) up to there; discount (B, 1) of the rest."""
        reward, discount = np.zeros(len(slot)), np.ones(len(slot))
        slots = future(self._pool, slot, nstep)
        for start, after in zip(slots, slots[1:], strict=False):
            reward += discount * self._fields["reward"][start]          # 0 at the last frame
            discount *= np.where(after == start, 1.0, gamma)
        # Only `terminated` stops the bootstrap; a time limit does not end the world.
        discount[self._fields["terminal"][slots[-1]]] = 0.0
        return slots[-1], _column(reward), _column(discount)

    def sequence(self, slot: Array, steps: int) -> dict[str, Tensor]:
        """The `steps` steps from each slot (B,) on, as EpisodeMemory.sample tells of sequence:K."""
        slots = future(self._pool, slot, steps)
        start, after = np.stack(slots[:-1], axis=1), np.stack(slots[1:], axis=1)        # (B, K) each
        alive = start != after                                  # the last frame of an episode follows itself
        values = {"reward": self._fields["reward"][start], "alive": alive,
                  "terminal": alive & self._fields["terminal"][after]}
        found = {"sequence/obs": self.stacked(after.ravel()).unflatten(0, after.shape),
                 "sequence/proprio": self.values(after, "proprio"), "sequence/action": self.values(start, "action")}
        if "expert" in self._fields:
            found["sequence/expert"] = self.values(start, "expert")
        return found | {f"sequence/{name}": _column(value) for name, value in values.items()}


def _column(values: Array) -> Tensor:
    """(...) -> (..., 1) float32."""
    return torch.from_numpy(values.astype(np.float32)[..., None])
