"""Learner time of DVC's PPO at its released settings, and of choosing actions, against the convolutions alone.

    python benchmarks/dvc.py [--size 84] [--threads 2] [--seconds 20]

The floor: forward and backward of the same network over the same samples, from float images, without PPO's losses,
optimiser, or gathering of minibatches. Both run by turns in one process.
"""

import argparse
import os
import statistics
import time

import torch

from models.allocator import keep_freed_memory
from models.make import make_agent
from models.rollout import Rollout

WORKERS, HORIZON, BATCH, EPOCHS, STEPS = 4, 2560, 1024, 3, 500_000     # as surgrl/configs/colon-dvc.yaml
ACTIONS = 3


def random_rollout(size: int, horizon: int) -> Rollout:
    """Pictures of noise; the numbers around them matter to no clock."""
    shape = (horizon, WORKERS)
    ended = torch.rand(shape) < 0.005
    return Rollout(torch.randint(256, (*shape, 3, size, size), dtype=torch.uint8), torch.zeros(*shape, 0),
                   torch.zeros(*shape, 0), torch.randint(3, (*shape, ACTIONS)).float(),
                   torch.full(shape, -3.3), torch.randn(shape), torch.zeros(shape), torch.randn(*shape, 2),
                   torch.randn(*shape, 2), ended, ended, torch.zeros(*shape, 0))


def main() -> None:
    """Measure by turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=84, help="px, side of an image")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=20, help="of measuring")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    horizon = HORIZON // 2          # half a buffer: the time per sample is the same
    agent = make_agent("dvc", {"actions": "bins", "horizon": horizon, "batch_size": BATCH, "epochs": 1},
                       image_shape=(3, args.size, args.size), action_dim=ACTIONS, encoder={"name": "simple"})
    rollout = random_rollout(args.size, horizon)
    grey = torch.rand(BATCH, 1, args.size, args.size)
    few = rollout.obs[0], rollout.proprio[0], agent.first_state(WORKERS)

    def floor() -> None:
        for _ in range(horizon * WORKERS // BATCH):
            features = agent.net.squeeze(agent.net.encoder.convolutions(grey).flatten(1))
            (agent.net.numbers(features).sum() + agent.net.values(features).sum()).backward()

    times: dict[str, list[float]] = {"floor": [], "learn": [], "choose": []}
    work = {"floor": floor, "learn": lambda: agent.learn(rollout), "choose": lambda: agent.choose(*few)}
    for call in work.values():
        call()
    end = time.perf_counter() + args.seconds
    while time.perf_counter() < end:
        for name, call in work.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    samples = horizon * WORKERS
    floor_us, learn_us = (1e6 * statistics.median(times[name]) / samples for name in ("floor", "learn"))
    print(f"{args.size} px grey, batch {BATCH}, {args.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"floor, forward and backward    {floor_us:8.1f} us a sample    1.00")
    print(f"PPO epoch                      {learn_us:8.1f} us a sample    {learn_us / floor_us:.2f}")
    print(f"choosing for {WORKERS} environments   {1e6 * statistics.median(times['choose']):8.1f} us")
    print(f"learner time of {STEPS} steps, {EPOCHS} epochs: {learn_us * 1e-6 * STEPS * EPOCHS / 60:.1f} minutes")


if __name__ == "__main__":
    main()
