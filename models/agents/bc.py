"""Behaviour cloning from images: regress an expert's action, from its demonstrations or on one's own steps.

With own steps it is DAgger (Ross et al. 2011, arXiv:1011.0686): the learner acts, the expert says what it would have
done there, and all that was ever labelled is learnt from. Without any it is plain cloning (Pomerleau 1988, ALVINN).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..augments.turn import Channel
from ..encoder import Encoder
from ..heads import Actor
from ..memory import EpisodeMemory
from ..objective import Objective
from .learner import Learner


class Bc(Learner):
    """Behaviour cloning and DAgger: squared error to the expert's labels, shifts, no critic, no rewards read.

    Differs from the paper: the expert never drives the agent's own steps (beta = 0 from the first on; its
    demonstrations stand for them), and learning goes on while acting instead of in rounds.
    """

    def __init__(self, encoder: Encoder, action_dim: int, proprio_dim: int,
                 objectives: Sequence[tuple[Objective, float]], seed: int, device: torch.device,
                 channels: Sequence[Channel] = (), *,
                 lr: float = 1e-4, batch_size: int = 256, feature_dim: int = 50, hidden_dim: int = 1024,
                 shift: int = 4, augment: list | None = None, std: float = 0.1, demo_share: float = 0.0,
                 bf16: bool = False):
        """Sizes and lr are those of DrQ-v2.

        shift: px. augment: what every image goes through, by names; None: shift alone. std: of the noise on the
        agent's own steps, in the action's [-1, 1]. demo_share: part of every batch drawn from demonstrations (0:
        evenly over all steps). bf16: convolve in bfloat16 while learning (not while acting).
        """
        if not std >= 0:
            raise ValueError(f"bc std is {std}; it must be >= 0")
        self.std = std
        actor = Actor(encoder.latent_dim, proprio_dim, action_dim, features=feature_dim, hidden=hidden_dim)
        super().__init__(encoder, actor, proprio_dim, objectives, seed, device, channels, shaping=[],
                         action_dim=action_dim, lr=lr, batch_size=batch_size, shift=shift, augment=augment, views=1,
                         strong_augment=None, explore_steps=0, demo_share=demo_share, imitation=1.0, bf16=bf16,
                         rewarded=False)

    def update(self, memory: EpisodeMemory) -> dict[str, float]:
        """One step of encoder, objectives and actor on one batch."""
        batch, z = self._draw(memory)                                       # (B, D)
        losses, metrics = self._side_losses(batch, z, self.objectives.shield(z))
        self._shape(losses)
        self.actor_optimiser.step()
        return self._end(metrics | losses)

    def _explore(self, z: Tensor, proprio: Tensor) -> Tensor:
        mean = self.actor(z, proprio)
        return (mean + self.std * self._normal(mean)).clamp(-1, 1)
