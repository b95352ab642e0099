"""`surgrl attack RUN`: success while every picture is changed by a few brightness steps, chosen to do the most harm.

FGSM (Goodfellow et al. 2015, arXiv:1412.6572): x' = x + eps sign(dJ/dx), beside random signs of the same size.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.agent import Agent
from models.heads import Critic
from models.symmetry import SymmetricCritic

from .evaluate import LEVELS, AgentPolicy, Score, evaluate, open_policy
from .files import atomic_file, require_place, write_json
from .policy.errors import UserError
from .policy.spec import Array
from .world import FIRST_UNSEEN_SEED

BUDGETS = (0, 1, 2, 4, 8)       # brightness steps of 255
START = 0.1     # share of the budget that a random step takes first: at x itself the action's error has no gradient
AIMS = ("action", "value")


class Disturbed:
    """An agent whose pictures are disturbed before it sees them. It acts as the agent would, else."""

    def __init__(self, agent: Agent, budget: int, aim: str | None, seed: int = 0):
        """budget: brightness steps at most, in every pixel and colour. aim: what is attacked; None: random signs."""
        self.agent, self.budget, self.aim = agent, budget, aim
        self._policy = agent.policy().eval()
        self._random = torch.Generator().manual_seed(seed)

    def reset(self) -> None:
        """Forget the last episode."""
        self.agent.reset()

    def act(self, obs: Array, explore: bool, proprio: Array | None = None) -> Array:
        """(C, H, W) uint8 [, (P,)] -> (A,) of the disturbed picture."""
        return self.agent.act(self.disturbed(obs, proprio), explore, proprio)

    def disturbed(self, obs: Array, proprio: Array | None = None) -> Array:
        """(C, H, W) uint8 -> the same, each number at most `budget` away."""
        if self.budget == 0:
            return obs
        image = torch.as_tensor(obs)
        signs = (torch.randint(2, image.shape, generator=self._random) * 2 - 1 if self.aim is None
                 else self._worst_signs(image, proprio))
        changed = (image.int() + self.budget * signs.int()).clamp(0, 255).to(torch.uint8)
        assert int((changed.int() - image.int()).abs().max()) <= self.budget, "the attack is over its budget"
        return changed.numpy()

    def _worst_signs(self, image: Tensor, proprio: Array | None) -> Tensor:
        """(C, H, W) in {-1, 0, 1}: the way in which each number raises J."""
        device = next(self._policy.parameters()).device
        clean = image[None].to(device, torch.float32)
        own = None if proprio is None or not len(proprio) else torch.as_tensor(proprio, device=device)[None]
        start = START * self.budget * (2 * torch.rand(clean.shape, generator=self._random) - 1).to(device)
        near = (clean + start).requires_grad_()
        if self.aim == "action":
            harm = self._error(near, clean, own)
        else:
            harm = -self._value(clean, own, _action(self._policy, near, own))
        gradient, = torch.autograd.grad(harm, near)
        return gradient[0].sign().cpu()

    def _error(self, near: Tensor, clean: Tensor, own: Tensor | None) -> Tensor:
        """How far the policy at `near` is from what it does at `clean`; of choices, by their cross entropy."""
        if not hasattr(self._policy, "error"):
            with torch.no_grad():
                wanted = _action(self._policy, clean, own)
            return (_action(self._policy, near, own) - wanted).square().sum()
        state = self.agent.state if self._policy.state_dim else None
        with torch.no_grad():
            acted = self._policy(clean, own, state)
        return self._policy.error(near, own, state, acted[0] if self._policy.state_dim else acted).sum()

    def _value(self, clean: Tensor, own: Tensor | None, action: Tensor) -> Tensor:
        """Q of the undisturbed picture and the action that the disturbed one led to."""
        z = self.agent.encoder(clean)
        told = z[:, :0] if own is None else self.agent.standardise(own)
        return torch.minimum(*self.agent.critic(z, told, action)).sum()


class Row(NamedTuple):
    """One budget: success under the attack and under random signs."""

    budget: int
    attack: Score
    control: Score


def attack(source: str, budgets: tuple[int, ...], aim: str, seeds: range, **options: Any) -> list[Row]:
    """Success over the seeds at each budget. UserError where the agent has nothing of that aim to attack.

    options: of the task, over those of the training, such as `randomise`.
    """
    world, player = open_policy(source, **options)
    if not isinstance(player, AgentPolicy):
        world.close()
        raise UserError(f"{source} is a bundle, which has no gradients; attack the run that it was exported from")
    agent = player.agent
    if aim == "value" and not isinstance(getattr(agent, "critic", None), (Critic, SymmetricCritic)):
        world.close()
        raise UserError(f"{source}: the agent has no critic of actions; attack with --aim action")
    rows = []
    for budget in budgets:
        scores = [evaluate(world, AgentPolicy(Disturbed(agent, budget, way), player.stack), seeds,
                           progress=f"{budget}/255 {way or 'random'}") for way in ((aim, None) if budget else (None,))]
        rows.append(Row(budget, scores[0], scores[-1]))
    world.close()
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl attack`."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a run")
    parser.add_argument("--out", metavar="FOLDER", help="where table and plot go (default: RUN/attack)")
    parser.add_argument("--episodes", type=int, default=50, help="unseen seeds for each budget (default: 50)")
    parser.add_argument("--seed", type=int, default=FIRST_UNSEEN_SEED, help="first of the seeds")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), metavar="N",
                        help="brightness steps of 255 (default: 0 1 2 4 8)")
    parser.add_argument("--randomise", metavar="LEVEL", help=LEVELS)
    parser.add_argument("--aim", choices=AIMS, default="action",
                        help="what is attacked: the action (any agent), or its value (an agent with a critic)")


def run(args: argparse.Namespace) -> None:
    """Print a table, write it as JSON and draw it."""
    if not (args.episodes >= 1 and args.seed >= 0 and all(0 <= budget <= 255 for budget in args.budgets)):
        raise UserError(f"--episodes is {args.episodes}, --seed {args.seed}, --budgets {args.budgets}; at least 1 "
                        "episode, seed 0 or above, budgets from 0 to 255")
    if args.out:
        require_place(Path(args.out, "attack.json"))
    out = Path(args.out) if args.out else Path(args.run_folder) / "attack"
    rows = attack(args.run_folder, tuple(sorted(set(args.budgets))), args.aim,
                  range(args.seed, args.seed + args.episodes),
                  **({} if args.randomise is None else {"randomise": args.randomise}))
    print(f"{'budget':8s}{'attack on the ' + args.aim:38s}random signs")
    for row in rows:
        print(f"{row.budget:>3d}/255 {_short(row.attack):38s}{_short(row.control)}")
    found: dict[str, Any] = {"run": Path(args.run_folder).resolve().name, "aim": args.aim, "episodes": args.episodes,
                             "seed": args.seed, "randomise": args.randomise,
                             "rows": [{"budget": row.budget, "attack": row.attack.row(), "control": row.control.row()}
                                      for row in rows]}
    write_json(out / "attack.json", found)
    from .attack_picture import draw
    with atomic_file(out / "attack.png") as path:
        draw(path, [row.budget for row in rows], {f"FGSM on the {args.aim}": [row.attack for row in rows],
                                                  "random signs": [row.control for row in rows]})
    print(f"{out}: attack.json, attack.png")


def _short(score: Score) -> str:
    return f"{score.success:.0%} ({score.low:.0%}-{score.high:.0%})"


def _action(policy: nn.Module, images: Tensor, own: Tensor | None) -> Tensor:
    return policy(images) if own is None else policy(images, own)
