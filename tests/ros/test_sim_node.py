"""sim_node as a CRTK arm: episodes, commands, hold, and what it refuses."""

import json
import os
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Empty

from ros_nodes import messages, qos
from ros_nodes.messages import Pose, crtk_to_optical, optical_to_crtk
from ros_nodes.transport import CONFIG
from surgrl.node_process import NodeProcess


class Client:
    """Listens to arm and camera; for each image sends the pose `goal` (optical frame), if there is one."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = rclpy.create_node("client", context=self._context)
        self.goal = self.image = self.info = self.measured = self.setpoint = None
        self.states: list[str] = []
        self.servo = self.node.create_publisher(PoseStamped, "/PSM1/servo_cp", qos.SERVO)
        self.hold = self.node.create_publisher(Empty, "/PSM1/hold", qos.EVENT)
        self.node.create_subscription(messages.STATE_TYPE, "/PSM1/operating_state",
                                      lambda m: self.states.append(messages.read_state(m)), qos.LATCHED)
        for name in ("measured", "setpoint"):
            self.node.create_subscription(
                PoseStamped, f"/PSM1/{name}_cp",
                lambda m, name=name: setattr(self, name, crtk_to_optical(messages.read_pose(m))), qos.STATE)
        self.node.create_subscription(Image, "/endoscope/left/image_raw", self._on_image, qos.IMAGE)
        self.node.create_subscription(CameraInfo, "/endoscope/left/camera_info",
                                      lambda m: setattr(self, "info", m), qos.STATUS)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def wait(self, reached, seconds=20.0) -> bool:
        end = time.monotonic() + seconds
        while not reached() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)
        return bool(reached())

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _on_image(self, message: Image) -> None:
        self.image = message
        if self.goal is not None and self.states and self.states[-1] == "ENABLED":
            self.servo.publish(messages.make_pose(optical_to_crtk(self.goal), "ECM", message.header.stamp))


@pytest.fixture
def simulate(domain, tmp_path):
    """Starts sim_node with parameters; a client and the process."""
    started = []

    def start(**parameters):
        client = Client(domain + 2)
        process = NodeProcess("sim_node", CONFIG / "simulation.yaml", parameters, tmp_path,
                              domain=domain + 2)
        started.extend([process.stop, client.close])
        assert client.wait(lambda: client.image and client.measured), process.last_words()
        return client, process

    yield start
    for stop in started:
        stop()


def goal_of(seed: int) -> Pose:
    """Where Reach's marker is in the episode of that seed (optical frame), in the arm's own orientation."""
    env = gymnasium.make("envs:surgrl/Reach-v0", observation="state")
    observation, _ = env.reset(seed=seed)
    env.close()
    tip = observation["proprio"].astype(float)
    return Pose(tip[:3] + observation["state"], tip[3:7] / np.linalg.norm(tip[3:7]))


def test_episodes_run_to_the_target_and_the_results_tell(simulate, tmp_path):
    results = tmp_path / "results.json"
    client, process = simulate(seed=3, episodes=2, results=str(results), image_width=320,
                               image_height=240)
    for number in (1, 2):
        client.goal = None
        if number == 2:
            assert client.wait(lambda: client.states[-2:] == ["PAUSED", "ENABLED"] and client.states[2:])
        client.goal = goal_of(2 + number)
        assert client.wait(lambda number=number: results.exists()
                           and len(json.loads(results.read_text())["episodes"]) == number)
    process.process.wait(10)
    assert process.process.returncode == 0, process.last_words()
    told = json.loads(results.read_text())
    assert [episode["success"] for episode in told["episodes"]] == [True, True]
    assert [episode["seed"] for episode in told["episodes"]] == [3, 4]
    for episode in told["episodes"]:
        assert 10 < episode["steps"] <= 100 and episode["distance"] < 0.005
        assert len(episode["latency_ms"]) > 5 and min(episode["latency_ms"]) > 0
    assert 0 < told["frames_answered"] <= told["frames_sent"]


def test_the_arm_follows_stays_and_holds(simulate):
    client, _ = simulate(image_width=96, image_height=96)
    assert client.wait(lambda: client.states[-1:] == ["ENABLED"])
    start = client.measured
    near = Pose(start.position + [0.01, 0.0, 0.0], start.quaternion)
    client.goal = near
    assert client.wait(lambda: np.linalg.norm(client.measured.position - near.position) < 5e-4)
    assert np.allclose(client.setpoint.position, near.position, atol=1e-6)
    client.goal = None          # commands cease: it stays at its last setpoint
    client.wait(lambda: False, 0.5)
    assert np.linalg.norm(client.measured.position - near.position) < 5e-4
    client.goal = start
    assert client.wait(lambda: np.linalg.norm(client.measured.position - near.position) > 2e-3)
    client.goal = None          # it is under way to `start`: hold stops it short
    client.hold.publish(Empty())
    client.wait(lambda: False, 0.2)
    stopped = client.measured.position
    client.wait(lambda: False, 0.3)
    assert np.linalg.norm(client.measured.position - stopped) < 1e-5
    assert np.linalg.norm(stopped - start.position) > 1e-3


def test_images_and_intrinsics_have_the_size_asked_for(simulate):
    client, _ = simulate(image_width=320, image_height=160, render_scale=2)
    assert client.wait(lambda: client.info is not None)
    assert (client.image.width, client.image.height, client.image.encoding) == (320, 160, "rgb8")
    assert messages.read_image(client.image).std() > 5      # something is drawn
    assert client.image.header.frame_id == client.info.header.frame_id == "endoscope_left"
    focal = 80 / np.tan(np.radians(56) / 2)
    assert client.info.k[0] == client.info.k[4] == pytest.approx(focal) and client.info.k[2] == 160


@pytest.mark.parametrize(("parameters", "word"), [
    (["image_width:=641"], "divides both"),
    (["image_width:=8"], "image_width"),
    (["task:=surgrl/Fly-v0"], "Fly"),
    (["task:=CartPole-v1"], "CartPole"),
    (["rate:=90.0"], "faster than the environment"),
    (["seed:=-1"], "seed"),
])
def test_parameters_that_cannot_be_are_refused_in_a_line(domain, parameters, word):
    arguments = [word for parameter in parameters for word in ("-p", parameter)]
    done = subprocess.run(
        [sys.executable, "-m", "ros_nodes.sim_node", "--ros-args", *arguments], timeout=30,
        capture_output=True, text=True, env={**os.environ, "ROS_DOMAIN_ID": str(domain + 2)})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and word in done.stderr.splitlines()[-1]
