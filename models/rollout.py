"""What an on-policy agent learns from: some steps of several environments side by side, used once."""

from typing import NamedTuple

import torch
from torch import Tensor

from .heads import Standardise


class Rollout(NamedTuple):
    """T steps of N environments; C = 3 x stack planes, R = numbers that tell a draw, S = size of the memory."""

    obs: Tensor             # (T, N, C, H, W) uint8
    proprio: Tensor         # (T, N, P) float32
    state: Tensor           # (T, N, S) float32, the recurrent state before each step; S = 0: none
    drawn: Tensor           # (T, N, R) float32
    log_prob: Tensor        # (T, N)
    reward: Tensor          # (T, N)
    cost: Tensor            # (T, N), to be kept below a limit
    values: Tensor          # (T, N, 2), of reward and of cost
    next_values: Tensor     # (T, N, 2), of where the step led, before any reset
    terminated: Tensor      # (T, N) bool: the world ended
    ended: Tensor           # (T, N) bool: the episode did, by a time limit too
    expert: Tensor          # (T, N, A), NaN where unknown
    # What objectives are fed by; None where there are none. Of where each step led, before any reset:
    next_frame: Tensor | None = None    # (T, N, H, W, 3) uint8
    next_proprio: Tensor | None = None  # (T, N, P) float32
    mask: Tensor | None = None          # (T, N, stack, H, W) uint8 in {0, 1}, of obs
    next_mask: Tensor | None = None     # (T, N, H, W) uint8 in {0, 1}


def advantages(reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, ended: Tensor,
               gamma: float, trace: float) -> Tensor:
    """Generalised advantage estimate (Schulman et al. 2016, arXiv:1506.02438, eq. 16): all (T, N) -> (T, N).

    A terminal stops the bootstrap, a time limit does not; neither lets the trace cross into the next episode.
    """
    errors = reward + gamma * next_value * ~terminated - value
    going_on = gamma * trace * ~ended
    result = torch.empty_like(errors)
    later = torch.zeros_like(errors[0])
    for t in reversed(range(len(errors))):
        later = errors[t] + going_on[t] * later
        result[t] = later
    return result


class ReturnScale:
    """The spread of discounted returns so far, which rewards are divided by."""

    def __init__(self, gamma: float):
        """gamma: discount of a step."""
        self.gamma, self.seen = gamma, Standardise(1)
        self.running: Tensor | None = None

    def observe(self, reward: Tensor, ended: Tensor) -> float:
        """Take in (T, N) rewards; the spread, at least 1e-3."""
        if self.running is None or len(self.running) != reward.shape[1]:
            self.running = torch.zeros(reward.shape[1])
        seen = []
        for now, over in zip(reward.cpu(), ended.cpu(), strict=True):
            self.running = self.gamma * self.running + now
            seen.append(self.running)
            self.running = self.running * ~over
        self.seen.observe(torch.cat(seen)[:, None])
        return max(1e-3, float(self.seen.variance.sqrt()))

    def state_dict(self) -> dict[str, Tensor]:
        """Counts and moments; returns under way begin anew."""
        return self.seen.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.running = None
        self.seen.load_state_dict(state)
