"""Updates per second of DrQ-v2 and its additions, against a plain version of the paper's steps, same run.

python benchmarks/update.py [--size 64] [--batch 128] [--stack 3] [--seconds 10] [--threads 2] [--hidden 1024]
The plain one: NCHW float32, grid_sample shift, Adam as it comes, the C library's allocator as it comes.
The floor: the update's multiplications (counted, convolutions and matrices) at the speed of a large float32 matrix
product or of one convolution, whichever is faster, measured in the same run.

The setting of the paper: --size 84 --batch 256.
"""

import argparse
import copy
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, mse_loss, pad
from torch.utils.flop_counter import FlopCounterMode

import models
from models.allocator import keep_freed_memory
from models.make import make_agent
from models.memory import EpisodeMemory

ACTIONS, PROPRIO, EPISODE = 4, 0, 100
HALVES = {"pool": 4, "latent_dim": 1024}
VARIANTS: dict[str, dict[str, Any]] = {     # name -> options, objectives, encoder
    "drqv2": {},
    "drqv2, bf16": {"options": {"bf16": True}},
    "drqv2 + curl": {"objectives": [{"name": "curl"}]},
    "drqv2 + imitation": {"options": {"imitation": 1.0}},
    "imitation alone": {"options": {"imitation": 1.0, "q_weight": 0.0}},
    "drqv2, latent 1024": {"encoder": HALVES},
    "drqv2, latent 1024 + dear": {"encoder": HALVES, "objectives": [{"name": "dear"}]}}
PLAIN = "plain DrQ-v2"


