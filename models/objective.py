"""What every representation objective looks like: a loss that shapes the latent beside the critic's."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor, nn

from .batch import Batch
from .encoder import Encoder


class Encode(Protocol):
    """How an objective turns further images into latents."""

    def __call__(self, images: Tensor, encoder: nn.Module | None = None) -> Tensor:
        """(B, C, H, W) uint8, freshly augmented -> (B, D), by the agent's encoder or by the one given.

        Of clips (B, T, C, H, W) all images of one are augmented alike -> (B, T, D).
        """
        ...


class Objective(nn.Module, ABC):
    """One method, one class, one file, named in models/make.py. Its options are keyword arguments.

    An objective with weight 0 is never called and draws nothing from the agent's randomness.
    """

    needs: tuple[str, ...] = ()     # entries of batch.extra: see EpisodeMemory.sample; may be set in __init__
    reads_images: ClassVar[bool] = False    # True: pictures themselves, which a memory of frozen features does not hold
    shapes_encoder: ClassVar[bool] = True   # False: it only pays a bonus, which asks for an agent that earns rewards

    def __init__(self, encoder: Encoder, action_dim: int):
        """encoder: the agent's own, to read its sizes from or to copy; it is not kept."""
        super().__init__()

    @abstractmethod
    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss, and scalars worth watching under short names.

        batch.obs and batch.extra["mask"] are as the encoder saw them, under one and the same augmentation;
        batch.next_obs and all other extras are as they were lived. z: (B, D) of batch.obs, carrying gradient.
        """

    def shield(self, z: Tensor) -> Tensor:
        """(B, D) as the critic and the actor get it: an objective may stop their gradient into a part of its own."""
        return z

    def bonus(self, batch: Batch, z: Tensor, encode: Encode) -> Tensor | float:
        """Intrinsic reward (B, 1), added to batch.reward; called without gradient, before loss() of the same batch.

        It is paid for the first of the n steps that batch.reward sums, so an intrinsic return counts about 1/n of
        what it would with one-step returns. The objective's weight does not multiply it.
        """
        return 0.0

    def after_step(self, encoder: nn.Module) -> None:
        """Called once the optimisers have stepped: move slow copies here."""
