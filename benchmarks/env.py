"""Cost of an environment step against what it cannot do without, measured in one run, for every task.

    python benchmarks/env.py [--size 84] [--seconds 5] [--task surgrl/ColonNavigate-v0]

Floor of an image step: TinyRenderer's picture + the endoscope's shading + the robot's motion (an arm's kinematics, a
scope's sliding along the wall), each called bare on the same scene. Times are of the CPU (process time), the two
interleaved, medians: other load changes them little.
"""

import argparse
import os
import time
from collections.abc import Callable

import gymnasium
import numpy as np

from envs import kinematics
from envs.scene import Stage
from envs.tasks.navigate import BEND_SPEED, INSERTION_SPEED


def cpu_ms(*functions: Callable[[], object], seconds: float) -> list[float]:
    """Median CPU time of one call of each, called in turns."""
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for function, spent in zip(functions, times, strict=True):
            start = time.process_time_ns()
            function()
            spent.append((time.process_time_ns() - start) * 1e-6)
    return [float(np.median(spent)) for spent in times]


def stepper(env: gymnasium.Env) -> Callable[[], object]:
    """A function that makes one step of random actions, resetting outside the time that counts."""
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    inner = env.unwrapped      # an episode's end would count a reset as a step

    def step() -> object:
        return inner.step(rng.uniform(-1, 1, env.action_space.shape))
    return step


def motion(scene: Stage) -> Callable[[], object]:
    """The robot's motion in a step, and nothing else."""
    if not scene.arms:
        rates = np.random.default_rng(1)

        def slide() -> object:
            bend_x, bend_y, insertion = rates.uniform(-1, 1, 3)
            return scene.scope.move(np.array([bend_x, bend_y]) * BEND_SPEED, insertion * INSERTION_SPEED, 0.0, scene.dt)
        return slide
    arm = scene.arm("PSM1")
    in_base = kinematics.forward(arm.q)

    def joints() -> object:
        return kinematics.inverse(in_base), kinematics.link_frames(arm.q)
    return joints


def measure(name: str, size: int, seconds: float) -> None:
    """Print one task's rows."""
    env = gymnasium.make(f"envs:{name}", image_size=(size, size))
    scene = env.unwrapped.scene
    env.reset(seed=0)
    scene.picture(size, size)
    shader, move = scene.bullet.shader(scene.camera, size, size), motion(scene)

    def floor() -> object:
        move()
        _, _, rgba, buffer, bodies = scene.bullet.raster(scene.camera, size, size)
        return shader.shade(np.ascontiguousarray(rgba[:, :, :3]), shader.depth_in_metres(buffer), bodies < 0)

    low, high = cpu_ms(floor, stepper(env), seconds=seconds)
    state = gymnasium.make(f"envs:{name}", observation="state")
    (state_ms,) = cpu_ms(stepper(state), seconds=seconds / 2)
    seeds = iter(range(10 ** 9))
    (reset_ms,) = cpu_ms(lambda: env.reset(seed=next(seeds)), seconds=seconds / 2)
    (state_reset_ms,) = cpu_ms(lambda: state.reset(seed=next(seeds)), seconds=seconds / 2)
    print(f"{name:28s}{'CPU ms':>9s}{'per s':>9s}{'ratio':>8s}")
    print(f"{'  floor (render+shade+move)':28s}{low:9.3f}{1e3 / low:9.0f}{1.0:8.2f}")
    print(f"{'  env.step, image':28s}{high:9.3f}{1e3 / high:9.0f}{high / low:8.2f}")
    print(f"{'  env.step, state':28s}{state_ms:9.3f}{1e3 / state_ms:9.0f}")
    print(f"{'  env.reset, image':28s}{reset_ms:9.3f}{1e3 / reset_ms:9.0f}")
    print(f"{'  env.reset, state':28s}{state_reset_ms:9.3f}{1e3 / state_reset_ms:9.0f}")
    env.close()
    state.close()


def main() -> None:
    """Print the table."""
    tasks = sorted(name for name in gymnasium.registry if name.startswith("surgrl/"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=84, help="px, side of the image")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    parser.add_argument("--task", choices=tasks, help="only this one (default: all)")
    args = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; image {args.size}x{args.size}")
    for name in [args.task] if args.task else tasks:
        measure(name, args.size, args.seconds)


if __name__ == "__main__":
    main()