class Plain:
    """The paper's steps, word for word: the measure of what the real one gains."""

    def __init__(self, channels: int, side: int, batch: int, hidden: int, seed: int = 0):
        """Networks of the paper's sizes. seed: of shifts and noise, which are drawn in the order of DrQv2."""
        self.batch, width = batch, 32
        self.random = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = []
        for inputs, stride in ((channels, 2), (width, 1), (width, 1), (width, 1)):
            layers += [nn.Conv2d(inputs, width, 3, stride), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        flat = self.encoder(torch.zeros(1, channels, side, side)).shape[1]

        def trunk() -> nn.Module:
            return nn.Sequential(nn.Linear(flat, 50), nn.LayerNorm(50), nn.Tanh())

        def mlp(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                                 nn.Linear(hidden, outputs))

        self.actor = nn.Sequential(trunk(), mlp(50, ACTIONS), nn.Tanh())
        self.critic = nn.ModuleList([trunk(), mlp(50 + ACTIONS, 1), mlp(50 + ACTIONS, 1)])
        self.slow = copy.deepcopy(self.critic)
        self.optimisers = [torch.optim.Adam(part.parameters(), 1e-4)
                           for part in (self.encoder, self.critic, self.actor)]

    def shifted(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float -> the same, by bilinear interpolation at whole-pixel offsets."""
        count, _, side, _ = images.shape
        images = pad(images, (4,) * 4, "replicate")
        step = 2.0 / (side + 8)
        line = torch.linspace(-1 + step / 2, 1 - step / 2, side + 8)[:side]
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=2).expand(count, -1, -1, -1)
        down_right = torch.randint(9, (count, 2), generator=self.random)
        grid = grid + down_right.flip(1)[:, None, None] * step
        return grid_sample(images, grid, padding_mode="zeros", align_corners=False)

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float -> (B, D)."""
        return self.encoder(images / 255.0 - 0.5)

    def noisy(self, mean: Tensor) -> Tensor:
        """(B, A) with clipped noise."""
        return (mean + torch.randn(mean.shape, generator=self.random).clamp(-0.3, 0.3)).clamp(-1, 1)

    @staticmethod
    def values(critic: nn.ModuleList, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, A) -> two (B, 1)."""
        inputs = torch.cat([critic[0](z), action], dim=1)
        return critic[1](inputs), critic[2](inputs)

    def update(self, memory: EpisodeMemory) -> dict[str, float]:
        """One step of encoder, critic and actor."""
        batch = memory.sample(self.batch)
        z = self.encode(self.shifted(batch.obs.float().contiguous()))
        with torch.no_grad():
            next_z = self.encode(self.shifted(batch.next_obs.float().contiguous()))
            next_q = torch.min(*self.values(self.slow, next_z, self.noisy(self.actor(next_z))))
            target = batch.reward + batch.discount * next_q
        q1, q2 = self.values(self.critic, z, batch.action)
        critic_loss = mse_loss(q1, target) + mse_loss(q2, target)
        self.step(critic_loss, self.optimisers[:2])
        z = z.detach()
        actor_loss = -torch.min(*self.values(self.critic, z, self.noisy(self.actor(z)))).mean()
        self.step(actor_loss, self.optimisers[2:])
        for slow, fast in zip(self.slow.parameters(), self.critic.parameters(), strict=True):
            slow.data.copy_(0.01 * fast.data + 0.99 * slow.data)
        return {"critic/loss": critic_loss.item(), "actor/loss": actor_loss.item()}

    @staticmethod
    def step(loss: Tensor, optimisers: list[torch.optim.Optimizer]) -> None:
        """Gradients anew, one step of each."""
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()


def make_memory(args: argparse.Namespace) -> EpisodeMemory:
    """Twenty random episodes with masks and labels."""
    rng = np.random.default_rng(0)
    memory = EpisodeMemory(20 * (EPISODE + 1), frame_shape=(args.size, args.size, 3), action_dim=ACTIONS,
                           stack=args.stack, extras=("mask", "expert"))
    for number in range(20 * (EPISODE + 1)):
        moment = {"frame": rng.integers(0, 256, (args.size, args.size, 3), dtype=np.uint8),
                  "mask": rng.integers(0, 2, (args.size, args.size)), "expert": rng.uniform(-1, 1, ACTIONS)}
        if number % (EPISODE + 1) == 0:
            memory.begin(**moment)
        else:
            memory.add(rng.uniform(-1, 1, ACTIONS), float(rng.normal()), False, **moment)
    return memory


def times(work: Callable[[], Any], seconds: float) -> tuple[list[float], list[float]]:
    """Wall and CPU seconds of each call, after two that warm up."""
    work()
    work()
    wall, cpu, begin = [], [], time.perf_counter()
    while len(wall) < 3 or time.perf_counter() - begin < seconds:
        before = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return wall, cpu


def serve(args: argparse.Namespace) -> None:
    """The measuring process: name and seconds in, times out, a line each; `tuned` sets the allocator."""
    if args.serve == "tuned":
        print(json.dumps(keep_freed_memory()), flush=True)
    torch.set_num_threads(args.threads)
    memory = make_memory(args)
    agents: dict[str, Any] = {}
    for line in sys.stdin:
        name, seconds = json.loads(line)
        if name == "peak":
            print(json.dumps(peak(args.threads)), flush=True)
            continue
        if name == "work":
            counter = FlopCounterMode(display=False)
            with counter:
                agents["drqv2"].update(memory)
            print(json.dumps(counter.get_total_flops()), flush=True)
            continue
        if name == "sampling":
            found = times(lambda: memory.sample(args.batch), seconds)
        else:
            if name not in agents:
                agents[name] = make(name, args)
            agent = agents[name]
            found = times(lambda agent=agent: agent.update(memory), seconds)
        print(json.dumps(found), flush=True)


def peak(threads: int) -> float:
    """Floating-point operations per second: the better of a large matrix product and a convolution of the encoder."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2, 3072, 3072)
    layer = nn.Conv2d(32, 32, 3).to(memory_format=torch.channels_last)
    images = torch.randn(256, 32, 39, 39).to(memory_format=torch.channels_last)
    work = {2 * 3072 ** 3: lambda: a @ b, 2 * 256 * 37 ** 2 * 32 * 32 * 9: lambda: layer(images)}
    found = []
    with torch.inference_mode():
        for operations, call in work.items():
            for _ in range(8):
                begin = time.perf_counter()
                call()
                found.append(operations / (time.perf_counter() - begin))
    return max(found)


def make(name: str, args: argparse.Namespace) -> Any:
    """The agent of that name in the table."""
    if name == PLAIN:
        return Plain(3 * args.stack, args.size, args.batch, args.hidden)
    chosen = VARIANTS[name]
    options = {"batch_size": args.batch, "hidden_dim": args.hidden, **chosen.get("options", {})}
    return make_agent("drqv2", options, objectives=chosen.get("objectives", ()),
                      encoder=chosen.get("encoder"), action_dim=ACTIONS,
                      image_shape=(3 * args.stack, args.size, args.size))


def ask(worker: subprocess.Popen[str], name: str, seconds: float = 0.0) -> Any:
    """What a measuring process answers."""
    worker.stdin.write(json.dumps([name, seconds]) + "\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def main() -> None:
    """Measure all by turns, so that a busy machine hits each alike, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, help="px, side of an image")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--stack", type=int, default=3, help="frames in one observation")
    parser.add_argument("--hidden", type=int, default=1024, help="units per layer of actor and critic")
    parser.add_argument("--seconds", type=float, default=10, help="of measuring per row")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--serve", choices=("stock", "tuned"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args)
        return
    here = str(Path(models.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    workers = {}
    for kind in ("stock", "tuned"):
        command = [sys.executable, __file__, *sys.argv[1:], "--serve", kind]
        workers[kind] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         env=environment)
    tuned = json.loads(workers["tuned"].stdout.readline())
    rounds = 4
    rows = [PLAIN, *VARIANTS, "sampling"]
    wall: dict[str, list[float]] = {name: [] for name in rows}
    cpu: dict[str, list[float]] = {name: [] for name in rows}
    for turn, name in itertools.product(range(rounds), rows):
        if sys.stderr.isatty():
            print(f"\rround {turn + 1} of {rounds}: {name:<30}", end="", file=sys.stderr, flush=True)
        answer = ask(workers["stock" if name == PLAIN else "tuned"], name, args.seconds / rounds)
        wall[name] += answer[0]
        cpu[name] += answer[1]
    speed, operations = (ask(workers["tuned"], name) for name in ("peak", "work"))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    if sys.stderr.isatty():
        print(f"\r{'':<50}\r", end="", file=sys.stderr, flush=True)
    print(f"{args.size} px, stack {args.stack}, batch {args.batch}, hidden {args.hidden}, "
          f"{args.threads} threads, torch {torch.__version__}, allocator {'set' if tuned else 'NOT set'}")
    print(f"{'':<28}{'updates/s':>10}{'ms':>8}{'CPU ms':>8}{'x plain':>9}{'x plain, CPU':>14}")
    for name in rows[:-1]:
        ms, work = (1e3 * statistics.median(table[name]) for table in (wall, cpu))
        print(f"{name:<28}{1e3 / ms:>10.2f}{ms:>8.1f}{work:>8.1f}"
              f"{1e3 * statistics.median(wall[PLAIN]) / ms:>9.2f}"
              f"{1e3 * statistics.median(cpu[PLAIN]) / work:>14.2f}")
    floor = 1e3 * operations / speed
    print(f"floor of drqv2: {operations / 1e9:.1f} GFLOP at {speed / 1e9:.0f} GFLOP/s are {floor:.1f} ms, "
          f"{floor / (1e3 * min(wall['drqv2'])):.0%} of its best update ({1e3 * min(wall['drqv2']):.1f} ms)")
    share = statistics.median(cpu["sampling"]) / statistics.median(cpu["drqv2"])
    print(f"drawing a batch: {1e3 * statistics.median(cpu['sampling']):.1f} ms of CPU, "
          f"{share:.1%} of drqv2's update")


if __name__ == "__main__":
    main()
