"""DBC (Zhang et al. 2021, arXiv:2006.10742): latents as far apart as what is still to be earned from them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..batch import Batch
from ..encoder import Encoder
from ..objective import Encode, Objective

STD = 1e-4, 10.0        # of a predicted latent, least and greatest, as in the released code


class Dbc(Objective):
    """Deep bisimulation for control: the latent tells moments apart by their rewards and by what follows, no more.

    The distance is the paper's, ||z_i - z_j||_1 (eq. 5); the released code compares every dimension by itself with
    a smooth L1. Differs from it, too: the model of what follows reads the latent without shaping it, or its likelihood
    would reward a latent that shrinks; the reward is read from latent and action, not from a drawn next latent.
    Where rewards are sparse the latent may shrink to a point: watch `latent_std`.
    """

    needs = ("successor", "step_reward")

    def __init__(self, encoder: Encoder, action_dim: int, *, metric_weight: float = 0.5, gamma: float = 0.99,
                 hidden: int = 512):
        """metric_weight: of the distances, beside dynamics and reward; gamma: of what follows; hidden: units."""
        super().__init__(encoder, action_dim)
        if not encoder.projected:
            raise ValueError("dbc makes distances in the latent mean something: give the encoder a latent_dim, e.g. 50")
        if not 0 < gamma <= 1:
            raise ValueError(f"dbc gamma is {gamma}; it must lie in (0, 1]")
        self.metric_weight, self.gamma = metric_weight, gamma
        size = encoder.latent_dim
        self.dynamics = nn.Sequential(nn.Linear(size + action_dim, hidden), nn.LayerNorm(hidden), nn.ReLU(inplace=True),
                                      nn.Linear(hidden, 2 * size))
        self.reward = nn.Sequential(nn.Linear(size + action_dim, hidden), nn.LayerNorm(hidden), nn.ReLU(inplace=True),
                                    nn.Linear(hidden, 1))

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the distances, weighted, and what they need: a model of the next latent and of the reward."""
        reward = batch.extra["step_reward"]                             # (B, 1)
        with torch.no_grad():
            after = encode(batch.extra["successor"])                    # (B, D)
        mean, std = self._predict(z.detach(), batch.action)
        likelihood = (0.5 * ((after - mean) / std).square() + std.log()).mean()
        reward_error = mse_loss(self.reward(torch.cat([z, batch.action], dim=1)), reward)
        metric = self._metric(z, reward, mean.detach(), std.detach())
        spread = z.detach().std(0).mean()
        return (self.metric_weight * metric + likelihood + reward_error,
                {"metric": metric, "dynamics": likelihood, "reward": reward_error, "latent_std": spread})

    def _predict(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """The next latent's mean and spread, (B, D) each."""
        mean, raw = self.dynamics(torch.cat([z, action], dim=1)).chunk(2, dim=1)
        low, high = STD
        return mean, low + (high - low) * torch.sigmoid(raw)

    def _metric(self, z: Tensor, reward: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Squared error of the distance between pairs of the batch to the one that it ought to be."""
        # Always the same pairing: rows are drawn anew each time. Not row by row, or demonstrations, which stand
        # together at the end of a batch, would hardly meet the agent's own steps.
        other = torch.randperm(len(z), generator=torch.Generator().manual_seed(0)).to(z.device)
        apart = (z - z[other]).abs().sum(1)                                                     # (B,)
        follows = ((mean - mean[other]).square() + (std - std[other]).square()).sum(1).sqrt()   # Wasserstein-2
        return mse_loss(apart, (reward - reward[other]).abs()[:, 0] + self.gamma * follows)
