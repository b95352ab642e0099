"""An environment in the role of robot, endoscope and operator: a CRTK arm and a camera as ROS 2 topics.

An episode begins with operating_state PAUSED for 0.2 s, while the arm jumps to its start, then ENABLED. Its clock
starts with the first command that moves the arm, runs while it is ENABLED, and for max_steps at most. As a dVRK, the
arm stays at its last setpoint when commands cease.
"""

import math
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rclpy.node import Node

from surgrl.policy.errors import UserError

from . import arm_messages, messages, parameters, process, psm_topics, scope_topics, sim_operator
from .arm_server import ArmServer
from .arm_services import KinematicsServices
from .messages import ENABLED
from .scorebook import Scorebook, told
from .sim_arm import SimArm
from .sim_camera import SimCamera
from .sim_frames import SimFrames
from .sim_operator import SimOperator
from .sim_scope import SimScope
from .steady import make_timer

PAUSE = 0.2     # s, between two episodes


class SimNode(Node):
    """Steps the environment at its own rate; publishes after each step what arm and camera then tell."""

    exit_code: int | None = None

    def __init__(self) -> None:
        """Make the environment and its topics. UserError for parameters that do not go together."""
        super().__init__("sim_node")
        parameters.declare(self, parameters.SIMULATION)
        told = {parameter.name: self.get_parameter(parameter.name).value for parameter in parameters.SIMULATION}
        task, arm, frame = told["task"], told["arm"], told["command_frame"]
        width, height, scale = told["image_width"], told["image_height"], told["render_scale"]
        self._seed, self._episodes, rate = told["seed"], told["episodes"], told["rate"]
        if width % scale or height % scale:
            raise UserError(f"image of {width}x{height} px cannot be drawn at 1/{scale} of its size; "
                            "give a render_scale that divides both")
        self._env = _make(task, (height // scale, width // scale), stereo=told["stereo"])
        self._plant = self._env.unwrapped
        self._limit = told["max_steps"] or self._env.spec.max_episode_steps or 0
        self._period = 1.0 / rate if rate else self._plant.dt
        if self._period < self._plant.dt * 0.999:
            raise UserError(f"rate {rate:g} Hz is faster than the environment's {1 / self._plant.dt:g} Hz; "
                            "give that or less (0: the environment's)")
        results = Path(told["results"]).expanduser() if told["results"] else None
        if results and (results.is_dir() or not results.parent.is_dir()):
            raise UserError(f"parameter results is {results}; it must be a file in a folder that is there")
        self._scores = Scorebook(results, {
            "task": task, "seed": self._seed, "image": [width, height], "rate": 1.0 / self._period})
        self._camera = SimCamera(self, told["camera"], self._plant, height, width, stereo=told["stereo"])
        make = self._make_arm if self._plant.scene.arms else self._make_scope
        make(arm, frame, ready=told["ready"], tracking_error=told["tracking_error"])
        self._begin_episode()
        make_timer(self, self._period, self._tick)
        if told["operator"]:
            self._operator = SimOperator(self)
            make_timer(self, sim_operator.PERIOD, self._press)

    def stop(self) -> None:
        """Tell that the arm takes no more commands."""
        self._arm.command("disable")
        self._server.tell_state()
        self._env.close()

    def fault(self, error: Exception) -> None:
        """A simulation that has gone wrong ends."""
        raise error

    def _make_arm(self, name: str, frame: str, *, ready: bool, tracking_error: float) -> None:
        self._arm = arm = SimArm(self._plant, ready=ready, tracking_error=tracking_error)
        self._server = ArmServer(self, arm, name, psm_topics.reports(arm, name, frame),
                                 psm_topics.commands(arm, lambda text: self._server.tell(text)), self._on_target)
        if arm_messages.QueryForwardKinematics is not None:
            KinematicsServices(self, arm, name)
        self._frames = SimFrames(self, arm, name, frame, self._plant) if arm_messages.TFMessage and frame else None

    def _make_scope(self, name: str, frame: str, *, ready: bool, tracking_error: float) -> None:
        self._arm = scope = SimScope(self._plant, ready=ready)
        self._server = ArmServer(self, scope, name, scope_topics.reports(scope, name), scope_topics.commands(scope),
                                 self._on_target)
        self._frames = (scope_topics.ScopeFrames(self, scope, name, frame, self._plant)
                        if arm_messages.TFMessage and frame else None)

    def _begin_episode(self) -> None:
        self._arm.state.interrupt()
        self._server.tell_state()
        self._observation, _ = self._env.reset(seed=self._seed + len(self._scores.episodes))
        self._arm.begin()
        self._steps, self._pause = 0, math.ceil(PAUSE / self._period)

    def _tick(self) -> None:
        if self._pause:
            self._pause -= 1
            if not self._pause:
                self._arm.state.go_on()
        else:
            self._step()
        if self.exit_code is None:
            self._publish()

    def _step(self) -> None:
        arm = self._arm
        self._server.advance(self._plant.dt)
        self._observation, info = arm.step()
        if arm.moved and arm.state.word == ENABLED:
            self._steps += 1
            if info["success"] or info.get("failure") or self._steps >= self._limit > 0:
                self._end_episode(info)

    def _end_episode(self, info: dict[str, Any]) -> None:
        done = len(self._scores.episodes)
        success = bool(info["success"])
        measures = {name: float(value) for name, value in info.items() if isinstance(value, float | np.floating)}
        self._scores.close_episode(seed=self._seed + done, success=success, steps=self._steps, **measures)
        self.get_logger().info(f"episode {done + 1}: {'success' if success else 'no success'} after "
                               f"{self._steps} steps; {told(measures)}")
        if done + 1 == self._episodes:
            self.exit_code = 0
        else:
            self._begin_episode()

    def _publish(self) -> None:
        """Arm first: whoever acts on the image then has the state that goes with it."""
        now = self.get_clock().now().nanoseconds
        stamp = messages.to_stamp(now)
        self._server.publish(stamp)
        if self._frames is not None:
            self._frames.publish(stamp)
        self._camera.publish(self._observation, stamp)
        self._scores.sent(now, counts=self._arm.moved)

    def _on_target(self, stamp: int) -> None:
        self._scores.answered(stamp, self.get_clock().now().nanoseconds)

    def _press(self) -> None:
        self._operator.act(paused=self._pause > 0, moved=self._arm.moved)


def _make(task: str, image_size: tuple[int, int], *, stereo: bool) -> gymnasium.Env:
    """The environment `task`, with images of image_size (height, width) px. UserError when there is none."""
    if "surgrl/Unity" in task:      # not made at all: it would wait for an editor
        raise UserError(f"environment {task!r} is Unity's, which stands in for no robot; choose another task")
    try:
        env = gymnasium.make(task if ":" in task else f"envs:{task}", image_size=image_size,
                             **({"eyes": ("right",)} if stereo else {}))
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        size = f"{image_size[1]}x{image_size[0]}"
        raise UserError(f"environment {task!r}, drawing {size} px: {error}") from error
    plant = env.unwrapped
    if not (getattr(getattr(plant, "scene", None), "arms", ()) or "inserted" in getattr(plant, "proprio_names", ())):
        env.close()
        raise UserError(f"environment {task!r} moves neither an arm nor a flexible scope; choose a task that does")
    return env


def main() -> int:
    """Entry point `sim_node`."""
    return process.run(SimNode)


if __name__ == "__main__":
    sys.exit(main())
