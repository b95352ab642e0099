"""Time of every augmentation, as a ratio to the random shift's and to an update of DrQ-v2, same run.

    python benchmarks/augment.py [--size 84] [--batch 256] [--stack 3] [--threads 1] [--seconds 0.3] [--update]

CPU time, the least of several calls by turns. An update augments twice with `views: 1`, the observation and the next
one. With --update one is timed too; without, shares of it are left out: at 84 px and a batch of 256 it takes seconds.
"""

import argparse
import time

import numpy as np
import torch

from models.allocator import keep_freed_memory
from models.make import AUGMENTS, make_agent, make_augments
from models.memory import EpisodeMemory

ACTIONS, FRAMES = 4, 60


def least(work, seconds: float) -> float:
    """CPU seconds of the fastest call; three at least."""
    found, begun = [], time.process_time()
    while len(found) < 3 or time.process_time() - begun < seconds:
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return min(found)


def update_time(args: argparse.Namespace) -> float:
    """CPU seconds of one learning step of DrQ-v2, paper's sizes."""
    rng = np.random.default_rng(0)
    memory = EpisodeMemory(FRAMES, frame_shape=(args.size, args.size, 3), action_dim=ACTIONS, stack=args.stack,
                           extras=())
    memory.begin(rng.integers(0, 256, (args.size, args.size, 3), dtype=np.uint8))
    for _ in range(FRAMES - 1):
        memory.add(rng.uniform(-1, 1, ACTIONS), float(rng.normal()), False,
                   rng.integers(0, 256, (args.size, args.size, 3), dtype=np.uint8))
    agent = make_agent("drqv2", {"batch_size": args.batch}, action_dim=ACTIONS,
                       image_shape=(3 * args.stack, args.size, args.size))
    return least(lambda: agent.update(memory), 0.0)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=84, help="px, side of an image")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--stack", type=int, default=3, help="frames in one observation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.3, help="of measuring per row and round")
    parser.add_argument("--update", action="store_true", help="time an update of DrQ-v2 too")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    random = torch.Generator().manual_seed(0)
    shape = args.batch, args.size, args.size, 3 * args.stack
    images = torch.randint(256, shape, generator=random, dtype=torch.uint8).permute(0, 3, 1, 2)
    made = dict(zip(AUGMENTS, make_augments(AUGMENTS, random), strict=True))
    found: dict[str, float] = {}
    for _ in range(3):          # by turns, so that a busy machine hits each alike
        for name, augment in made.items():
            found[name] = min(found.get(name, 1e9), least(lambda augment=augment: augment(images), args.seconds))
    update = update_time(args) if args.update else None
    print(f"{3 * args.stack}x{args.size}x{args.size}, batch {args.batch}, {args.threads} threads, "
          f"torch {torch.__version__}" + (f", update of drqv2 {1e3 * update:.0f} ms" if update else ""))
    print(f"{'':<16}{'ms':>8}{'x shift':>9}" + (f"{'of an update':>14}" if update else ""))
    for name, seconds in found.items():
        print(f"{name:<16}{1e3 * seconds:>8.1f}{seconds / found['shift']:>9.1f}"
              + (f"{2 * seconds / update:>14.1%}" if update else ""))


if __name__ == "__main__":
    main()
