"""The objectives beside an agent's own loss: what they need, want and earn, weighted."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .batch import Batch
from .objective import Encode, Objective


class SideObjectives(nn.ModuleDict):
    """By the names of their files, with weights. Weight 0 is exactly the baseline: such an objective is never asked."""

    def __init__(self, objectives: Sequence[tuple[Objective, float]], device: torch.device, *, rewarded: bool):
        """objectives: each with its weight. rewarded: whether the agent learns from rewards, and so from a bonus."""
        super().__init__()
        active = [(objective.to(device), weight) for objective, weight in objectives if weight != 0]
        # Not add_module, which refuses the name of any method of a module, and a method may be named `forward`.
        self._modules.update({_name(part): part for part, _ in active})
        for name, objective in self.items():
            if not (objective.shapes_encoder or rewarded):
                raise ValueError(f"objective {name!r} only pays a bonus, and this agent learns from no rewards: leave "
                                 "it out, or take an agent with a critic (drqv2 with q_weight above 0, or sac)")
        self.weights = [weight for _, weight in active]
        self.needs = tuple(dict.fromkeys(name for objective, _ in active for name in objective.needs))

    @property
    def curious(self) -> bool:
        """Whether any of them gives a bonus."""
        return any(type(objective).bonus is not Objective.bonus for objective in self.values())

    def shield(self, z: Tensor) -> Tensor:
        """The latent as critic and actor get it: objectives may stop their gradient into parts of it."""
        for objective in self.values():
            z = objective.shield(z)
        return z

    def losses(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted losses of the latent (B, D), and metrics."""
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        for (name, objective), weight in zip(self.items(), self.weights, strict=True):
            loss, found = objective.loss(batch, z, encode)
            losses[f"{name}/total"] = weight * loss
            metrics |= {f"{name}/{key}": value for key, value in found.items()}
        return losses, metrics

    def bonus(self, batch: Batch, z: Tensor, encode: Encode) -> Tensor | float:
        """Intrinsic reward (B, 1) of all together; called without gradient."""
        return sum(objective.bonus(batch, z, encode) for objective in self.values())

    def after_step(self, encoder: nn.Module) -> None:
        """All optimisers have stepped: slow copies move."""
        for objective in self.values():
            objective.after_step(encoder)


def _name(objective: Objective) -> str:
    """As in models/make.py: its file bears its name."""
    return type(objective).__module__.rpartition(".")[2]
