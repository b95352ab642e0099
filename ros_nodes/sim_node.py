"""An environment in the role of robot and endoscope: a CRTK arm and a camera as ROS 2 topics.

An episode begins with operating_state PAUSED for 0.2 s, while the arm jumps to its start, then ENABLED. Its
clock starts with the first servo_cp, and runs for the environment's max_episode_steps at most. As a dVRK, the
arm stays at its last setpoint when commands cease; after `hold` it stays where it is.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

import cv2
import gymnasium
import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Empty

from surgrl.policy.errors import UserError

from . import messages, parameters, process, qos
from .messages import ENABLED, PAUSED, Pose, crtk_to_optical, optical_to_crtk
from .scorebook import Scorebook

PAUSE = 0.2     # s, between two episodes


class SimNode(Node):
    """Steps the environment at its own rate; publishes after each step what arm and camera then tell."""

    exit_code: int | None = None

    def __init__(self) -> None:
        """Make the environment and its topics. UserError for parameters that do not go together."""
        super().__init__("sim_node")
        parameters.declare(self, parameters.SIMULATION)
        task, self._seed, self._episodes, results, arm, camera, self._frame, width, height, scale, rate = (
            self.get_parameter(parameter.name).value for parameter in parameters.SIMULATION)
        if width % scale or height % scale:
            raise UserError(f"image of {width}x{height} px cannot be drawn at 1/{scale} of its size; "
                            "give a render_scale that divides both")
        self._env = _make(task, (height // scale, width // scale))
        self._plant = self._env.unwrapped
        self._limit = self._env.spec.max_episode_steps or 0
        self._period = 1.0 / rate if rate else self._plant.dt
        if self._period < self._plant.dt * 0.999:
            raise UserError(f"rate {rate:g} Hz is faster than the environment's {1 / self._plant.dt:g} Hz; "
                            "give that or less (0: the environment's)")
        self._scores = Scorebook(results, {"task": task, "seed": self._seed, "image": [width, height],
                                           "rate": 1.0 / self._period})
        self._image, self._pixels = messages.make_image(height, width, self._plant.camera.frame)
        self._info_message = messages.make_camera_info(
            self._plant.camera.intrinsics(height, width), height, width, self._plant.camera.frame)
        self._join(arm, camera)
        self._begin_episode()
        self.create_timer(self._period, self._tick)

    def stop(self) -> None:
        """Tell that the arm takes no more commands."""
        self._set_state("DISABLED")
        self._env.close()

    def fault(self, error: Exception) -> None:
        """A simulation that has gone wrong ends."""
        raise error

    def _join(self, arm: str, camera: str) -> None:
        self._images = self.create_publisher(Image, f"{camera}/image_raw", qos.IMAGE)
        self._infos = self.create_publisher(CameraInfo, f"{camera}/camera_info", qos.STATUS)
        self._states = self.create_publisher(messages.STATE_TYPE, f"/{arm}/operating_state", qos.LATCHED)
        self._measured = self.create_publisher(PoseStamped, f"/{arm}/measured_cp", qos.STATE)
        self._told = self.create_publisher(PoseStamped, f"/{arm}/setpoint_cp", qos.STATE)
        self._jaws = self.create_publisher(JointState, f"/{arm}/jaw/measured_js", qos.STATE)
        self.create_subscription(PoseStamped, f"/{arm}/servo_cp", self._checked(self._on_servo_cp), qos.SERVO)
        self.create_subscription(JointState, f"/{arm}/jaw/servo_jp", self._checked(self._on_jaw), qos.SERVO)
        self.create_subscription(Empty, f"/{arm}/hold", self._on_hold, qos.EVENT)

    def _begin_episode(self) -> None:
        self._set_state(PAUSED)
        self._observation, _ = self._env.reset(seed=self._seed + len(self._scores.episodes))
        self._on_hold()
        self._steps: int | None = None      # None until the first servo_cp starts the clock
        self._pause = math.ceil(PAUSE / self._period)

    def _tick(self) -> None:
        if self._state == PAUSED:
            self._pause -= 1
            if self._pause <= 0:
                self._set_state(ENABLED)
        else:
            self._observation, _, _, _, info = self._plant.servo(
                self._setpoint.position, self._setpoint.quaternion, self._jaw)
            if self._steps is not None:
                self._steps += 1
                if info["success"] or info.get("failure") or self._steps >= self._limit > 0:
                    self._end_episode(info)
        if self.exit_code is None:
            self._publish()

    def _end_episode(self, info: dict[str, Any]) -> None:
        done = len(self._scores.episodes)
        success, distance = bool(info["success"]), float(info["distance"])
        self._scores.close_episode(seed=self._seed + done, success=success, steps=self._steps,
                                   distance=distance)
        self.get_logger().info(f"episode {done + 1}: {'success' if success else 'no success'} after "
                               f"{self._steps} steps, {distance * 1e3:.1f} mm from the target")
        if done + 1 == self._episodes:
            self.exit_code = 0
        else:
            self._begin_episode()

    def _publish(self) -> None:
        """Arm first: whoever acts on the image then has the state that goes with it."""
        now = self.get_clock().now().nanoseconds
        stamp = messages.to_stamp(now)
        self._measured.publish(messages.make_pose(optical_to_crtk(self._tip()), self._frame, stamp))
        self._told.publish(messages.make_pose(optical_to_crtk(self._setpoint), self._frame, stamp))
        self._jaws.publish(messages.make_joint("jaw", self._observation["proprio"][7], stamp))
        height, width = self._pixels.shape[:2]
        cv2.resize(self._observation["image"], (width, height), self._pixels, interpolation=cv2.INTER_LINEAR)
        self._image.header.stamp = self._info_message.header.stamp = stamp
        self._images.publish(self._image)
        self._infos.publish(self._info_message)
        if self._steps is not None:
            self._scores.sent(now)

    def _tip(self) -> Pose:
        """Where the tip is, in the camera's optical frame."""
        proprio = np.asarray(self._observation["proprio"], dtype=float)
        return Pose(proprio[:3], proprio[3:7] / np.linalg.norm(proprio[3:7]))

    def _on_servo_cp(self, message: PoseStamped) -> None:
        if self._state != ENABLED:
            return      # as a real arm does
        low, high = self._plant.workspace
        pose = crtk_to_optical(messages.read_pose(message))
        self._setpoint = Pose(np.clip(pose.position, low, high), pose.quaternion)
        self._scores.answered(messages.to_ns(message.header.stamp), self.get_clock().now().nanoseconds)
        self._steps = 0 if self._steps is None else self._steps

    def _on_jaw(self, message: JointState) -> None:
        if self._state == ENABLED:
            self._jaw = messages.read_joint(message)

    def _on_hold(self, _: Empty | None = None) -> None:
        """Stay: where the tip is now becomes the setpoint."""
        self._setpoint, self._jaw = self._tip(), float(self._observation["proprio"][7])

    def _set_state(self, state: str) -> None:
        self._state = state
        self._states.publish(messages.make_state(state, self.get_clock().now().to_msg()))

    def _checked(self, hear: Callable[[Any], None]) -> Callable[[Any], None]:
        def checked(message: Any) -> None:
            try:
                hear(message)
            except UserError as error:
                self.get_logger().warning(f"command refused: {error}", throttle_duration_sec=2.0)
        return checked


def _make(task: str, image_size: tuple[int, int]) -> gymnasium.Env:
    """The environment `task`, with images of image_size (height, width) px. UserError when there is none."""
    try:
        env = gymnasium.make(task if ":" in task else f"envs:{task}", image_size=image_size)
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        size = f"{image_size[1]}x{image_size[0]}"
        raise UserError(f"environment {task!r}, drawing {size} px: {error}") from error
    plant = env.unwrapped
    if not callable(getattr(plant, "servo", None)) or not getattr(getattr(plant, "scene", None), "arms", ("any",)):
        env.close()
        raise UserError(f"environment {task!r} moves no arm; this node plays a CRTK arm: choose a task that has one")
    return env


def main() -> int:
    """Entry point `sim_node`."""
    return process.run(SimNode)


if __name__ == "__main__":
    sys.exit(main())
