"""SAC (Haarnoja et al. 2018, arXiv:1812.05905) from images, as DrQ sets it up (Yarats et al. 2020, arXiv:2004.13649).

Options add n-step returns (by the memory), a share of demonstrations in every batch, and imitation of an expert's
labels beside the critic, as in agents/drqv2.py.
"""

from collections.abc import Sequence
from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..augments.turn import Channel
from ..batch import Batch
from ..encoder import Encoder
from ..heads import mlp, orthogonal, trunk
from ..objective import Objective
from .offpolicy import OffPolicy

LOG_STD = (-10.0, 2.0)      # range of the log of the spread before squashing, as in DrQ's code


class Sac(OffPolicy):
    """Soft actor-critic from images: a stochastic actor earns reward and entropy, at a temperature that is learnt.

    Differs from DrQ's code: the target's latent comes from the online encoder (there: from a slow one, a third
    pass of the convolutions), the loss is a mean over views, as in DrQ's eq. 3 (there: their sum), and actor and slow
    critics move at every update (there: at every second).
    """

    parts: ClassVar[tuple[str, ...]] = (*OffPolicy.parts, "temperature")

    def __init__(self, encoder: Encoder, action_dim: int, proprio_dim: int,
                 objectives: Sequence[tuple[Objective, float]], seed: int, device: torch.device,
                 channels: Sequence[Channel] = (), *,
                 lr: float = 1e-3, batch_size: int = 512, feature_dim: int = 50, hidden_dim: int = 1024,
                 tau: float = 0.01, shift: int = 4, augment: list | None = None, views: int = 2,
                 strong_augment: list | None = None, explore_steps: int = 1000,
                 alpha: float = 0.1, target_entropy: float | None = None,
                 demo_share: float = 0.0, imitation: float = 0.0, q_weight: float = 1.0, bf16: bool = False):
        """Defaults are DrQ's.

        shift: px. augment: what every image goes through (RAD), by names; None: shift alone. views: augmented views
        that loss and target are averaged over (M = K). strong_augment: what a copy of every view goes through for the
        critic's loss alone (SVEA); None: no copy. explore_steps: steps of uniform actions to begin with. alpha: first
        temperature. target_entropy: nats that the temperature holds the actor at; None: minus the number of actions.
        demo_share: part of every batch drawn from demonstrations (0: evenly over all steps). imitation: weight of the
        squared error to the expert's action. q_weight: weight of value and entropy in the actor's loss. bf16: convolve
        in bfloat16 while learning (not while acting).
        """
        if not (alpha > 0 and q_weight > 0):
            raise ValueError(f"sac alpha {alpha} and q_weight {q_weight} must be above 0; "
                             "to learn from labels alone take agent bc")
        self.target_entropy = float(-action_dim) if target_entropy is None else target_entropy
        actor = GaussianActor(encoder.latent_dim, proprio_dim, action_dim, features=feature_dim, hidden=hidden_dim)
        super().__init__(encoder, actor, proprio_dim, objectives, seed, device, channels, action_dim=action_dim,
                         lr=lr, batch_size=batch_size, feature_dim=feature_dim, hidden_dim=hidden_dim, tau=tau,
                         shift=shift, augment=augment, views=views, strong_augment=strong_augment,
                         explore_steps=explore_steps, demo_share=demo_share, imitation=imitation,
                         q_weight=q_weight, bf16=bf16)
        self.temperature = Temperature(alpha).to(device)
        self.actor_optimiser.add_param_group({"params": list(self.temperature.parameters())})

    def _explore(self, z: Tensor, proprio: Tensor) -> Tensor:
        return self._act(z, proprio)[0]

    def _next_value(self, z: Tensor, proprio: Tensor) -> Tensor:
        """The smaller slow value of a drawn action, and the entropy that is still to be had (eq. 3)."""
        action, log_prob = self._act(z, proprio)
        return torch.minimum(*self.slow_critic(z, proprio, action)) - self.temperature() * log_prob

    def _actor_losses(self, batch: Batch, z: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Value and entropy of a drawn action (eq. 7), and how far its entropy is from the one wanted (eq. 18)."""
        action, log_prob = self._act(z, batch.proprio)
        q = torch.minimum(*self.critic(z, batch.proprio, action))
        alpha = self.temperature()
        losses = {"actor/loss": self._value_scale(q) * (alpha.detach() * log_prob - q).mean(),
                  "alpha/loss": -(alpha * (log_prob.detach() + self.target_entropy)).mean()}
        return losses, {"actor/entropy": -log_prob.mean(), "alpha/value": alpha}

    def _act(self, z: Tensor, proprio: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, P) -> a drawn action (B, A) and its log-density (B, 1); gradients pass through both."""
        mean, log_std = self.actor.before_squashing(z, proprio)
        return squashed(mean, log_std, self._normal(mean))


class GaussianActor(nn.Module):
    """Latent and proprio to a Gaussian that tanh squashes into (-1, 1); called, it gives the squashed mean."""

    def __init__(self, latent_dim: int, proprio_dim: int, action_dim: int, *, features: int, hidden: int):
        """features: numbers that the trunk leaves of the latent; hidden: units per layer."""
        super().__init__()
        self.trunk = trunk(latent_dim, features)
        self.numbers = mlp(features + proprio_dim, hidden, 2 * action_dim)
        self.apply(orthogonal)

    def before_squashing(self, z: Tensor, proprio: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, P) -> mean and log of the spread, (B, A) each."""
        mean, raw = self.numbers(torch.cat([self.trunk(z), proprio], dim=1)).chunk(2, dim=1)
        low, high = LOG_STD
        return mean, low + (high - low) * (torch.tanh(raw) + 1) / 2

    def forward(self, z: Tensor, proprio: Tensor) -> Tensor:
        """(B, D), (B, P) -> (B, A) in (-1, 1)."""
        return torch.tanh(self.before_squashing(z, proprio)[0])


class Temperature(nn.Module):
    """The price of entropy, kept above 0 by its logarithm."""

    def __init__(self, first: float):
        """first: its value to begin with."""
        super().__init__()
        self.log = nn.Parameter(torch.tensor(log(first)))

    def forward(self) -> Tensor:
        """A scalar."""
        return self.log.exp()


def squashed(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """tanh(mean + std noise), (B, A), and its log-density (B, 1) (appendix C)."""
    drawn = mean + log_std.exp() * noise
    gaussian = -0.5 * noise.square() - log_std - 0.5 * log(2 * pi)
    # log(1 - tanh^2 x) written so that it stays finite where tanh rounds to 1.
    slope = 2 * (log(2) - drawn - softplus(-2 * drawn))
    return torch.tanh(drawn), (gaussian - slope).sum(1, keepdim=True)
