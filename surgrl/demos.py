"""`surgrl demos TASK N OUT`: episodes of the scripted expert as files, one each, which training can read."""

import argparse
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from tqdm import tqdm

from .demo_file import Demo, episode_seed, read_demo, write_demo
from .policy.errors import UserError
from .policy.spec import Array
from .world import make_env, require_continuous, task_options

MOST = 500_000      # episodes of one seed: beyond them the next seed's begin


def disturbed(action: Array, std: float, rng: np.random.Generator) -> Array:
    """(A,) in [-1, 1] with Gaussian noise, so that demonstrations show how to recover (Laskey et al. 2017)."""
    return np.clip(action + rng.normal(0, std, len(action)), -1, 1).astype(np.float32)


def record(env: gymnasium.Env, task: str, *, seed: int, k: int, options: dict[str, Any]) -> Demo:
    """The k-th episode of the expert; options["noise"] disturbs what is done, never the labels."""
    expert, noise = env.unwrapped.expert, np.random.default_rng([seed, k])
    obs, info = env.reset(seed=episode_seed(seed, k))
    seen, labels, done, rewards, over = [(obs, info["mask"])], [expert()], [], [], False
    while not over:
        done.append(disturbed(labels[-1], options["noise"], noise))
        obs, reward, terminated, truncated, info = env.step(done[-1])
        seen.append((obs, info["mask"]))
        labels.append(expert())
        rewards.append(reward)
        over = terminated or truncated
    return Demo(task, episode_seed(seed, k), options, np.stack([obs["image"] for obs, _ in seen]),
                env.unwrapped.proprio_names, np.stack([obs["proprio"] for obs, _ in seen]),
                np.stack([mask for _, mask in seen]), np.float32(done), np.float32(labels), np.float32(rewards),
                bool(terminated), bool(info["success"]), 1 / env.unwrapped.dt,
                tuple((name, unit, float(low), float(high)) for name, unit, low, high in env.unwrapped.channels))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl demos`."""
    parser.add_argument("task", help="Gymnasium id, e.g. surgrl/Reach-v0")
    parser.add_argument("episodes", metavar="N", type=int, help="how many; those that are in OUT already are kept")
    parser.add_argument("out", metavar="OUT", help="folder for episode-000000.npz and so on")
    parser.add_argument("options", nargs="*", metavar="key=value", help="options of the task, as docs/tasks.md lists "
                        "them, e.g. tolerance=0.002, randomise=full (a level or a YAML file of ranges: how much looks "
                        "and timing vary) or, in place of --size, image_size=[120,160]")
    parser.add_argument("--size", type=int, default=120, help="px, side of the square drawn (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="of the episodes (default: 1): those that training "
                        "from a config of that seed would ask the simulator for")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation of the disturbance of what is "
                        "done, of the action's [-1, 1]; labels stay clean (default: 0)")


def run(args: argparse.Namespace) -> None:
    """Record what is missing; prints the share of successes."""
    out = Path(args.out)
    if not 1 <= args.episodes <= MOST:
        raise UserError(f"N is {args.episodes}; it must lie in 1 to {MOST}")
    if not 0 <= args.seed < 1000:
        raise UserError(f"--seed is {args.seed}; it must lie in 0 to 999, so that evaluation seeds stay unseen")
    if not 0 <= args.noise <= 10:       # NaN fails too
        raise UserError(f"--noise is {args.noise}; it must lie in 0 to 10")
    blocked = next((place for place in (out, *out.parents) if place.exists() and not place.is_dir()), None)
    if blocked:
        raise UserError(f"{blocked} is a file; OUT must be a folder, new or of earlier demonstrations")
    given = task_options(args.options, own=("observation", "eyes", "render_mode", "render_size"))
    size = {} if "image_size" in given else {"size": args.size}
    options = {**size, "noise": args.noise, "randomise": "none", **given}
    env = make_env(args.task, **{"image_size": (args.size, args.size), **given})
    try:
        require_continuous(env, "demonstrations hold")
        if not hasattr(env.unwrapped, "expert"):
            raise UserError(f"task {args.task} has no scripted expert to record")
        successes = sum(tqdm((_episode(env, args.task, out, seed=args.seed, k=k, options=options)
                              for k in range(args.episodes)),
                             total=args.episodes, desc=args.task, unit="episode", dynamic_ncols=True))
    finally:
        env.close()
    print(f"{out}: {args.episodes} episodes of {args.task}, success {successes / args.episodes:.1%}")


def _episode(env: gymnasium.Env, task: str, out: Path, *, seed: int, k: int, options: dict[str, Any]) -> bool:
    """Record the k-th episode unless it is there; whether it succeeded."""
    path = out / f"episode-{k:06d}.npz"
    if not path.exists():
        demo = record(env, task, seed=seed, k=k, options=options)
        write_demo(path, demo)
        return demo.success
    demo = read_demo(path, task)
    if (demo.seed, demo.options) != (episode_seed(seed, k), options):
        raise UserError(f"{path}: recorded with seed {demo.seed} and {demo.options}, now asked for are "
                        f"{episode_seed(seed, k)} and {options}; choose another folder, or ask for the same")
    return demo.success
