"""`surgrl eval RUN|BUNDLE`: success on seeds that no training sees, beside a random policy and the expert."""

import argparse
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from .files import require_place, write_json
from .intervals import wilson
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .policy.image import stacked
from .policy.runtime import PolicyRuntime
from .policy.spec import Array
from .pretrained import find_bundle
from .world import FIRST_UNSEEN_SEED, Moment, World, camera_world, training_seed, training_world


@dataclass(frozen=True)
class Score:
    """What a policy achieved over episodes."""

    success: float          # share of episodes
    low: float              # 95 % interval of it (Wilson 1927)
    high: float
    episodes: int
    steps: float            # mean length of an episode
    distance: float         # m, mean at the end (nan where the task has no distance)

    def __str__(self) -> str:
        """As a person reads it."""
        return (f"{self.success:.0%} of {self.episodes} (95 % interval {self.low:.0%}-{self.high:.0%}), "
                f"{self.steps:.0f} steps on average")

    def row(self) -> dict[str, Any]:
        """As a table holds it."""
        return {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Gap(NamedTuple):
    """How much better a policy is where it was trained than elsewhere (Cobbe et al. 2019, arXiv:1812.02341)."""

    gap: float              # success on training seeds less that on unseen ones
    low: float              # 95 % interval of it (Newcombe 1998, method 10)
    high: float

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{100 * self.gap:+.0f} points (95 % interval {100 * self.low:+.0f} to {100 * self.high:+.0f})"


class Actor(Protocol):
    """Anything that acts in a world."""

    def reset(self) -> None:
        """An episode begins."""

    def act(self, moment: Moment, world: World) -> Array:
        """(A,) in [-1, 1]."""


class AgentPolicy:
    """An agent as it stands, without exploration."""

    def __init__(self, agent: Any, stack: int):
        """agent: models.agent.Agent; stack: frames that it sees."""
        self.agent, self.stack, self._frames = agent, stack, []

    def reset(self) -> None:
        """Forget the last episode."""
        self.agent.reset()
        self._frames = []

    def act(self, moment: Moment, world: World) -> Array:
        """(A,) in [-1, 1]."""
        self._frames = [*(self._frames or [moment.frame] * self.stack), moment.frame][-self.stack:]
        return self.agent.act(stacked(self._frames), False, moment.proprio)


class BundlePolicy:
    """A bundle, as the robot runs it; needs a world whose frames come as the camera gives them."""

    def __init__(self, runtime: PolicyRuntime):
        """runtime: the bundle, running."""
        self.runtime = runtime

    def reset(self) -> None:
        """Forget the last episode."""
        self.runtime.reset()

    def act(self, moment: Moment, world: World) -> Array:
        """(A,) in [-1, 1]."""
        return self.runtime.act_normalised(moment.frame, moment.proprio if moment.proprio.size else None)


class RandomPolicy:
    """Uniform actions: the floor."""

    def __init__(self, seed: int = 0):
        """seed: of the actions."""
        self._rng = np.random.default_rng(seed)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, moment: Moment, world: World) -> Array:
        """(A,) in [-1, 1]."""
        return self._rng.uniform(-1, 1, len(world.action.names)).astype(np.float32)


class ExpertPolicy:
    """The scripted demonstrator: the ceiling."""

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, moment: Moment, world: World) -> Array:
        """(A,) in [-1, 1]."""
        return world.expert()


def evaluate(world: World, policy: Actor, seeds: Iterable[int], progress: str = "") -> Score:
    """Run one episode for each seed. progress: text before a progress bar; none when empty."""
    success, steps, distance = [], [], []
    for seed in tqdm(list(seeds), desc=progress, disable=not progress, leave=False, unit="episode"):
        policy.reset()
        moment, length = world.reset(seed=seed), 0
        while not (moment.terminated or moment.truncated):
            moment = world.step(policy.act(moment, world))
            length += 1
        success.append(bool(moment.info.get("success")))
        steps.append(length)
        distance.append(moment.info.get("distance", np.nan))
    return score_of(success, steps, distance)


def score_of(success: list[bool], steps: list[int], distance: list[float]) -> Score:
    """Episodes' results as one Score."""
    n, share = len(success), float(np.mean(success))
    return Score(share, *wilson(share, n), n, float(np.mean(steps)), float(np.mean(distance)))


def gap_of(seen: Score, unseen: Score) -> Gap:
    """Success on training seeds less success on unseen ones."""
    gap = seen.success - unseen.success
    below = sqrt((seen.success - seen.low) ** 2 + (unseen.high - unseen.success) ** 2)
    above = sqrt((seen.high - seen.success) ** 2 + (unseen.success - unseen.low) ** 2)
    return Gap(gap, gap - below, gap + above)


