"""DrQ-v2 (Yarats et al. 2021, arXiv:2107.09645): DDPG from images, n-step returns, twin critics, shifts.

Options add DrQ's averaging over views (Yarats et al. 2020, arXiv:2004.13649), a share of demonstrations in
every batch, and imitation of an expert's labels beside or instead of the critic (TD3+BC, Fujimoto & Gu 2021,
arXiv:2106.06860, eq. 5; with labels on the agent's own steps: DAgger, Ross et al. 2011, arXiv:1011.0686).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..augment import RandomShift
from ..batch import Batch
from ..encoder import Encoder
from ..heads import Actor, Critic, Policy, Standardise
from ..memory import EpisodeMemory
from ..objective import Objective
from ..slow import follow, frozen, slow_copy

Array = NDArray[Any]
EDGE = 1e-6     # an action keeps this far from the ends of [-1, 1], as in the paper's code


class DrQv2:
    """Off-policy actor-critic whose encoder is shaped by the critic, by objectives and by imitation.

    Differs from the paper's code: a true terminal has discount 0 (there `discount or 1.0` makes it 1), the
    critic's weights get no gradient from the actor's loss, the noise schedule counts the agent's own steps.
    """

    def __init__(self, encoder: Encoder, action_dim: int, proprio_dim: int,
                 objectives: Sequence[tuple[Objective, float]], seed: int, device: torch.device, *,
                 lr: float = 1e-4, batch_size: int = 256, feature_dim: int = 50, hidden_dim: int = 1024,
                 tau: float = 0.01, shift: int = 4, views: int = 1, explore_steps: int = 2000,
                 std_start: float = 1.0, std_end: float = 0.1, std_steps: int = 100_000,
                 std_clip: float = 0.3,
                 demo_share: float = 0.0, imitation: float = 0.0, q_weight: float = 1.0, bf16: bool = False):
        """Defaults are the paper's.

        shift: px. views: augmented views that loss and target are averaged over (DrQ's K = M). explore_steps:
        steps of uniform actions to begin with. demo_share: part of every batch drawn from demonstrations
        (0: evenly over all steps). imitation: weight of the squared error to the expert's action.
        q_weight: weight of the value in the actor's loss; 0 learns no critic at all. bf16: convolve in
        bfloat16 while learning (not while acting); not the same numbers, and pays only where the chip has it.
        """
        if imitation == 0 and q_weight == 0:
            raise ValueError("drqv2 imitation and q_weight are both 0: nothing would teach the actor")
        if not (views >= 1 and batch_size >= 1 and std_steps >= 1 and 0 <= shift < min(encoder.size)):
            raise ValueError(f"drqv2 views {views}, batch_size {batch_size} and std_steps {std_steps} must "
                             f"be >= 1, shift {shift} in 0..{min(encoder.size) - 1} px")
        self.device, self.batch_size, self.tau, self.views = device, batch_size, tau, views
        self.std_start, self.std_end, self.std_steps, self.std_clip = std_start, std_end, std_steps, std_clip
        self.explore_steps, self.demo_share = explore_steps, demo_share
        self.imitation, self.q_weight, self.action_dim, self.bf16 = imitation, q_weight, action_dim, bf16
        # Lives on the CPU whatever the networks live on: the same numbers everywhere.
        self.random = torch.Generator().manual_seed(seed)
        self.shift = RandomShift(self.random, shift)
        sizes = {"features": feature_dim, "hidden": hidden_dim}
        self.encoder = encoder.to(device)
        self.actor = Actor(encoder.latent_dim, proprio_dim, action_dim, **sizes).to(device)
        self.critic = Critic(encoder.latent_dim, proprio_dim, action_dim, **sizes).to(device)
        self.slow_critic = slow_copy(self.critic)
        self.standardise = Standardise(proprio_dim).to(device)
        # Weight 0 is exactly the baseline: such an objective is never asked, so it draws no random number.
        active = [(objective.to(device), weight) for objective, weight in objectives if weight != 0]
        self.objectives = nn.ModuleDict({type(part).__name__.lower(): part for part, _ in active})
        self.weights = [weight for _, weight in active]
        self.needs = tuple(dict.fromkeys([name for objective, _ in active for name in objective.needs]
                                         + ["expert"] * (imitation > 0)))
        shaped = [*self.encoder.parameters(), *self.critic.parameters(),
                  *(weight for weight in self.objectives.parameters() if weight.requires_grad)]
        self.optimiser = torch.optim.Adam(shaped, lr, fused=True)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), lr, fused=True)
        self.steps = 0      # exploring steps so far: what the schedule counts

    def act(self, obs: Array, explore: bool, proprio: Array | None = None) -> Array:
        """(C, H, W) uint8 [, (P,)] -> (A,) float32 in [-1, 1]; `explore` adds noise and counts the step."""
        if explore:
            self.steps += 1
            if self.steps <= self.explore_steps:
                return (2 * torch.rand(self.action_dim, generator=self.random) - 1).numpy()
        images = torch.as_tensor(obs, device=self.device)[None]
        own = np.zeros(0, np.float32) if proprio is None else np.asarray(proprio, np.float32)
        with torch.inference_mode():
            own = self.standardise(torch.as_tensor(own, device=self.device)[None])
            mean = self.actor(self.encoder(images), own)
            action = self._noisy(mean, clip=float("inf")) if explore else mean
            return action[0].cpu().numpy()

    def update(self, memory: EpisodeMemory) -> dict[str, float]:
        """One step of encoder, critic, objectives and actor on one batch."""
        # demo_share 0 asks for no balance at all, so demonstrations count like any other step.
        batch = memory.sample(self.batch_size, self.needs, self.demo_share if self.demo_share > 0 else None)
        batch, images = self._augment(batch.to(self.device))
        z = self._look(images)                                              # (views*B, D)
        shaped = z[:self.batch_size]                                        # (B, D), of batch.obs
        for objective in self.objectives.values():
            z = objective.shield(z)
        seen = z[:self.batch_size]

        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {"batch/reward": batch.reward.mean()}
        if self.q_weight > 0:
            losses["critic/loss"], found = self._critic_loss(batch, z, seen)
            metrics |= found
        for (name, objective), weight in zip(self.objectives.items(), self.weights, strict=True):
            loss, found = objective.loss(batch, shaped, self._encode)
            losses[f"{name}/total"] = weight * loss
            metrics |= {f"{name}/{key}": value for key, value in found.items()}
        if self.imitation > 0:
            error = self._imitation_error(batch, seen)
            losses["imitation/loss"] = self.imitation * error
            metrics["imitation/error"] = error
        _refuse_non_finite(losses)
        self.optimiser.zero_grad()
        self.actor_optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()                 # imitation reaches the actor here
        self.optimiser.step()

        if self.q_weight > 0:
            with frozen(self.critic):
                losses["actor/loss"], found = self._actor_loss(batch, seen.detach())
                _refuse_non_finite({"actor/loss": losses["actor/loss"]})
                losses["actor/loss"].backward()
            metrics |= found
        self.actor_optimiser.step()

        follow(self.slow_critic, self.critic, self.tau)
        for objective in self.objectives.values():
            objective.after_step(self.encoder)
        metrics |= losses
        values = torch.stack([value.detach() for value in metrics.values()]).tolist()   # one transfer for all
        return dict(zip(metrics, values, strict=True))

    def policy(self) -> nn.Module:
        """(B, C, H, W) uint8 [, (B, P)] -> (B, A): the mean action, without noise."""
        return Policy(self.encoder, self.actor, self.standardise)

    def reset(self) -> None:
        """Nothing is remembered between steps."""

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on, as tensors and numbers."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return parts | {"random": self.random.get_state(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where state_dict() was taken."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.random.set_state(state["random"].cpu())
        self.steps = int(state["steps"])

    def _parts(self) -> dict[str, Any]:
        names = ("encoder", "actor", "critic", "slow_critic", "standardise", "objectives", "optimiser",
                 "actor_optimiser")
        return {name: getattr(self, name) for name in names}

    def _augment(self, batch: Batch) -> tuple[Batch, Tensor]:
        """The batch as the encoder sees it first, and images (views*B, C, H, W) of all views of it."""
        obs, params = self.shift(batch.obs)
        extra = dict(batch.extra)
        if "mask" in extra:
            extra["mask"], _ = self.shift(extra["mask"], params)            # a mask moves with its image
        images = [obs] + [self.shift(batch.obs)[0] for _ in range(self.views - 1)]
        self.standardise.observe(batch.proprio)
        batch = batch._replace(obs=obs, extra=extra, proprio=self.standardise(batch.proprio),
                               next_proprio=self.standardise(batch.next_proprio))
        return batch, obs if self.views == 1 else torch.cat(images)

    def _encode(self, images: Tensor, encoder: nn.Module | None = None) -> Tensor:
        """For objectives: (B, C, H, W) uint8, freshly shifted -> (B, D)."""
        return self._look(self.shift(images)[0], encoder)

    def _look(self, images: Tensor, encoder: nn.Module | None = None) -> Tensor:
        """(B, C, H, W) uint8 as they are -> (B, D) float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return (self.encoder if encoder is None else encoder)(images).float()

    def _critic_loss(self, batch: Batch, z: Tensor, seen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared TD error of both critics, averaged over views."""
        many = self.views
        with torch.no_grad():       # by the online encoder: there is no slow one in DrQ-v2
            next_z = torch.cat([self._encode(batch.next_obs) for _ in range(many)])             # (views*B, D)
            next_proprio = batch.next_proprio.repeat(many, 1)
            next_action = self._noisy(self.actor(next_z, next_proprio), self.std_clip)
            next_q = torch.minimum(*self.slow_critic(next_z, next_proprio, next_action))
            next_q = next_q.view(many, -1, 1).mean(0)                                           # (B, 1)
            bonus = sum(objective.bonus(batch, seen, self._encode) for objective in self.objectives.values())
            target = batch.reward + bonus + batch.discount * next_q                             # (B, 1)
        q1, q2 = self.critic(z, batch.proprio.repeat(many, 1), batch.action.repeat(many, 1))
        target = target.repeat(many, 1)
        loss = mse_loss(q1, target) + mse_loss(q2, target)
        return loss, {"critic/q": q1.mean(), "critic/target": target.mean()}

    def _actor_loss(self, batch: Batch, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the value of the actor's noisy action; z without gradient, the encoder is not the actor's."""
        action = self._noisy(self.actor(z, batch.proprio), self.std_clip)
        q = torch.minimum(*self.critic(z, batch.proprio, action))
        # Beside imitation the value is brought to scale 1, or the rewards' size would weigh the two.
        scale = 1.0 / (q.detach().abs().mean() + 1e-6) if self.imitation > 0 else 1.0
        return -self.q_weight * scale * q.mean(), {"actor/std": torch.tensor(self.std, device=z.device)}

    def _imitation_error(self, batch: Batch, z: Tensor) -> Tensor:
        """Mean squared error of the mean action to the expert's, over the steps that carry a label."""
        labels = batch.extra["expert"]
        known = labels.isfinite().all(1, keepdim=True)                                          # (B, 1)
        error = (self.actor(z, batch.proprio) - labels.nan_to_num()).square().mean(1, keepdim=True)
        return (error * known).sum() / known.sum().clamp(min=1)

    @property
    def std(self) -> float:
        """Of the exploration noise now."""
        done = min(1.0, self.steps / self.std_steps)
        return self.std_start + done * (self.std_end - self.std_start)

    def _noisy(self, mean: Tensor, clip: float) -> Tensor:
        """(B, A) + clipped noise, kept inside [-1, 1] while its gradient passes as if it were not."""
        noise = torch.randn(mean.shape, generator=self.random).to(mean.device) * self.std
        action = mean + noise.clamp(-clip, clip)
        return action + (action.clamp(-1 + EDGE, 1 - EDGE) - action).detach()


def _refuse_non_finite(losses: dict[str, Tensor]) -> None:
    """FloatingPointError that names the loss, before any weight is spoilt."""
    values = torch.stack([loss.detach() for loss in losses.values()]).tolist()
    for name, value in zip(losses, values, strict=True):
        if not np.isfinite(value):
            raise FloatingPointError(f"{name} is {value}: training has diverged; lower lr or that weight")
