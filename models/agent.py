"""What every learning algorithm looks like."""

from typing import Any, Protocol

from numpy.typing import NDArray
from torch import nn

from .memory import EpisodeMemory

Array = NDArray[Any]


class Agent(Protocol):
    """Acts, learns from a memory, and hands out the policy that ships. Names: models/make.py."""

    needs: tuple[str, ...]      # entries of batch.extra that update() asks the memory for

    def act(self, obs: Array, explore: bool, proprio: Array | None = None) -> Array:
        """(C, H, W) uint8, newest frame last [, (P,) float32] -> (A,) float32 in [-1, 1]."""
        ...

    def update(self, memory: EpisodeMemory) -> dict[str, float]:
        """One learning step; metrics named slot/what. FloatingPointError names a loss that is not finite."""
        ...

    def policy(self) -> nn.Module:
        """(B, C, H, W) uint8 [, (B, P) float32] -> (B, A) in [-1, 1], without noise: what is exported."""
        ...

    def reset(self) -> None:
        """An episode begins: forget what a recurrent policy remembers."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which training goes on exactly; for torch.save."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state_dict() of an agent made with the same configuration."""
        ...
