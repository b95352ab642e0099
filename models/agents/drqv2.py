"""DrQ-v2 (Yarats et al. 2021, arXiv:2107.09645): DDPG from images, n-step returns, twin critics, shifts.

Options add DrQ's averaging over views (Yarats et al. 2020, arXiv:2004.13649), a share of demonstrations in
every batch, and imitation of an expert's labels beside or instead of the critic (TD3+BC, Fujimoto & Gu 2021,
arXiv:2106.06860, eq. 5; with labels on the agent's own steps: DAgger, Ross et al. 2011, arXiv:1011.0686).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..augments.turn import Channel
from ..batch import Batch
from ..encoder import Encoder
from ..heads import Actor
from ..objective import Objective
from ..ranges import within
from .offpolicy import OffPolicy

EDGE = 1e-6     # an action keeps this far from the ends of [-1, 1], as in the paper's code


class DrQv2(OffPolicy):
    """Off-policy actor-critic whose encoder is shaped by the critic, by objectives and by imitation.

    Differs from the paper's code: a true terminal has discount 0 (there `discount or 1.0` makes it 1), the
    critic's weights get no gradient from the actor's loss, the noise schedule counts the agent's own steps, updates
    begin with the first steps (there: after 4000 frames).
    """

    def __init__(self, encoder: Encoder, action_dim: int, proprio_dim: int,
                 objectives: Sequence[tuple[Objective, float]], seed: int, device: torch.device,
                 channels: Sequence[Channel] = (), *,
                 lr: float = 1e-4, batch_size: int = 256, feature_dim: int = 50, hidden_dim: int = 1024,
                 tau: float = 0.01, shift: int = 4, augment: list | None = None, views: int = 1,
                 strong_augment: list | None = None, explore_steps: int = 2000,
                 std_start: float = 1.0, std_end: float = 0.1, std_steps: int = 100_000,
                 std_clip: float = 0.3,
                 demo_share: float = 0.0, imitation: float = 0.0, q_weight: float = 1.0, bf16: bool = False):
        """Defaults are the paper's.

        shift: px. augment: what every image goes through (RAD), by names; None: shift alone. views: augmented views
        that loss and target are averaged over (DrQ's M = K). strong_augment: what a copy of every view goes through
        for the critic's loss alone (SVEA); None: no copy. explore_steps: steps of uniform actions to begin with.
        demo_share: part of every batch drawn from demonstrations (0: evenly over all steps). imitation: weight of the
        squared error to the expert's action. q_weight: weight of the value in the actor's loss; 0 learns no critic at
        all. bf16: convolve in bfloat16 while learning (not while acting); not the same numbers, and pays only where
        the chip has it.
        """
        if not (q_weight > 0 or q_weight == 0 < imitation):
            raise ValueError(f"drqv2 q_weight is {q_weight} and imitation {imitation}; one of them must be above 0, "
                             "or nothing would teach the actor")
        within("drqv2", 1, std_steps=std_steps)
        within("drqv2", std_start=std_start, std_end=std_end, std_clip=std_clip, q_weight=q_weight)
        self.std_start, self.std_end, self.std_steps, self.std_clip = std_start, std_end, std_steps, std_clip
        actor = Actor(encoder.latent_dim, proprio_dim, action_dim, features=feature_dim, hidden=hidden_dim)
        super().__init__(encoder, actor, proprio_dim, objectives, seed, device, channels, action_dim=action_dim,
                         lr=lr, batch_size=batch_size, feature_dim=feature_dim, hidden_dim=hidden_dim, tau=tau,
                         shift=shift, augment=augment, views=views, strong_augment=strong_augment,
                         explore_steps=explore_steps, demo_share=demo_share, imitation=imitation,
                         q_weight=q_weight, bf16=bf16)

    def _explore(self, z: Tensor, proprio: Tensor) -> Tensor:
        return self._noisy(self.actor(z, proprio), clip=float("inf"))

    def _next_value(self, z: Tensor, proprio: Tensor) -> Tensor:
        """The smaller slow value of the actor's noisy action."""
        action = self._noisy(self.actor(z, proprio), self.std_clip)
        return torch.minimum(*self.slow_critic(z, proprio, action))

    def _actor_losses(self, batch: Batch, z: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Minus the smaller value of the actor's noisy action."""
        action = self._noisy(self.actor(z, batch.proprio), self.std_clip)
        q = torch.minimum(*self.critic(z, batch.proprio, action))
        return {"actor/loss": -self._value_scale(q) * q.mean()}, {"actor/std": torch.tensor(self.std, device=z.device)}

    @property
    def std(self) -> float:
        """Of the exploration noise now."""
        done = min(1.0, self.steps / self.std_steps)
        return self.std_start + done * (self.std_end - self.std_start)

    def _noisy(self, mean: Tensor, clip: float) -> Tensor:
        """(B, A) + clipped noise, kept inside [-1, 1] while its gradient passes as if it were not."""
        noise = self._normal(mean) * self.std
        action = mean + noise.clamp(-clip, clip)
        return action + (action.clamp(-1 + EDGE, 1 - EDGE) - action).detach()
