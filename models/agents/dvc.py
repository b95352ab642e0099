"""DVC, deep visuomotor control (Pore et al. 2022, IROS, pp. 9582-9588): PPO end to end from endoscope images.

PPO: Schulman et al. 2017, arXiv:1707.06347. The constrained variant (Corsi, Marzari, Pore et al. 2023,
arXiv:2303.03207) keeps an episode's cost below a limit by a Lagrange multiplier (Ray et al. 2019, section 4).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..actions import make_head
from ..actor_critic import ActorCritic, Greedy
from ..augment import RandomShift
from ..augments.chain import encoded
from ..augments.turn import Channel
from ..batch import Batch
from ..drac import Drac
from ..encoder import Encoder
from ..memory import EpisodeMemory
from ..objective import Objective
from ..ranges import within
from ..replay import Replay, check_fed
from ..rollout import ReturnScale, Rollout, advantages
from ..side import SideObjectives

Array = NDArray[Any]


class Choice(NamedTuple):
    """What the policy does in N environments, and what PPO has to remember of it."""

    action: Tensor      # (N, A) in [-1, 1]
    drawn: Tensor       # (N, R)
    log_prob: Tensor    # (N,)
    values: Tensor      # (N, 2), of reward and cost
    state: Tensor       # (N, S), after this step


class Dvc:
    """On-policy actor-critic; encoder, policy and values learn together, from the reward and beside objectives.

    Differs from the released settings: rewards are scaled by the spread of returns (Engstrom et al. 2020,
    arXiv:2005.12729), insertion is an action like the others.
    """

    on_policy = True

    def __init__(self, encoder: Encoder, action_dim: int, proprio_dim: int,
                 objectives: Sequence[tuple[Objective, float]], seed: int, device: torch.device,
                 channels: Sequence[Channel] = (), *,
                 actions: str = "gaussian", std: float = 0.6, bins: int = 3, choices: list | None = None,
                 hidden_dim: int = 128, recurrent: int = 0, sequence: int = 16,
                 horizon: int = 256, batch_size: int = 1024, epochs: int = 3, lr: float = 3e-4, lr_steps: int = 0,
                 clip: float = 0.2, kl_limit: float = 0.0, gamma: float = 0.99, trace: float = 0.95,
                 entropy: float = 5e-3, value_weight: float = 0.5, grad_limit: float = 0.5,
                 value_shapes: bool = True, imitation: float = 0.0, rehearse: int = 0,
                 cost_limit: float = -1.0, cost_lr: float = 0.05,
                 shift: int = 4, drac: list | None = None, drac_weight: float = 0.1, ucb: float = 0.1,
                 ucb_window: int = 10):
        """Defaults are those released with DVC, where there were any.

        actions: gaussian (first spread `std`), bins (DVC's multi-discrete: `bins` values per channel) or choices
        (one of a list of actions). recurrent: units of a GRU behind the encoder, learnt over `sequence` steps; 0:
        none. horizon: steps of each environment in a rollout. lr_steps: steps over which lr falls to 0; 0: it stays.
        kl_limit: divergence from the policy that lived the rollout, beyond which no more is learnt of it (as PPO's
        common codes stop early: clipping alone bounds no step); 0: all epochs are made.
        value_shapes: whether the error of the values shapes encoder and memory too. After cloning, values that know
        nothing yet would shake what the policy sees by (decoupled as in Raileanu & Fergus 2021, arXiv:2102.10330).
        imitation: weight of the error to the expert's action on the rollout's own steps. rehearse: remembered steps of
        demonstrations whose error joins each minibatch with the same weight, so that cloning is not unlearnt (DAPG,
        Rajeswaran et al. 2018, arXiv:1709.10087, sec. IV); 0: none. A recurrent policy is shown `sequence` of them in
        a row, from a memory of nothing on. cost_limit: mean cost of an episode that is allowed; below 0: costs are not
        looked at. cost_lr: of the multiplier. shift: px, of the further views that
        objectives ask for. drac: augmentations, by names, that policy and values shall not mind (DrAC); None: as it
        sees is as it learns. drac_weight: of both its terms, 0: none. ucb, ucb_window: the bandit's that chooses among
        them.
        """
        if encoder.cached:
            raise ValueError("dvc learns from rollouts, which hold images: set encoder.cached to false")
        length = sequence if recurrent else 1
        if not (horizon >= 2 and horizon % length == 0 and batch_size >= length >= 1 and epochs >= 1):
            raise ValueError(f"dvc horizon {horizon} must be a multiple of sequence {length} and at least 2, "
                             f"batch_size {batch_size} at least {length}, epochs {epochs} at least 1")
        if rehearse < 0 or (rehearse and not imitation > 0):
            raise ValueError(f"dvc rehearse is {rehearse}, imitation {imitation}; rehearse must be >= 0, and above 0 "
                             "imitation, its weight, must be above 0 too")
        within("dvc", above=True, lr=lr, clip=clip, grad_limit=grad_limit)
        within("dvc", kl_limit=kl_limit, lr_steps=lr_steps, entropy=entropy, value_weight=value_weight,
               imitation=imitation, cost_lr=cost_lr, recurrent=recurrent, drac_weight=drac_weight)
        within("dvc", high=1.0, trace=trace)
        within("dvc", high=1.0, above=True, gamma=gamma)
        within("dvc", 1, hidden_dim=hidden_dim)
        if cost_limit >= 0 and gamma == 1:
            raise ValueError(f"dvc gamma is 1, and with cost_limit {cost_limit} costs are weighed over 1 / (1 - gamma) "
                             "steps: take a gamma below 1")
        if not 0 <= shift < min(encoder.size):
            raise ValueError(f"dvc shift is {shift}; it must be in 0..{min(encoder.size) - 1} px")
        self.device, self.horizon, self.batch_size, self.epochs = device, horizon, batch_size, epochs
        self.lr, self.lr_steps, self.clip, self.gamma, self.trace = lr, lr_steps, clip, gamma, trace
        self.kl_limit = kl_limit
        self.entropy, self.value_weight, self.grad_limit, self.imitation = entropy, value_weight, grad_limit, imitation
        self.rehearse, self.value_shapes = rehearse, value_shapes
        self.cost_limit, self.cost_lr, self.sequence = cost_limit, cost_lr, length
        self.objectives = SideObjectives(objectives, device, rewarded=True)
        check_fed(self.objectives.needs, horizon)
        self.needs = tuple(dict.fromkeys([*self.objectives.needs, *["expert"] * (imitation > 0)]))
        self.random = torch.Generator().manual_seed(seed)
        head = make_head(actions, hidden_dim, action_dim, std=std, bins=bins, choices=choices)
        head = encoder.symmetric(head, action_dim, proprio_dim)
        self.net = ActorCritic(encoder, proprio_dim, head, hidden_dim, recurrent).to(device)
        # Weight 0 is the baseline, to the last draw.
        self.drac = None if drac is None or drac_weight == 0 else Drac(
            drac, self.random, self.net, channels, shift=shift, weight=drac_weight, explore=ucb, window=ucb_window)
        self.shift = RandomShift(self.random, shift)
        learnt = [weight for part in (self.net, self.objectives) for weight in part.parameters()
                  if weight.requires_grad]
        self.optimiser = torch.optim.Adam(learnt, lr, eps=1e-5, fused=True)
        self.returns = ReturnScale(gamma)
        self.multiplier = 0.0       # of the cost
        self.steps = 0              # of all environments
        self.state = self.first_state(1)

    @property
    def encoder(self) -> Encoder:
        """What it sees by, as other agents have it."""
        return self.net.encoder

    def first_state(self, count: int) -> Tensor:
        """What the policy remembers as `count` episodes begin: (count, S)."""
        return torch.zeros(count, self.net.memory.size, device=self.device)

    def act(self, obs: Array, explore: bool, proprio: Array | None = None) -> Array:
        """(C, H, W) uint8 [, (P,)] -> (A,) float32 in [-1, 1]; remembers where it is in the episode."""
        own = np.zeros(0, np.float32) if proprio is None else np.asarray(proprio, np.float32)
        images, proprio = torch.as_tensor(obs)[None], torch.as_tensor(own)[None]
        if explore:
            action, *_, self.state = self.choose(images, proprio, self.state)
        else:
            action, self.state = self._best(images, proprio, self.state)
        return action[0].cpu().numpy()

    @torch.inference_mode()
    def choose(self, obs: Tensor, proprio: Tensor, state: Tensor) -> Choice:
        """(N, C, H, W) uint8, (N, P), (N, S): an action for each of N environments, drawn from the policy."""
        features, state = self.net.look(obs.to(self.device), proprio.to(self.device), state)
        numbers, head = self.net.numbers(features), self.net.head
        drawn = head.draw(numbers, self.random)
        return Choice(head.action(drawn), drawn, head.log_prob(numbers, drawn), self.net.values(features), state)

    @torch.inference_mode()
    def _best(self, obs: Tensor, proprio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The same without a draw, so that no evaluation changes what training draws: (N, A) and the state after."""
        features, state = self.net.look(obs.to(self.device), proprio.to(self.device), state)
        return self.net.head.best(self.net.numbers(features)), state

    @torch.inference_mode()
    def values(self, obs: Tensor, proprio: Tensor, state: Tensor) -> Tensor:
        """(N, C, H, W) uint8, (N, P), (N, S) -> (N, 2), of reward and cost."""
        return self.net.values(self.net.look(obs.to(self.device), proprio.to(self.device), state)[0])

    def learn(self, rollout: Rollout, memory: EpisodeMemory | None = None) -> dict[str, float]:
        """Some epochs over one rollout; metrics are means over the minibatches. memory: demonstrations to rehearse."""
        left = 1 - min(1.0, self.steps / self.lr_steps) if self.lr_steps else 1.0
        self.steps += rollout.reward.numel()
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * left
        replay = self._replay(rollout) if self.objectives else None
        lived = rollout
        if replay and self.objectives.curious:
            rollout = rollout._replace(reward=rollout.reward + self._bonus(replay, rollout))
        scale = self.returns.observe(rollout.reward, rollout.ended)
        gains, targets = self._advantages(rollout, scale)
        if self.drac:       # these returns followed the augmentation of the last update
            self.drac.bandit.observe(float(targets[..., 0].mean()))
            self.drac.bandit.choose()
        found: dict[str, list[Tensor]] = {}
        for times, which in chain.from_iterable(self._minibatches(*rollout.reward.shape) for _ in range(self.epochs)):
            shown = self._shown(memory, self.rehearse) if memory and self.rehearse else None
            step = self._step(rollout, gains, targets, times, which, replay, shown)
            for name, value in step.items():
                found.setdefault(name, []).append(value)
            if 0 < self.kl_limit < step["policy/kl"]:
                break
        # Not before: the probabilities of the rollout are of proprio as it was scaled then.
        self.net.standardise.observe(rollout.proprio.flatten(0, 1).to(self.device))
        metrics = {name: float(torch.stack(values).mean()) for name, values in found.items()}
        if self.drac:
            metrics["drac/arm"] = float(self.drac.bandit.arm)
        return metrics | {"rollout/reward": float(lived.reward.mean()), "rollout/cost": float(rollout.cost.mean()),
                          "cost/multiplier": self.multiplier}

    def constrain(self, cost: float) -> None:
        """Tell the mean cost of the last episodes: the multiplier grows while it is above the limit."""
        if self.cost_limit >= 0:
            self.multiplier = max(0.0, self.multiplier + self.cost_lr * (cost - self.cost_limit))

    def update(self, memory: EpisodeMemory) -> dict[str, float]:
        """One step of imitation on remembered demonstrations, before any rollout."""
        batch = self._shown(memory, min(self.batch_size, 256), self.needs).to(self.device)
        self.net.standardise.observe(batch.proprio)
        z, error = self._cloned(batch)
        losses, metrics = self.objectives.losses(self._standardised(batch), z, self._encode)
        self._descend({"imitation/loss": error, **losses})
        return {"imitation/error": float(error.detach())} | {
            name: float(value.detach()) for name, value in {**metrics, **losses}.items()}

    def policy(self) -> nn.Module:
        """(B, C, H, W) uint8 [, (B, P)] [, (B, S)] -> (B, A) [, (B, S)]: the likeliest action."""
        return Greedy(self.net)

    def reset(self) -> None:
        """An episode begins."""
        self.state = self.first_state(1)

    def state_dict(self) -> dict[str, Any]:
        """All that the next rollout's learning depends on."""
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(),
                "random": self.random.get_state(), "steps": self.steps, "multiplier": self.multiplier,
                "returns": self.returns.state_dict(), "objectives": self.objectives.state_dict(),
                "bandit": self.drac.bandit.state_dict() if self.drac else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where state_dict() was taken."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.random.set_state(state["random"].cpu())
        self.returns.load_state_dict(state["returns"])
        self.objectives.load_state_dict(state.get("objectives", {}))       # not in files from before there were any
        if self.drac:
            self.drac.bandit.load_state_dict(state["bandit"])
        self.steps, self.multiplier = int(state["steps"]), float(state["multiplier"])

    def _advantages(self, rollout: Rollout, scale: float) -> tuple[Tensor, Tensor]:
        """What each action gained (T, N), normalised; and what the values should have been (T, N, 2)."""
        both = torch.stack([advantages(signal, rollout.values[..., k], rollout.next_values[..., k],
                                       rollout.terminated, rollout.ended, self.gamma, self.trace)
                            for k, signal in enumerate((rollout.reward / scale, rollout.cost * (1 - self.gamma)))], -1)
        gains = both - both.mean((0, 1))
        earned = gains[..., 0] / (both[..., 0].std() + 1e-8)
        # A spread of costs below one step is not brought up to 1: of a policy that costs nothing any more it is the
        # noise of its values, which would count as much as the reward. (Ray et al.'s code brings none to it.)
        spread = both[..., 1].std().clamp(min=1 - self.gamma) + 1e-8
        gain = earned - self.multiplier * gains[..., 1] / spread
        return gain / (1 + self.multiplier), both + rollout.values

    def _minibatches(self, steps: int, count: int) -> list[tuple[Tensor, Tensor]]:
        """Times (L, B) and environments (B,) of each minibatch, at random; L steps in a row."""
        starts = torch.arange(0, steps, self.sequence).repeat(count)
        which = torch.arange(count).repeat_interleave(steps // self.sequence)
        order = torch.randperm(len(starts), generator=self.random)
        many = max(1, round(len(order) * self.sequence / self.batch_size))
        line = torch.arange(self.sequence)[:, None]
        return [(starts[part] + line, which[part]) for part in order.tensor_split(many)]

    def _replay(self, rollout: Rollout) -> Replay:
        """The rollout as objectives are fed by it."""
        action = self.net.head.action(rollout.drawn.flatten(0, 1).to(self.device)).cpu()
        seed = int(torch.randint(2 ** 31, (), generator=self.random))
        return Replay(rollout, action.unflatten(0, rollout.reward.shape), self.needs, gamma=self.gamma, seed=seed)

    def _standardised(self, batch: Batch) -> Batch:
        return batch._replace(proprio=self.net.standardise(batch.proprio),
                              next_proprio=self.net.standardise(batch.next_proprio))

    def _encode(self, images: Tensor, encoder: nn.Module | None = None) -> Tensor:
        """For objectives: (B, C, H, W) uint8, freshly shifted -> (B, D); clips (B, T, C, H, W) -> (B, T, D)."""
        return encoded(images, self.shift, self.net.encoder if encoder is None else encoder)

    @torch.no_grad()
    def _bonus(self, replay: Replay, rollout: Rollout) -> Tensor:
        """Intrinsic reward of every step: (T, N)."""
        which, found = torch.arange(rollout.reward.shape[1]), []
        for times in torch.arange(len(rollout.reward)).split(max(1, self.batch_size // len(which))):
            batch = self._standardised(replay.at(times[:, None].expand(-1, len(which)), which).to(self.device))
            bonus = self.objectives.bonus(batch, self.net.encoder(batch.obs), self._encode)
            found.append((bonus + torch.zeros_like(batch.reward)).view(len(times), -1).cpu())
        return torch.cat(found)

    def _step(self, rollout: Rollout, gains: Tensor, targets: Tensor, times: Tensor, which: Tensor,
              replay: Replay | None, shown: Batch | None) -> dict[str, Tensor]:
        """One minibatch: the clipped surrogate, values, entropy, imitation; DrAC's terms; objectives."""
        gain = gains[times, which].flatten().to(self.device)
        before = rollout.log_prob[times, which].flatten().to(self.device)
        images = rollout.obs[times, which].flatten(0, 1).to(self.device)
        proprio = rollout.proprio[times, which].to(self.device)
        z = self.net.encoder(images)                                            # (L*B, D)
        features = self.net.along(self.objectives.shield(z), proprio, rollout.state[times[0], which].to(self.device),
                                  rollout.ended[times, which].to(self.device))
        numbers = self.net.numbers(features)
        values = self.net.values(features if self.value_shapes else features.detach())
        log_prob = self.net.head.log_prob(numbers, rollout.drawn[times, which].flatten(0, 1).to(self.device))
        ratio, surrogate = clipped_surrogate(log_prob, before, gain, self.clip)
        value_error = (values - targets[times, which].flatten(0, 1).to(self.device)).square().mean(0)
        entropy = self.net.head.entropy(numbers).mean()
        heeded = value_error.sum() if self.cost_limit >= 0 else value_error[0]
        losses = {"policy/loss": -surrogate.mean(), "value/loss": self.value_weight * heeded,
                  "entropy/loss": -self.entropy * entropy}
        if self.imitation > 0:
            losses["imitation/loss"] = self.imitation * self._imitation(
                numbers, rollout.expert[times, which].flatten(0, 1).to(self.device))
        if shown is not None:
            losses["rehearsal/loss"] = self.imitation * self._cloned(shown.to(self.device))[1]
        metrics: dict[str, Tensor] = {}
        if self.drac:
            losses |= self.drac.losses(images, proprio.flatten(0, 1), numbers, values,
                                       2 if self.cost_limit >= 0 else 1, self.objectives.shield)
        if replay:
            batch = self._standardised(replay.at(times, which).to(self.device))
            wanted, metrics = self.objectives.losses(batch, z, self._encode)
            losses |= wanted
        self._descend(losses)
        with torch.no_grad():
            return {name: value.detach() for name, value in {**metrics, **losses}.items()} | {
                "policy/entropy": entropy.detach(), "policy/clipped": ((ratio - 1).abs() > self.clip).float().mean(),
                "policy/kl": (ratio - 1 - ratio.log()).mean()}

    def _shown(self, memory: EpisodeMemory, steps: int, needs: Sequence[str] = ()) -> Batch:
        """About so many remembered steps; of a recurrent policy, in rows of `sequence`."""
        rows = {f"sequence:{self.sequence}": None} if self.sequence > 1 else {}
        return memory.sample(max(1, steps // self.sequence), {"expert": None, **dict.fromkeys(needs), **rows})

    def _cloned(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Latents (B, D) of what _shown gives, its first moments, and the mean error to what the expert did."""
        images, proprio, labels = batch.obs[None], batch.proprio[None], batch.extra["expert"][None]     # (1, B, ...)
        if self.sequence > 1:
            rows = {name: batch.extra[f"sequence/{name}"].transpose(0, 1) for name in ("obs", "proprio", "expert",
                                                                                       "alive")}
            images, proprio = (torch.cat([first, rows[name][:-1]]) for first, name in ((images, "obs"),
                                                                                       (proprio, "proprio")))
            labels = torch.where(rows["alive"] > 0, rows["expert"], torch.nan)      # (K, B, A)
        z, count = self.net.encoder(images.flatten(0, 1)), len(batch.obs)
        features = self.net.along(self.objectives.shield(z), proprio, self.first_state(count),
                                  torch.zeros(len(proprio), count, dtype=torch.bool, device=self.device))
        return z[:count], self._imitation(self.net.numbers(features), labels.flatten(0, 1))

    def _imitation(self, numbers: Tensor, labels: Tensor) -> Tensor:
        """Mean error to the expert over the steps that carry a label."""
        known = labels.isfinite().all(1)
        return (self.net.head.error(numbers, labels.nan_to_num()) * known).sum() / known.sum().clamp(min=1)

    def _descend(self, losses: dict[str, Tensor]) -> None:
        for name, loss in losses.items():
            if not torch.isfinite(loss):
                raise FloatingPointError(f"{name} is {loss.item()}: training has diverged; lower lr or that weight")
        self.optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.grad_limit)
        self.optimiser.step()
        self.objectives.after_step(self.net.encoder)


def clipped_surrogate(log_prob: Tensor, before: Tensor, gain: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """PPO's ratio of probabilities and eq. 7's objective, all (B,)."""
    ratio = (log_prob - before).exp()
    return ratio, torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
