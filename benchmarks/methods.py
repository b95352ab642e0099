"""What each objective costs: DrQ-v2 updates with it, as a ratio to DrQ-v2 alone, by turns in one run.

python benchmarks/methods.py [--size 84] [--batch 256] [--seconds 8] [--threads 2] [--only dear curl] [--json FILE]

The encoder is the same in every row: DrQ-v2's convolutions, pooled and projected to a latent that each objective takes.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import torch
from update import ACTIONS, HALVES, make_memory, times

from models.allocator import keep_freed_memory
from models.make import OBJECTIVES, make_agent
from surgrl.files import atomic_file

PLAIN = "drqv2"
ROUNDS = 3


def main(words: Sequence[str] | None = None) -> None:
    """Measure all by turns, so that a busy machine hits each alike, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=84, help="px, side of an image")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--stack", type=int, default=3, help="frames in one observation")
    parser.add_argument("--seconds", type=float, default=6, help="of measuring per row")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES), metavar="OBJECTIVE")
    parser.add_argument("--json", metavar="FILE", help="write the table there too")
    args = parser.parse_args(words)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    memory = make_memory(args)
    rows = [PLAIN, *args.only]
    wall: dict[str, list[float]] = {name: [] for name in rows}
    cpu: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(ROUNDS):
        for name in rows:
            if sys.stderr.isatty():
                print(f"\rround {turn + 1} of {ROUNDS}: {name:<20}", end="", file=sys.stderr, flush=True)
            # Made anew: all of them at once would need gigabytes, and each begins from the same weights.
            agent = make(name, args)
            found = times(lambda agent=agent: agent.update(memory), args.seconds / ROUNDS)
            wall[name] += found[0]
            cpu[name] += found[1]
    if sys.stderr.isatty():
        print(f"\r{'':<40}\r", end="", file=sys.stderr, flush=True)
    table = {name: {"ms": 1e3 * statistics.median(wall[name]), "cpu_ms": 1e3 * statistics.median(cpu[name]),
                    "ratio": statistics.median(cpu[name]) / statistics.median(cpu[PLAIN])} for name in rows}
    setting = (f"{args.size} px, stack {args.stack}, batch {args.batch}, latent {HALVES['latent_dim']}, "
               f"{args.threads} threads, torch {torch.__version__}")
    print(setting)
    print(f"{'':<20}{'ms':>9}{'CPU ms':>9}{'x drqv2, CPU':>14}")
    for name, row in table.items():
        print(f"{name:<20}{row['ms']:>9.1f}{row['cpu_ms']:>9.1f}{row['ratio']:>14.2f}")
    if args.json:
        with atomic_file(args.json) as path:
            path.write_text(json.dumps({"setting": setting, "rows": table}, indent=1))


def make(name: str, args: argparse.Namespace) -> Any:
    """DrQ-v2 with that objective, or alone."""
    return make_agent("drqv2", {"batch_size": args.batch}, encoder=HALVES, action_dim=ACTIONS,
                      objectives=[] if name == PLAIN else [{"name": name}],
                      image_shape=(3 * args.stack, args.size, args.size))


if __name__ == "__main__":
    main()
