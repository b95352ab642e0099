"""Steps per second of 1, 2 and 4 environments in gymnasium.make_vec, against one in this process, for every task.

    python benchmarks/vector.py [--size 84] [--seconds 3] [--task surgrl/Reach-v0]

`sync` steps them in turns in this process, `async` in a process each. Every row is a ratio to one sync environment of
the same task and observation, the best of the rounds of both, measured in turns: other load slows both. Steps are
wall time, resets of ended episodes included, as a learner meets them. `free` is how many cores busy processes get
at that moment: no ratio can exceed it, and the load average does not tell it in a virtual machine.
"""

import argparse
import os
import subprocess
import sys
import time

import cv2
import gymnasium
import numpy as np

import envs  # noqa: F401  registers the ids

COUNTS, MODES, ROUNDS = (1, 2, 4), ("sync", "async"), 3
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")       # workers inherit them: each has one core

SPIN = "import time\nend = time.perf_counter() + 1\nwhile time.perf_counter() < end: pass\nprint(time.process_time())"


def free_cores() -> float:
    """Cores' worth of time that as many busy processes as there are cores get in a second."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True)
                for _ in range(os.cpu_count() or 1)]
    return sum(float(process.communicate()[0]) for process in spinning)


def rate(vector: gymnasium.vector.VectorEnv, actions: np.ndarray, seconds: float) -> float:
    """Environment steps in a second of wall time."""
    steps, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        vector.step(actions[steps % len(actions)])
        steps += 1
    return steps * vector.num_envs / spent


def measure(name: str, observation: str, size: int, seconds: float) -> None:
    """Print a task's rows for one kind of observation."""
    vectors = {}
    for mode in MODES:
        for count in COUNTS:
            vectors[mode, count] = gymnasium.make_vec(f"envs:{name}", num_envs=count, vectorization_mode=mode,
                                                      observation=observation, image_size=(size, size))
            vectors[mode, count].reset(seed=0)
    free = free_cores()
    rng, best = np.random.default_rng(0), dict.fromkeys(vectors, 0.0)
    for _ in range(ROUNDS):
        for key, vector in vectors.items():
            actions = rng.uniform(-1, 1, (64, *vector.action_space.shape)).astype(np.float32)
            best[key] = max(best[key], rate(vector, actions, seconds / ROUNDS))
    for vector in vectors.values():
        vector.close()
    for (mode, count), found in best.items():
        print(f"{name:26s}{observation:8s}{mode:7s}{count:8d}{found:10.0f}{found / best['sync', 1]:8.2f}{free:7.1f}",
              flush=True)


def main() -> None:
    """Print the table."""
    tasks = sorted(name for name in gymnasium.registry if name.startswith("surgrl/") and "Unity" not in name)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=84, help="px, side of the image")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement, over all its rounds")
    parser.add_argument("--task", choices=tasks, help="only this one (default: all)")
    args = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in THREADS):    # read as NumPy is imported: begin again with them
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | dict.fromkeys(THREADS, "1"))
    cv2.setNumThreads(1)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; image {args.size}x{args.size}")
    print(f"{'task':26s}{'seen':8s}{'mode':7s}{'workers':>8s}{'steps/s':>10s}{'ratio':>8s}{'free':>7s}")
    for name in [args.task] if args.task else tasks:
        for observation in ("image", "state"):
            measure(name, observation, args.size, args.seconds)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