LEVELS = ("vary looks and timing: none, mild, full, or held out from training: test-mild, test-full; or a YAML file of "
          "ranges (default: as the policy was trained)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl eval`."""
    parser.add_argument("source", help="folder of a run or of a bundle, or the name of a pretrained bundle")
    parser.add_argument("--episodes", type=int, default=50, help="unseen seeds to try (default: 50)")
    parser.add_argument("--seed", type=int, default=FIRST_UNSEEN_SEED, help="first of the seeds")
    parser.add_argument("--task", help="evaluate in this task, by its Gymnasium id (default: the policy's own)")
    parser.add_argument("--randomise", metavar="LEVEL", help=LEVELS)
    parser.add_argument("--seeds-from", choices=("unseen", "training", "both"), default="unseen",
                        help="seeds to try: unseen ones, those of the training's own episodes, or both and their gap")
    parser.add_argument("--no-baselines", action="store_true", help="leave out the random policy and the expert")
    parser.add_argument("--json", metavar="FILE", help="write the scores there too")


def run(args: argparse.Namespace) -> None:
    """Print a table of scores."""
    if not (args.episodes >= 1 and args.seed >= 0):
        raise UserError(f"--episodes is {args.episodes}, --seed {args.seed}; at least 1 episode, seed 0 or above")
    if args.seeds_from != "unseen" and args.seed != FIRST_UNSEEN_SEED:
        raise UserError(f"--seeds-from {args.seeds_from} chooses the seeds itself; leave out --seed {args.seed}")
    if args.json:
        require_place(args.json)
    options = {} if args.randomise is None else {"randomise": args.randomise}
    seen = seen_seeds(args.source, args.episodes) if args.seeds_from != "unseen" else range(0)
    world, policy = open_policy(args.source, args.task, **options)
    unseen = range(args.seed, args.seed + args.episodes)
    players: dict[str, tuple[Actor, Iterable[int]]] = {}
    if args.seeds_from != "training":
        players["policy"] = policy, unseen
    if seen:
        players["seen"] = policy, seen
    if not args.no_baselines:
        seeds = seen if args.seeds_from == "training" else unseen
        players["random"] = RandomPolicy(), seeds
        if world.has_expert:
            players["expert"] = ExpertPolicy(), seeds
    scores = {}
    for name, (player, seeds) in players.items():
        scores[name] = evaluate(world, player, seeds, progress=name)
        print(f"{name:8s} {scores[name]}")
    world.close()
    rows = {name: score.row() for name, score in scores.items()}
    if "seen" in scores and "policy" in scores:
        gap = gap_of(scores["seen"], scores["policy"])
        rows["gap"] = gap._asdict()
        print(f"{'gap':8s} {gap}")
    if args.json:
        write_json(args.json, rows)


def seen_seeds(source: str, episodes: int) -> range:
    """Seeds of the first episodes that a run's agent lived in training; UserError where fewer of them differ."""
    if not (Path(source) / "config.yaml").is_file():
        raise UserError(f"{source}: only a run's folder tells the seeds of its training; choose the run that a bundle "
                        "was exported from, or --seeds-from unseen")
    from .run import Run
    run = Run(source)
    lived, config = run.progress().episodes, run.config()
    if config.env.seeds:        # which take turns
        lived = min(lived, config.env.seeds)
    if lived < episodes:
        raise UserError(f"{source}: its agent lived {lived} different episodes, --episodes is {episodes}; ask for no "
                        "more than it lived")
    first = training_seed(config, 0)
    return range(first, first + episodes)


def open_policy(source: str, task: str | None = None, **options: Any) -> tuple[World, Actor]:
    """A run's or a bundle's policy, and the world that it was made for. options: of the environment, before its own."""
    if (Path(source) / "config.yaml").is_file():
        from .run import Run
        from .train import make_agent_for
        run = Run(source)
        config = run.config()
        _refuse_other(source, config.env.id, task)
        world = training_world(config, **options)
        agent = make_agent_for(config, world)
        if run.restore(agent).updates == 0:
            raise UserError(f"{source}: nothing is learnt yet (no checkpoint); train it with "
                            f"`surgrl train --resume {source}`")
        return world, AgentPolicy(agent, config.image.stack)
    bundle = PolicyBundle.load(find_bundle(source))
    _refuse_other(source, bundle.task, task)
    return camera_world(bundle, **options), BundlePolicy(PolicyRuntime(bundle))


def _refuse_other(source: str, made_for: str, task: str | None) -> None:
    if task is not None and task != made_for:
        raise UserError(f"{source} was made for {made_for}, not for {task}; train or choose one for that task")
