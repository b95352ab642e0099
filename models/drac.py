"""DrAC and UCB-DrAC (Raileanu et al. 2021, arXiv:2006.12862, eq. 3-6): policy and value shall not mind augmentation.

PPO's own terms see the pictures as they are. Beside them stand, of augmented ones,
    policy  -log pi(a' | f(s)),  a' drawn from pi(. | s) without gradient: KL(pi(s) | pi(f(s))) but for a constant
    value   1/2 (sg V(s) - V(f(s)))^2
and a bandit chooses f before every update, by the returns of the rollouts that followed it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .actor_critic import ActorCritic
from .augments.turn import Channel, Turn
from .bandit import Ucb
from .make import make_augments


class Drac:
    """Some augmentations, one for each update; flips and rotations turn the action a' too."""

    def __init__(self, names: Sequence, random: torch.Generator, net: ActorCritic, channels: Sequence[Channel], *,
                 shift: int, weight: float, explore: float, window: int):
        """names: of augmentations, with options or without. channels: what the action's entries are.

        weight: of both terms. explore, window: the bandit's c, and uses of an augmentation that its mean return is
        over. ValueError for what cannot be.
        """
        if not (len(names) >= 1 and weight > 0 and explore >= 0 and window >= 1):
            raise ValueError(f"dvc drac {names} must name at least one augmentation, drac_weight {weight} be above 0, "
                             f"ucb {explore} >= 0, ucb_window {window} >= 1")
        if net.memory.size:
            raise ValueError(f"dvc drac with recurrent {net.memory.size}: what is remembered of the pictures before "
                             "would be of others than the augmented one: leave out one of the two")
        self.random, self.net, self.weight = random, net, weight
        self.arms = make_augments(names, random, shift=shift)
        self.bandit = Ucb(len(self.arms), explore, window)
        self.matrices: list[Tensor | None] = []
        for arm in self.arms:
            if arm.left(net.encoder.size) != net.encoder.size:
                raise ValueError(f"dvc drac: {type(arm).__name__.lower()} leaves less of the picture than the policy "
                                 "acts on; take shift in its place")
            self.matrices.append(self._matrices(arm, channels) if isinstance(arm, Turn) else None)

    def _matrices(self, turn: Turn, channels: Sequence[Channel]) -> Tensor:
        """(turns, A, A): what each makes of the action."""
        name = type(turn).__name__.lower()
        if self.net.standardise.mean.numel():
            raise ValueError(f"dvc drac: {name} would need proprio turned with the picture: leave one of the two out")
        matrices = turn.matrices(channels)
        self.net.head.check_turns(name, matrices)
        return matrices

    def losses(self, images: Tensor, proprio: Tensor, numbers: Tensor, values: Tensor, heeded: int,
               shield: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """(B, C, H, W) uint8, (B, P), and what the net makes of them; heeded: of the values, the first so many.

        shield: latents as policy and values get them, where an objective stops their gradient.
        """
        net, arm = self.net, self.bandit.arm
        drawn = net.head.draw(numbers.detach(), self.random)                            # (B, R)
        images, params = self.arms[arm](images)
        matrices = self.matrices[arm]
        if matrices is not None:
            drawn = net.head.turned(drawn, matrices[params].to(drawn))
        features = net.along(shield(net.encoder(images)), proprio[None], values.new_zeros(len(images), 0),
                             torch.zeros(1, len(images), dtype=torch.bool, device=images.device))
        policy = -net.head.log_prob(net.numbers(features), drawn).mean()
        value = 0.5 * (values.detach() - net.values(features))[:, :heeded].square().mean(0).sum()
        return {"drac/policy": self.weight * policy, "drac/value": self.weight * value}
