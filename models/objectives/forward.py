"""A latent forward model (Gelada et al. 2019, arXiv:1906.02736, sec. 3): what the latent keeps must foretell itself."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..batch import Batch
from ..encoder import Encoder
from ..heads import mlp
from ..objective import Encode, Objective
from ..ranges import within
from ..slow import follow, slow_copy


class Forward(Objective):
    """Predict one step ahead: the next latent, and the reward on the way, from this latent and the action.

    Differs from DeepMDP: the next latent is that of a slow copy, without gradient, and both are brought to
    `features` normalised numbers; together with the reward this keeps the latent from collapsing, where the paper
    bounds the model's Lipschitz constant.
    """

    needs: ClassVar[tuple[str, ...]] = ("successor", "step_reward")

    def __init__(self, encoder: Encoder, action_dim: int, *, features: int = 50, hidden: int = 256,
                 tau: float = 0.05, reward_weight: float = 1.0):
        """features: numbers predicted; hidden: units; tau: how fast the slow copies follow."""
        super().__init__(encoder, action_dim)
        within("forward", high=1.0, above=True, tau=tau)
        within("forward", reward_weight=reward_weight)
        self.tau, self.reward_weight = tau, reward_weight
        self.code = nn.Sequential(nn.Linear(encoder.latent_dim, features), nn.LayerNorm(features))
        self.model = mlp(features + action_dim, hidden, features + 1)
        self.slow_encoder, self.slow_code = slow_copy(encoder), slow_copy(self.code)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared errors; copy_error is that of saying that nothing changes."""
        now = self.code(z)                                                              # (B, F)
        predicted, reward = self.model(torch.cat([now, batch.action], dim=1)).tensor_split([-1], dim=1)
        with torch.no_grad():
            after = self.slow_code(encode(batch.extra["successor"], self.slow_encoder))
            before = self.slow_code(z)
        error, reward_error = mse_loss(predicted, after), mse_loss(reward, batch.extra["step_reward"])
        return (error + self.reward_weight * reward_error,
                {"error": error, "reward_error": reward_error, "copy_error": mse_loss(before, after),
                 "latent_std": after.std(0).mean()})

    def after_step(self, encoder: nn.Module) -> None:
        """The slow copies follow."""
        follow(self.slow_encoder, encoder, self.tau)
        follow(self.slow_code, self.code, self.tau)
