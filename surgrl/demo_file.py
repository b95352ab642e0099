"""Demonstrations as files, an episode of a task's scripted expert each; no simulator is needed to read them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import atomic_file
from .policy.errors import UserError
from .policy.spec import Array

FORMAT = 1
FIELDS = ("format", "task", "seed", "options", "frames", "proprio_names", "proprio", "masks", "mask_shape", "actions",
          "expert", "rewards", "terminated", "success")
TOLD = ("rate", "channels")     # that files have which were recorded later; without them the simulator is asked


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
    rate: float = 0.0       # Hz of the steps; 0: not told
    channels: tuple[tuple[str, str, float, float], ...] = ()    # name, unit, low, high of each action; none: not told


def episode_seed(seed: int, k: int) -> int:
    """What `env.reset` is given for the k-th demonstration: apart from the seeds that a learner's episodes take."""
    return seed * 10 ** 6 + 500_000 + k


def write_demo(path: str | Path, demo: Demo) -> None:
    """Write the episode as a compressed .npz; whole or not at all."""
    packed = np.packbits(demo.masks.reshape(len(demo.masks), -1) != 0, axis=1)
    fields = demo._asdict() | {"format": FORMAT, "options": json.dumps(demo.options, sort_keys=True), "masks": packed,
                               "mask_shape": demo.masks.shape[1:], "channels": json.dumps(demo.channels)}
    with atomic_file(path) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, **{name: np.asarray(fields[name]) for name in (*FIELDS, *TOLD)})


def read_demo(path: str | Path, task: str | None = None, *, partial: bool = False) -> Demo:
    """The episode in a file. UserError when it is damaged, of another format, or (where given) of another task.

    partial: it may hold the last of its frames only; the others are in a video elsewhere.
    """
    try:
        # Opened here: NumPy leaves a file open that turns out to be no archive.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            form = int(arrays["format"])
            # Either of TOLD calls for both: a name that was damaged must not pass for an old file's.
            names = (*FIELDS, *(TOLD if set(TOLD) & set(arrays.files) else ())) if form == FORMAT else ()
            found = {name: arrays[name] for name in names}
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
    rate = float(found.get("rate", 0.0))
    channels = tuple((str(name), str(unit), float(low), float(high))
                     for name, unit, low, high in json.loads(str(found.get("channels", "[]"))))
    if not 0 <= rate < np.inf or not np.isfinite([ends[2:] for ends in channels]).all():
        raise ValueError("rate and channels are not finite")
    masks = np.unpackbits(found["masks"], axis=1, count=size[0] * size[1]).reshape(steps + 1, *size)
    return Demo(str(found["task"]), int(found["seed"]), json.loads(str(found["options"])), frames,
                tuple(found["proprio_names"].tolist()), numbers["proprio"], masks, numbers["actions"],
                numbers["expert"], numbers["rewards"], bool(found["terminated"]), bool(found["success"]),
                rate, channels)
