"""The latents of what followed, encoded once where a bonus and a loss of one update both read them."""

import torch
from torch import Tensor

from .batch import Batch
from .objective import Encode


class Successors:
    """Holds the latents of one update's batch, without gradient, until told to forget them."""

    def __init__(self) -> None:
        """Nothing is held yet."""
        self._held: tuple[Batch, Tensor] | None = None

    def __call__(self, batch: Batch, encode: Encode) -> Tensor:
        """(B, D) of batch.extra["successor"] by the agent's encoder."""
        if self._held is None or self._held[0] is not batch:
            with torch.no_grad():
                self._held = batch, encode(batch.extra["successor"])
        return self._held[1]

    def forget(self) -> None:
        """The encoder has stepped."""
        self._held = None
