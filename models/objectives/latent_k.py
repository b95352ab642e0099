"""Latent prediction over K steps, as MR.Q learns its encoder (Fujimoto et al. 2025, arXiv:2501.16142, sec. 4.1)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..batch import Batch
from ..encoder import Encoder
from ..heads import mlp
from ..objective import Encode, Objective
from ..rows import Rows
from ..slow import slow_copy


class LatentK(Objective):
    """Predict several steps ahead by unrolling a latent model: latents, rewards (two-hot) and ends (MR.Q).

    Differs from MR.Q: latents are `features` normalised numbers of the agent's own, whose actor and critic stay
    DrQ-v2's or SAC's; the model is one network of state and action; K images of each moment have to be encoded, so
    they are drawn for a share of the batch. isolate=False lets the critic shape the encoder too, which MR.Q does not.
    Foretelling alone does not hold the latent up: where rewards tell nothing its spread (latent_std) may shrink.
    """

    def __init__(self, encoder: Encoder, action_dim: int, *, steps: int = 5, features: int = 50, hidden: int = 512,
                 reward_weight: float = 0.1, end_weight: float = 0.1, copy_every: int = 250, share: float = 0.3,
                 isolate: bool = True):
        """steps: K; copy_every: updates between copies of the slow networks; hidden: units; share: of the batch."""
        super().__init__(encoder, action_dim)
        if not (steps >= 1 and copy_every >= 1):
            raise ValueError(f"latent_k steps is {steps}, copy_every {copy_every}; both must be >= 1")
        self.needs = (f"sequence:{steps}",)
        self.steps, self.copy_every, self.isolate = steps, copy_every, isolate
        self.rows = Rows("latent_k", share)
        self.reward_weight, self.end_weight = reward_weight, end_weight
        self.code = nn.Sequential(nn.Linear(encoder.latent_dim, features), nn.LayerNorm(features))
        self.model = mlp(features + action_dim, hidden, features + BINS + 1)
        self.slow_encoder, self.slow_code = slow_copy(encoder), slow_copy(self.code)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def shield(self, z: Tensor) -> Tensor:
        """Without gradient, if isolated: then prediction alone shapes the encoder."""
        return z.detach() if self.isolate else z

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Errors summed over the steps, each a mean over those that were lived."""
        rows = self.rows(z)
        z = z[rows]
        part = {name: batch.extra[f"sequence/{name}"][rows, :self.steps]
                for name in ("obs", "action", "reward", "alive", "terminal")}
        with torch.no_grad():
            images = part["obs"].flatten(0, 1)
            after = self.slow_code(encode(images, self.slow_encoder)).unflatten(0, (-1, self.steps))    # (N, K, F)
            before = self.slow_code(z)
        latent_error, copy_errors, total = [], [], z.new_zeros(())
        code = self.code(z)                                                                             # (N, F)
        for k in range(self.steps):
            code, reward, end = self.model(torch.cat([code, part["action"][:, k]], dim=1)).split(
                [code.shape[1], BINS, 1], dim=1)
            alive = part["alive"][:, k, 0]                                                              # (N,)
            share = alive / alive.sum().clamp(min=1)
            ended = (end - part["terminal"][:, k]).square()[:, 0]
            latent_error.append((share * (code - after[:, k]).square().mean(1)).sum())
            copy_errors.append((share * (before - after[:, k]).square().mean(1)).sum())
            total = total + latent_error[-1] + self.end_weight * (share * ended).sum() + self.reward_weight * (
                share * cross_entropy(reward, two_hot(part["reward"][:, k, 0]), reduction="none")).sum()
        return total, {"loss": total, "last_error": latent_error[-1], "last_copy_error": copy_errors[-1],
                       "latent_std": after.flatten(0, 1).std(0).mean()}

    def after_step(self, encoder: nn.Module) -> None:
        """From time to time the slow networks become the fast ones."""
        self.updates += 1
        if int(self.updates) % self.copy_every == 0:
            self.slow_encoder.load_state_dict(encoder.state_dict())
            self.slow_code.load_state_dict(self.code.state_dict())


BINS, REACH = 65, 10.0      # of rewards, evenly spaced in symlog(reward) from -REACH to REACH, as in MR.Q


def two_hot(rewards: Tensor) -> Tensor:
    """(B,) -> (B, BINS): a reward as its share in the two bins around it, whose values it is the mean of."""
    places = torch.linspace(-REACH, REACH, BINS, device=rewards.device)
    bins = places.sign() * places.abs().expm1()
    low = (torch.searchsorted(bins, rewards.contiguous(), right=True) - 1).clamp(0, BINS - 2)
    high = ((rewards - bins[low]) / (bins[low + 1] - bins[low])).clamp(0, 1)
    shares = rewards.new_zeros(len(rewards), BINS)
    return shares.scatter(1, low[:, None], 1 - high[:, None]).scatter(1, low[:, None] + 1, high[:, None])
