"""Learning to see without acting: what the objectives say shapes the encoder, for whoever freezes it afterwards."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..augments.turn import Channel
from ..encoder import Encoder
from ..heads import Actor
from ..memory import EpisodeMemory
from ..objective import Objective
from .learner import Learner


class Observer(Learner):
    """Representation alone: no reward and no label is read, the actor stays as it began, own steps are at random.

    What is learnt is for `surgrl freeze`; as a policy it is worth nothing.
    """

    def __init__(self, encoder: Encoder, action_dim: int, proprio_dim: int,
                 objectives: Sequence[tuple[Objective, float]], seed: int, device: torch.device,
                 channels: Sequence[Channel] = (), *, lr: float = 1e-3, batch_size: int = 128, shift: int = 4,
                 augment: list | None = None, bf16: bool = False):
        """shift: px. augment: what every image goes through, by names; None: shift alone. bf16: convolve in it."""
        if not objectives:
            raise ValueError("observer learns from objectives alone; name at least one, e.g. "
                             "objectives: [{name: curl}]")
        actor = Actor(encoder.latent_dim, proprio_dim, action_dim, features=1, hidden=1)
        super().__init__(encoder, actor, proprio_dim, objectives, seed, device, channels, shaping=[],
                         action_dim=action_dim, lr=lr, batch_size=batch_size, shift=shift, augment=augment, views=1,
                         strong_augment=None, explore_steps=0, demo_share=0.0, imitation=0.0, bf16=bf16,
                         rewarded=False)

    def update(self, memory: EpisodeMemory) -> dict[str, float]:
        """One step of encoder and objectives on one batch."""
        batch, z = self._draw(memory)                                       # (B, D)
        losses, metrics = self._side_losses(batch, z, z)
        self._shape(losses)
        return self._end(metrics | losses)

    @torch.no_grad()
    def examine(self, memory: EpisodeMemory, batches: int = 8) -> dict[str, float]:
        """The same metrics, means over batches of a memory that is not learnt from. Changes nothing of the agent, and
        draws the same batches each time."""
        kept, place = self.random.get_state(), memory.rng.bit_generator.state
        self.random.manual_seed(0)
        found = []
        for _ in range(batches):
            batch, z = self._draw(memory)
            losses, metrics = self._side_losses(batch, z, z)
            found.append({name: float(value) for name, value in (metrics | losses).items()})
        self.random.set_state(kept)
        memory.rng.bit_generator.state = place
        return {name: sum(row[name] for row in found) / batches for name in found[0]}

    def _explore(self, z: Tensor, proprio: Tensor) -> Tensor:
        return 2 * torch.rand(len(z), self.action_dim, generator=self.random).to(z.device) - 1
