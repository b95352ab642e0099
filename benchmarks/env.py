"""Cost of an environment step against what it cannot do without, measured in one run, for each task.

    python benchmarks/env.py [--size 84] [--seconds 5] [--tasks Reach Retract]

Floor of an image step, each part called bare on the same scene along the same episodes: TinyRenderer's picture +
the endoscope's shading + bodies and tissue brought to the display + the tissue's step + the arm's kinematics. Times are
of the CPU (process time), floor and step interleaved: other load changes their ratio little. The expert acts, so that
tissue is held and moved; what it costs to ask it is left out.
"""

import argparse
import os
import time
from collections.abc import Callable

import gymnasium
import numpy as np

from envs import kinematics
from envs.env import SurgicalEnv
from envs.scenes.colon import ColonScene
from envs.scenes.flap import Flap


def cpu_ms(*pairs: tuple[Callable[[], object] | None, Callable[[], object]], seconds: float) -> list[float]:
    """Mean CPU time of a call of each pair's second, called in turns; the first goes before, untimed.

    The mean of the middle half: an episode's steps differ in cost, and all of them count; other load's peaks do not.
    """
    times: list[list[float]] = [[] for _ in pairs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for (prepare, function), spent in zip(pairs, times, strict=True):
            if prepare is not None:
                prepare()
            start = time.process_time_ns()
            function()
            spent.append((time.process_time_ns() - start) * 1e-6)
    return [float(np.mean(np.sort(spent)[len(spent) // 4:-(len(spent) // 4) or None])) for spent in times]


class Episodes:
    """Steps an environment through experts' episodes; choosing actions and resetting are not part of `step`."""

    def __init__(self, env: SurgicalEnv):
        """Begin the first."""
        self.env, self._seed = env, 0
        self._over = True
        self.prepare()

    def prepare(self) -> None:
        """Be where the next step can be made."""
        if self._over:
            self.env.reset(seed=self._seed)
            self._seed += 1
        self.action = self.env.expert()

    def step(self) -> None:
        """One step of the expert."""
        *_, self._over, _, _ = self.env.step(self.action)


class Floor:
    """What a step with an image cannot do without, each part called bare, along the same episodes."""

    def __init__(self, env: SurgicalEnv):
        """env: draws no pictures of its own."""
        self._scene, self._episodes, (self._height, self._width) = env.scene, Episodes(env), env.image_size
        self._shader = env.scene.bullet.shader(env.scene.camera, self._height, self._width)

    def prepare(self) -> None:
        """Make the step, and take the tissue back to before it."""
        self._episodes.prepare()
        if isinstance(self._scene, Flap):
            before = self._scene._sheet.get_state()
            self._episodes.step()
            if self._scene._sheet.held.size == before["held"].size:     # else it was grasped or let go in this step
                self._scene._sheet.set_state(before)
        else:
            self._episodes.step()

    def step(self) -> None:
        """Kinematics there and back, tissue, display, picture, shading."""
        scene = self._scene
        if isinstance(scene, ColonScene):
            scene.scope.move(*scene._command, scene.dt)
            scene._drawn.draw(scene.colon, scene.scope)
        else:
            arm = scene.arm("PSM1")
            kinematics.inverse(np.linalg.inv(arm.base) @ arm.tip)
            arm.frames()
            if isinstance(scene, Flap):
                scene._step_sheet(arm)
            scene._show()
        rgb, buffer, bodies = scene.bullet.raster(scene.camera, self._height, self._width)
        self._shader.shade(rgb, self._shader.depth_in_metres(buffer), bodies < 0)


def measure(task: str, size: int, seconds: float) -> None:
    """Print one task's table."""
    floor_env, env, state = (gymnasium.make(f"envs:surgrl/{task}-v0", **options).unwrapped for options in (
        {"image_size": (size, size), "observation": "state"}, {"image_size": (size, size)}, {"observation": "state"}))
    floor, with_image, without = Floor(floor_env), Episodes(env), Episodes(state)
    low, high = cpu_ms((floor.prepare, floor.step), (with_image.prepare, with_image.step), seconds=seconds)
    (state_ms,) = cpu_ms((without.prepare, without.step), seconds=seconds / 2)
    seeds = iter(range(10 ** 9))
    (reset_ms,) = cpu_ms((None, lambda: state.reset(seed=next(seeds))), seconds=seconds / 4)
    print(f"{task:28s}{'CPU ms':>9s}{'per s':>9s}{'ratio':>8s}")
    print(f"{'  floor':28s}{low:9.3f}{1e3 / low:9.0f}{1.0:8.2f}")
    print(f"{'  env.step, image':28s}{high:9.3f}{1e3 / high:9.0f}{high / low:8.2f}")
    print(f"{'  env.step, state':28s}{state_ms:9.3f}{1e3 / state_ms:9.0f}")
    print(f"{'  env.reset, state':28s}{reset_ms:9.3f}{1e3 / reset_ms:9.0f}")
    for made in (floor_env, env, state):
        made.close()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=84, help="px, side of the image")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    parser.add_argument("--tasks", nargs="+", default=["Reach", "Retract", "ColonNavigate"], help="what to measure")
    args = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; image {args.size}x{args.size}")
    for task in args.tasks:
        measure(task, args.size, args.seconds)


if __name__ == "__main__":
    main()
