"""`surgrl demos TASK N OUT`: episodes of the scripted expert as files, one each, which training can read."""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from tqdm import tqdm

from .files import atomic_file
from .policy.errors import UserError
from .policy.spec import Array
from .world import make_env, require_continuous, task_options

FORMAT = 1
MOST = 500_000              # episodes of one seed: beyond them the next seed's begin
FIELDS = ("format", "task", "seed", "options", "frames", "proprio_names", "proprio", "masks", "mask_shape", "actions",
          "expert", "rewards", "terminated", "success")


class Demo(NamedTuple):
    """One recorded episode of T steps: what was seen at T + 1 moments, and what was done between them."""

    task: str               # Gymnasium id
    seed: int               # that `env.reset` was given
    options: dict[str, Any]         # size, noise, randomise and others of the task, as recorded
    frames: Array           # (T + 1, H, W, 3) uint8 RGB
    proprio_names: tuple[str, ...]
    proprio: Array          # (T + 1, P) float32
    masks: Array            # (T + 1, H, W) uint8, 1 = instrument
    actions: Array          # (T, A) float32 in [-1, 1], as done: disturbed, where noise was asked for
    expert: Array           # (T + 1, A) float32 in [-1, 1], what the expert would do at each moment: undisturbed
    rewards: Array          # (T,) float32
    terminated: bool        # the world ended it; otherwise time ran out
    success: bool


def episode_seed(seed: int, k: int) -> int:
    """What `env.reset` is given for the k-th demonstration: apart from the seeds that a learner's episodes take."""
    return seed * 10 ** 6 + 500_000 + k


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
                bool(terminated), bool(info["success"]))


def write_demo(path: str | Path, demo: Demo) -> None:
    """Write the episode as a compressed .npz; whole or not at all."""
    packed = np.packbits(demo.masks.reshape(len(demo.masks), -1) != 0, axis=1)
    fields = demo._asdict() | {"format": FORMAT, "options": json.dumps(demo.options, sort_keys=True), "masks": packed,
                               "mask_shape": demo.masks.shape[1:]}
    with atomic_file(path) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, **{name: np.asarray(fields[name]) for name in FIELDS})


def read_demo(path: str | Path, task: str | None = None, *, partial: bool = False) -> Demo:
    """The episode in a file. UserError when it is damaged, of another format, or (where given) of another task.

    partial: it may hold the last of its frames only; the others are in a video elsewhere.
    """
    try:
        # Opened here: NumPy leaves a file open that turns out to be no archive.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            form = int(arrays["format"])
            found = {name: arrays[name] for name in FIELDS} if form == FORMAT else {}
        if form == FORMAT:
            demo = _checked(found, partial)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such demonstration; `surgrl demos` records them") from error
    except Exception as error:      # whatever a file that was cut or changed makes zip, zlib, json and NumPy raise
        raise UserError(f"{path}: damaged, or no demonstration ({error}); remove it, and `surgrl demos` "
                        "records it anew") from error
    if form != FORMAT:
        raise UserError(f"{path}: demonstration format {form}, this surgrl reads {FORMAT}; record it anew")
    if task is not None and demo.task != task:
        raise UserError(f"{path}: a demonstration of {demo.task}, not of {task}; give a folder of that task's")
    return demo


def demo_files(folder: str | Path, count: int) -> list[Path]:
    """The first `count` episodes in a folder; UserError when there are fewer."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of demonstrations; record them with `surgrl demos TASK N {folder}`")
    found = sorted(folder.glob("episode-*.npz"))
    if len(found) < count:
        raise UserError(f"{folder}: {len(found)} demonstrations, but {count} are wanted; record more with "
                        f"`surgrl demos TASK {count} {folder}`, or lower demos.episodes")
    return found[:count]


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


def _checked(found: dict[str, Array], partial: bool) -> Demo:
    """The fields as an episode; ValueError where they do not fit together."""
    frames, actions = found["frames"], found["actions"]
    steps, size = len(actions), frames.shape[1:3]
    count = 1 if partial and len(frames) == 1 else steps + 1
    shapes = {"frames": (count, *size, 3), "proprio": (steps + 1, len(found["proprio_names"])),
              "masks": (steps + 1, -(-size[0] * size[1] // 8)), "mask_shape": (2,), "rewards": (steps,),
              "expert": (steps + 1, actions.shape[1])}
    wrong = next((name for name, shape in shapes.items() if found[name].shape != shape), None)
    if wrong or not steps or tuple(found["mask_shape"]) != size:
        raise ValueError(f"{wrong or 'actions'} do not fit the other arrays")
    if frames.dtype != np.uint8 or found["masks"].dtype != np.uint8:
        raise ValueError("frames and masks must be uint8")
    numbers = {name: np.float32(found[name]) for name in ("proprio", "actions", "expert", "rewards")}
    unsound = next((name for name, values in numbers.items() if not np.isfinite(values).all()), None)
    if unsound:
        raise ValueError(f"{unsound} are not finite")
    masks = np.unpackbits(found["masks"], axis=1, count=size[0] * size[1]).reshape(steps + 1, *size)
    return Demo(str(found["task"]), int(found["seed"]), json.loads(str(found["options"])), frames,
                tuple(found["proprio_names"].tolist()), numbers["proprio"], masks, numbers["actions"],
                numbers["expert"], numbers["rewards"], bool(found["terminated"]), bool(found["success"]))
