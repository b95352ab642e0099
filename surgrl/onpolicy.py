"""Training of agents that learn from what they just did: rollouts of several environments, then some epochs."""

from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.agents.dvc import Choice
from models.replay import TOLD
from models.rollout import Rollout

from .policy.spec import Array
from .trainer import Trainer
from .vector import make_vector

RECENT = 50             # episodes whose success and cost are told


class OnPolicyTrainer(Trainer):
    """A rollout and its learning is one step of progress.updates; progress.steps counts all environments'."""

    log_every = 1

    def __init__(self, *args: Any):
        """Start the workers."""
        super().__init__(*args)
        labels = [name for name in TOLD if name in self.agent.needs] + ["cost"] * (self.agent.cost_limit >= 0)
        self._envs = make_vector(self.config, self.progress.episodes, labels)
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)     # success and cost
        self._begin()

    def close(self) -> None:
        """Stop the workers too."""
        self._envs.close(terminate=True)
        super().close()

    def _planned(self) -> int:
        return self.config.demos.updates + -(-self.config.steps // self._per_rollout)

    @property
    def _per_rollout(self) -> int:
        return self.agent.horizon * self.config.env.workers

    def _begin(self) -> None:
        """All environments at the start of an episode."""
        count = self.config.env.workers
        obs, self._info = self._envs.reset()
        self.progress.episodes += count
        self._frames = np.repeat(obs["frame"][:, None], self.config.image.stack, axis=1)    # (N, k, h, w, 3)
        self._proprio, self._state = obs["proprio"].copy(), self.agent.first_state(count)
        self._cost = np.zeros(count)
        if "mask" in self.agent.needs:
            self._masks = np.repeat(self._info["mask"][:, None], self.config.image.stack, axis=1)       # (N, k, h, w)

    def _go_on(self) -> None:
        """One rollout, and what is learnt of it."""
        begun = self.progress.steps
        rollout, finished = self._roll()
        if finished:
            self.agent.constrain(float(np.mean([cost for _, cost in finished])))
        found = self.agent.learn(rollout, self.memory)
        self._recent.extend(finished)
        if self._recent:
            success, cost = np.mean(self._recent, axis=0)
            found |= {"rollout/success": float(success), "rollout/episode_cost": float(cost)}
        self._learn(found)
        self._evaluate_if_due(begun)
        self._checkpoint_if_due()

    def _roll(self) -> tuple[Rollout, list[tuple[float, float]]]:
        """horizon steps of each environment; (success, cost) of the episodes that ended."""
        kept: list[dict[str, Tensor]] = []
        finished: list[tuple[float, float]] = []
        for _ in range(self.agent.horizon):
            images, proprio = self._planes(self._frames), torch.from_numpy(self._proprio)
            choice = self.agent.choose(images, proprio, self._state)
            expert = self._info.get("expert", np.zeros((len(images), 0), np.float32))
            obs, reward, terminated, truncated, self._info = self._envs.step(choice.action.cpu().numpy())
            ended = terminated | truncated
            ending = self._info.get("final_info", self._info)
            cost = np.where(ended, ending["cost"], self._info["cost"])
            self._cost += cost
            kept.append({"obs": images, "proprio": proprio, "state": self._state.cpu(), "drawn": choice.drawn.cpu(),
                         "log_prob": choice.log_prob.cpu(), "reward": torch.from_numpy(np.float32(reward)),
                         "cost": torch.from_numpy(np.float32(cost)), "values": choice.values.cpu(),
                         "next_values": self._values_at_ends(choice, ended), "terminated": torch.from_numpy(terminated),
                         "ended": torch.from_numpy(ended), "expert": torch.from_numpy(np.float32(expert))})
            if self.agent.objectives:
                kept[-1] |= self._beside(obs, ended)
            finished += [(float(ending["success"][k]), float(self._cost[k])) for k in np.flatnonzero(ended)]
            self._cost[ended] = 0
            self.progress.episodes += int(ended.sum())
            self._frames = np.concatenate([self._frames[:, 1:], obs["frame"][:, None]], axis=1)
            self._frames[ended] = obs["frame"][ended][:, None]      # an episode's first frame repeats
            if "mask" in self.agent.needs:
                self._masks = np.concatenate([self._masks[:, 1:], self._info["mask"][:, None]], axis=1)
                self._masks[ended] = self._info["mask"][ended][:, None]
            self._proprio = obs["proprio"].copy()
            self._state = choice.state * torch.from_numpy(~ended)[:, None].to(choice.state.device)
        self.progress.steps += self._per_rollout
        rollout = Rollout(**{name: torch.stack([step[name] for step in kept]) for name in kept[0]})
        last = self.agent.values(self._planes(self._frames), torch.from_numpy(self._proprio), self._state).cpu()
        after = torch.cat([rollout.values[1:], last[None]])
        return rollout._replace(next_values=torch.where(rollout.ended[..., None], rollout.next_values, after)), finished

    def _beside(self, obs: dict[str, Array], ended: Array) -> dict[str, Tensor]:
        """What objectives are fed by: where this step led, before any reset, and masks."""
        frame, proprio = obs["frame"].copy(), obs["proprio"].copy()
        for k in np.flatnonzero(ended):
            frame[k], proprio[k] = (self._info["final_obs"][k][name] for name in ("frame", "proprio"))
        found = {"next_frame": frame, "next_proprio": proprio}
        if "mask" in self.agent.needs:
            mask = self._info["mask"].copy()
            for k in np.flatnonzero(ended):
                mask[k] = self._info["final_info"]["mask"][k]
            found |= {"mask": self._masks.copy(), "next_mask": mask}
        return {name: torch.from_numpy(value) for name, value in found.items()}

    def _values_at_ends(self, choice: Choice, ended: Array) -> Tensor:
        """Values (N, 2) of the last moments of the episodes that ended; 0 elsewhere."""
        values = torch.zeros(len(ended), 2)
        which = np.flatnonzero(ended)
        if which.size:
            final = [self._info["final_obs"][k] for k in which]
            frames = np.concatenate([self._frames[which][:, 1:], np.stack([obs["frame"] for obs in final])[:, None]], 1)
            proprio = torch.from_numpy(np.stack([obs["proprio"] for obs in final]))
            values[which] = self.agent.values(self._planes(frames), proprio, choice.state[which]).cpu()
        return values

    @staticmethod
    def _planes(frames: Array) -> Tensor:
        """(N, k, h, w, 3) -> (N, 3 k, h, w) uint8, a copy."""
        count, stack, height, width, _ = frames.shape
        planes = frames.transpose(0, 1, 4, 2, 3).reshape(count, 3 * stack, height, width)
        return torch.from_numpy(np.ascontiguousarray(planes))
