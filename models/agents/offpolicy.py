"""What off-policy actor-critics from images share: twin critics with slow copies, and an actor that climbs them.

Averaging over views is DrQ's (Yarats et al. 2020, arXiv:2004.13649): K = `views` of the target's image, each with an
action of its own (eq. 1), and M = `views` of the critic's (eq. 3). Strong copies of the latter, held to that same
target, are SVEA's (Hansen et al. 2021, arXiv:2107.00644, with alpha = beta = 0.5).
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..augments.turn import Channel
from ..batch import Batch
from ..encoder import Encoder
from ..heads import Critic
from ..memory import EpisodeMemory
from ..objective import Objective
from ..ranges import within
from ..slow import follow, frozen, slow_copy
from .learner import Learner, refuse_non_finite


class OffPolicy(Learner):
    """Off-policy actor-critic whose encoder is shaped by the critic, by objectives and by imitation.

    A subclass says what the next state is worth and what its actor wants.
    """

    parts: ClassVar[tuple[str, ...]] = ("encoder", "actor", "critic", "slow_critic", "standardise", "objectives",
                                        "optimiser", "actor_optimiser")

    def __init__(self, encoder: Encoder, actor: nn.Module, proprio_dim: int,
                 objectives: Sequence[tuple[Objective, float]], seed: int, device: torch.device,
                 channels: Sequence[Channel], *, action_dim: int, feature_dim: int, hidden_dim: int, tau: float,
                 q_weight: float, strong_augment: list | None, **options: Any):
        """tau: of the slow critics. q_weight: weight of the value in the actor's loss; 0 learns no critic at all.

        options: Learner's.
        """
        if strong_augment is not None and not q_weight > 0:
            raise ValueError(f"{type(self).__name__.lower()} strong_augment is the critic's, and with q_weight "
                             f"{q_weight} none is learnt: leave it out, or put {strong_augment} in augment")
        within(type(self).__name__.lower(), high=1.0, above=True, tau=tau)
        self.tau, self.q_weight = tau, q_weight
        critic = Critic(encoder.latent_dim, proprio_dim, action_dim, features=feature_dim, hidden=hidden_dim)
        self.critic = encoder.symmetric(critic, action_dim, proprio_dim).to(device)
        self.slow_critic = slow_copy(self.critic)
        super().__init__(encoder, actor, proprio_dim, objectives, seed, device, channels, action_dim=action_dim,
                         shaping=[self.critic], strong_augment=strong_augment, rewarded=q_weight > 0, **options)

    @abstractmethod
    def _next_value(self, z: Tensor, proprio: Tensor) -> Tensor:
        """(N, D), (N, P) -> (N, 1): what the policy would still earn from there; called without gradient."""

    @abstractmethod
    def _actor_losses(self, batch: Batch, z: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the actor learns from the critic, and metrics; z (B, D) without gradient: the encoder is not its."""

    def update(self, memory: EpisodeMemory) -> dict[str, float]:
        """One step of encoder, critic, objectives and actor on one batch."""
        batch, whole = self._draw(memory)                                   # (V*B, D)
        z = self.objectives.shield(whole)
        seen = z[:self.batch_size]                                          # (B, D), of batch.obs

        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {"batch/reward": batch.reward.mean()}
        if self.q_weight > 0:
            losses["critic/loss"], found = self._critic_loss(batch, z, seen)
            metrics |= found
        wanted, found = self._side_losses(batch, whole[:self.batch_size], seen)
        losses |= wanted
        metrics |= found
        self._shape(losses)

        if self.q_weight > 0:
            with frozen(self.critic):
                wanted, found = self._actor_losses(batch, seen.detach())
                refuse_non_finite(wanted)
                torch.stack(list(wanted.values())).sum().backward()
            losses |= wanted
            metrics |= found
        self.actor_optimiser.step()
        follow(self.slow_critic, self.critic, self.tau)
        return self._end(metrics | losses)

    def _critic_loss(self, batch: Batch, z: Tensor, seen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared TD error of both critics, a mean over views and over their strong copies."""
        many = self.views
        with torch.no_grad():       # by the online encoder, as in DrQ-v2: there is no slow one
            next_z = torch.cat([self._encode(batch.next_obs) for _ in range(many)])             # (views*B, D)
            next_value = self._next_value(next_z, batch.next_proprio.repeat(many, 1))
            next_value = next_value.view(many, -1, 1).mean(0)                                   # (B, 1)
            bonus = self.objectives.bonus(batch, seen, self._encode)
            target = batch.reward + bonus + batch.discount * next_value                         # (B, 1)
        many = len(z) // len(batch.obs)     # of the views, and as many again of their strong copies
        q1, q2 = self.critic(z, batch.proprio.repeat(many, 1), batch.action.repeat(many, 1))
        target = target.repeat(many, 1)
        loss = mse_loss(q1, target) + mse_loss(q2, target)
        return loss, {"critic/q": q1.mean(), "critic/target": target.mean()}

    def _value_scale(self, q: Tensor) -> Tensor | float:
        """Beside imitation the value (B, 1) is brought to scale 1, or the rewards' size would weigh the two."""
        return self.q_weight * (1.0 / (q.detach().abs().mean() + 1e-6) if self.imitation > 0 else 1.0)
