"""Time of `ImageGate.look` for one frame, sound ones and ones to be held: ms of wall time and of CPU.

python benchmarks/image_gate.py [--size 640x480] [--frames 2000] [--task surgrl/Reach-v0]
"""

import argparse
import os
import time
from collections.abc import Callable

import cv2
import numpy as np

from surgrl.frames import expert_frames, fit_profile
from surgrl.policy.image_gate import ImageGate, ImageLimits
from surgrl.policy.profile import reduced, region
from surgrl.policy.spec import Array, ImageSpec


def measure(gate: ImageGate, frames: list[Array], count: int) -> str:
    """Look at the frames in turn; medians and tails in ms."""
    gate.reset()
    wall, cpu, states = np.empty(count), np.empty(count), []
    for k in range(count):
        began, spent = time.perf_counter(), time.process_time()
        states.append(gate.look(frames[k % len(frames)], k / 30).state)
        wall[k], cpu[k] = time.perf_counter() - began, time.process_time() - spent
    least, middle, tail = 1e3 * wall.min(), 1e3 * np.median(wall), 1e3 * np.quantile(wall, 0.99)
    return (f"{states[-1]:4s} wall least {least:.2f}, p50 {middle:.2f}, p99 {tail:.2f} ms; "
            f"CPU mean {1e3 * cpu.mean():.2f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--task", default="surgrl/Reach-v0")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = map(int, args.size.split("x"))
    image = ImageSpec("camera", width, height, (0, (width - height) // 2, height, height), (64, 64), 1, 30.0)
    began = time.process_time()
    profile = fit_profile(args.task, image, {})
    print(f"profile of {args.task}: {time.process_time() - began:.1f} s of CPU")
    rng = np.random.default_rng(0)
    drawn = [cv2.resize(frame, (width, height)) for _, frame in expert_frames(args.task, image, range(2), {})]
    sound = [np.clip(frame.astype(np.int16) + rng.integers(-3, 4, frame.shape), 0, 255).astype(np.uint8)
             for frame in drawn[:20]]
    # Never latched: a latched gate no longer looks.
    gate = ImageGate(image, ImageLimits(strange_latch=1e9, unlike_latch=1e9), profile)
    print(f"{args.size}, {args.frames} frames, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("  sound  ", measure(gate, sound, args.frames))
    print("  swapped", measure(gate, [np.ascontiguousarray(frame[:, :, ::-1]) for frame in sound], args.frames))
    least = min(_took(lambda: reduced(region(sound[0], image))) for _ in range(200))
    print(f"  floor: making the frame small alone, least {1e3 * least:.2f} ms")


def _took(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
