"""What every encoder looks like: images to latents, and what agents and objectives may ask it beside that."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Sight(nn.Module, ABC):
    """One encoder, one class, named in models/make.py. Its options are keyword arguments.

    Weights that do not ask for a gradient are left out of every optimiser.
    """

    channels: int                       # C = 3 x stack
    size: tuple[int, int]               # (H, W) px
    latent_dim: int                     # D
    projected: bool = False             # the latent is a linear projection: an objective may divide it as it likes
    cached: bool = False                # a memory is to keep `embed` of each frame in the frame's place

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, D) float32."""

    def symmetric(self, head: nn.Module, action_dim: int, proprio_dim: int) -> nn.Module:
        """A head on this latent as the encoder wants it: itself, where the encoder knows of no symmetry.

        ValueError where a symmetry was asked for that this head cannot have.
        """
        return head
