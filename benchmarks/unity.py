"""Steps of a Unity scene for each millisecond of Python's CPU time, beside the official package in the same run.

    python benchmarks/unity.py --peer PEER/bin/python

The player is the tests' stand-in, its pictures drawn beforehand; it runs in a process of its own, whose time does not
count. PEER is a virtual environment with `mlagents-envs==0.28.0` and `protobuf<3.21`, best on Python 3.10, where its
protobuf is compiled; without one our own figures stand alone.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np

ROOT = Path(__file__).parents[1]
PLAYER = [sys.executable, str(ROOT / "tests" / "unity_player.py"), "--cached", "--package", "2.0.1", "--actions", "two",
          "--vector", "10", "--max-step", "100"]
WARM_UP = 100           # steps
SETUPS = {"84x84x3 PNG": ([], 1.5), "84x84x3 floats": (["--floats"], 3.0),
          "256x256x3 PNG": (["--size", "256"], 0.0)}        # words of the player, and the ratio that is promised


def main() -> None:
    """A table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", help="Python with the official package")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="the least CPU time of so many counts")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    print(f"load {os.getloadavg()[0]:.1f}; CPU ms per step (steps per second seen)")
    print(f"{'setup':16s} {'ours':>14s} {'official':>14s} {'ratio':>6s} {'promised':>8s}")
    for name, (words, promised) in SETUPS.items():
        mine, theirs = [], []
        for _ in range(args.rounds):
            mine.append(ours([*PLAYER, *words], args.steps))
            if args.peer:
                theirs.append(official(args.peer, [*PLAYER, *words], args.steps))
        best, row = min(mine), f"{name:16s} {told(min(mine)):>14s}"
        if theirs:
            row += f" {told(min(theirs)):>14s} {min(theirs)[0] / best[0]:6.2f} {promised or '-':>8}"
        print(row, flush=True)


def told(measured: tuple[float, float]) -> str:
    """CPU ms of a step, and steps per second."""
    return f"{measured[0]:.3f} ({measured[1]:.0f})"


def ours(player: list[str], steps: int) -> tuple[float, float]:
    """CPU ms of a step, all our threads together, and steps per second."""
    env = gymnasium.make("envs:surgrl/Unity-v0", player=player, image_size=None).unwrapped
    env.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (steps + WARM_UP, 2))
    for k, action in enumerate(actions):
        if k == WARM_UP:
            spent, began = time.process_time(), time.perf_counter()
        *_, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    spent, passed = time.process_time() - spent, time.perf_counter() - began
    env.close()
    return 1e3 * spent / steps, steps / passed


def official(peer: str, player: list[str], steps: int) -> tuple[float, float]:
    """The same of the official package."""
    done = subprocess.run([peer, str(ROOT / "tests" / "unity_official.py"), "--steps", str(steps), "--warm-up",
                           str(WARM_UP), "--", *player], capture_output=True, text=True, check=True,
                          env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"})
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return 1e3 * found["cpu_s"] / steps, steps / found["wall_s"]


if __name__ == "__main__":
    main()
