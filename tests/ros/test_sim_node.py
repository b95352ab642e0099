"""sim_node as robot, endoscope and operator: episodes, commands, hold, the pedal, and what it refuses."""

import json
import os
import subprocess
import sys
import time

import cv2
import gymnasium
import numpy as np
import pytest
import rclpy
import yaml
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, Empty, String

from ros_nodes import messages, qos, sim_node
from ros_nodes.messages import Pose, crtk_to_optical, optical_to_crtk
from ros_nodes.sim_arm import SimArm
from ros_nodes.sim_scope import SimScope
from ros_nodes.transport import CONFIG
from surgrl.node_process import NodeProcess
from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.image_gate import ImageGate
from surgrl.policy.image_limits import ImageLimits
from surgrl.pretrained import find_bundle
from tests.ids import OWN as TASKS


class Client:
    """Listens to arm and camera; for each image sends the pose `goal` (optical frame), if there is one."""

    def __init__(self, domain: int, arm: str = "PSM1") -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = rclpy.create_node("client", context=self._context)
        self.goal = self.image = self.info = self.measured = self.setpoint = None
        self.states: list[str] = []
        self.right = self.right_info = None
        self.pedal: list[tuple[bool, str]] = []     # down or not, and operating_state as heard by then
        self.stop: list[bool] = []
        self.servo = self.node.create_publisher(PoseStamped, f"/{arm}/servo_cp", qos.SERVO)
        self.hold = self.node.create_publisher(Empty, f"/{arm}/hold", qos.EVENT)
        self.node.create_subscription(messages.STATE_TYPE, f"/{arm}/operating_state",
                                      lambda m: self.states.append(messages.read_state(m)), qos.LATCHED)
        for name in ("measured", "setpoint"):
            self.node.create_subscription(
                PoseStamped, f"/{arm}/{name}_cp",
                lambda m, name=name: setattr(self, name, crtk_to_optical(messages.read_pose(m))), qos.STATE)
        self.node.create_subscription(Image, "/endoscope/left/image_raw", self._on_image, qos.IMAGE)
        self.node.create_subscription(CameraInfo, "/endoscope/left/camera_info",
                                      lambda m: setattr(self, "info", m), qos.STATUS)
        for name, kind, quality in (("image_raw", Image, qos.IMAGE), ("camera_info", CameraInfo, qos.STATUS)):
            self.node.create_subscription(
                kind, f"/endoscope/right/{name}",
                lambda m, kind=kind: setattr(self, "right" if kind is Image else "right_info", m), quality)
        self.node.create_subscription(
            Bool, "/operator/enable",
            lambda m: self.pedal.append((m.data, self.states[-1] if self.states else "")), qos.STATE)
        self.node.create_subscription(Bool, "/operator/estop", lambda m: self.stop.append(m.data), qos.LATCHED)
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
        client = Client(domain + 2, parameters.get("arm", "PSM1"))
        process = NodeProcess("sim_node", [CONFIG / "simulation.yaml"], parameters, tmp_path,
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


def test_a_stereo_pair_is_rectified_and_tells_its_baseline(simulate):
    client, _ = simulate(image_width=320, image_height=240, render_scale=2, stereo=True)
    assert client.wait(lambda: client.right and client.right_info and client.info)
    assert client.wait(lambda: client.right.header.stamp == client.image.header.stamp)
    left, right = (messages.read_image(message).astype(float) for message in (client.image, client.right))
    # The tissue stands about 0.1 m away: seen from 5.2 mm further right it lies about 12 px further left.
    apart = {shift: np.abs(left[60:180, 60:260] - right[60:180, 60 - shift:260 - shift]).mean() for shift in (0, 12)}
    assert apart[12] < 0.7 * apart[0]
    assert client.right_info.p[3] == pytest.approx(-client.info.k[0] * 0.0052) and client.info.p[3] == 0
    assert client.right_info.k.tolist() == client.info.k.tolist()
    assert client.right.header.frame_id == client.right_info.header.frame_id == client.info.header.frame_id


def test_the_pedal_is_up_at_first_and_between_episodes(simulate, tmp_path):
    client, _ = simulate(image_width=96, image_height=96, max_steps=20)
    assert client.wait(lambda: client.pedal and client.stop)
    assert client.stop == [False]
    client.goal = client.measured
    assert client.wait(lambda: client.pedal[-1][0])
    client.pedal.clear()
    assert client.wait(lambda: "PAUSED" in [state for _, state in client.pedal])
    assert client.wait(lambda: client.pedal[-1] == (True, "ENABLED"))
    down = [pressed for pressed, _ in client.pedal]
    first = down.index(False)
    assert not any(down[first:first + 5]) and all(down[:first])     # 0.2 s, and down again


def test_the_foot_tries_again_while_nothing_moves(simulate):
    client, _ = simulate(image_width=96, image_height=96, max_steps=10**6)
    assert client.wait(lambda: client.pedal and client.pedal[-1][0])
    assert client.wait(lambda: not client.pedal[-1][0]) and client.wait(lambda: client.pedal[-1][0])
    client.goal = client.measured       # an arm that is moved: the foot stays
    client.wait(lambda: False, 0.5)
    client.pedal.clear()
    client.wait(lambda: False, 3.0)
    assert len(client.pedal) > 50 and all(pressed for pressed, _ in client.pedal)


def test_without_an_operator_nobody_is_at_the_pedal(simulate):
    client, _ = simulate(image_width=96, image_height=96, operator=False)
    assert client.wait(lambda: client.states[-1:] == ["ENABLED"])
    client.wait(lambda: False, 1.5)
    assert not client.pedal and not client.stop
    assert client.node.count_publishers("/operator/enable") == client.node.count_publishers("/operator/estop") == 0


def test_a_command_that_comes_again_answers_its_image_once(simulate, tmp_path):
    results = tmp_path / "results.json"
    client, process = simulate(episodes=1, max_steps=15, results=str(results), image_width=96, image_height=96)
    assert client.wait(lambda: client.states[-1:] == ["ENABLED"])
    aside = Pose(client.measured.position + [0.002, 0, 0], client.measured.quaternion)

    stamps = []

    def sent_again() -> bool:
        stamp = client.image.header.stamp
        stamps.append((stamp.sec, stamp.nanosec))
        client.servo.publish(messages.make_pose(optical_to_crtk(aside), "ECM", stamp))
        return process.process.poll() is not None
    assert client.wait(sent_again)
    told = json.loads(results.read_text())
    assert 5 < len(told["episodes"][0]["latency_ms"]) <= len(set(stamps)) < len(stamps)
    assert told["frames_answered"] <= told["frames_sent"] == 14    # none is sent after the last step


def test_an_arm_far_behind_its_setpoint_faults_if_it_may(simulate):
    client, _ = simulate(image_width=96, image_height=96, tracking_error=0.004)
    assert client.wait(lambda: client.states[-1:] == ["ENABLED"])
    start = client.measured
    client.goal = Pose(start.position + [0.02, 0.0, 0.0], start.quaternion)
    assert client.wait(lambda: client.states[-1:] == ["FAULT"])
    client.wait(lambda: False, 0.3)
    assert np.linalg.norm(client.measured.position - start.position) < 0.005


def test_the_jaws_of_another_task_s_arm_close(simulate):
    client, _ = simulate(task="surgrl/Retract-v0", image_width=96, image_height=96)
    jaws = []
    close = client.node.create_publisher(JointState, "/PSM1/jaw/servo_jp", qos.SERVO)
    client.node.create_subscription(JointState, "/PSM1/jaw/measured_js",
                                    lambda m: jaws.append(messages.read_joint(m)), qos.STATE)

    def closed() -> bool:
        close.publish(messages.make_joint("jaw", 0.1, client.image.header.stamp))
        return jaws and abs(jaws[-1] - 0.1) < 1e-3
    assert client.wait(closed) and max(jaws) > 0.3


def test_an_episode_of_another_task_ends_and_its_own_measures_are_told(simulate, tmp_path):
    results = tmp_path / "results.json"
    client, process = simulate(task="surgrl/Retract-v0", image_width=96, image_height=96, episodes=1, max_steps=5,
                               results=str(results))
    client.goal = client.measured
    assert client.wait(lambda: process.process.poll() is not None)
    assert process.process.returncode == 0, process.last_words()
    (episode,) = json.loads(results.read_text())["episodes"]
    assert episode["steps"] == 5 and 0 <= episode["visible_fraction"] <= 1 and "distance" not in episode


def test_a_flexible_scope_is_a_camera_arm_that_is_moved_by_its_joints(simulate):
    client, _ = simulate(task="surgrl/ColonNavigate-v0", arm="ECM", image_width=96, image_height=96)
    told, errors = [], []
    client.node.create_subscription(JointState, "/ECM/measured_js", told.append, qos.STATE)
    client.node.create_subscription(String, "/ECM/error", lambda message: errors.append(message.data), qos.EVENT)
    servo = client.node.create_publisher(JointState, "/ECM/servo_jp", qos.SERVO)
    assert client.wait(lambda: told and client.states[-1:] == ["ENABLED"] and client.info)
    assert told[-1].name == ["bend_x", "bend_y", "inserted"]
    assert client.image.header.frame_id == client.info.header.frame_id == "colonoscope"
    start, first = np.array(told[-1].position), messages.read_image(client.image).copy()

    def go(change):
        servo.publish(JointState(position=(start + change).tolist()))
        return np.allclose(told[-1].position, start + change, atol=1e-3)
    assert client.wait(lambda: go([0.2, -0.1, 0.02])), told[-1].position
    assert np.abs(messages.read_image(client.image).astype(int) - first).mean() > 2
    # 20 mm on, from where it looked at first, with z away from the camera.
    assert client.measured.position[2] == pytest.approx(0.02, abs=0.008)
    client.servo.publish(messages.make_pose(client.measured, "ECM", client.image.header.stamp))
    assert client.wait(lambda: errors) and "no inverse kinematics" in errors[0]
    servo.publish(JointState(position=(start + [0.2, -0.1, 0.1]).tolist()))
    client.wait(lambda: told[-1].position[2] > start[2] + 0.03)
    client.hold.publish(Empty())
    client.wait(lambda: False, 0.3)
    stopped = told[-1].position[2]
    client.wait(lambda: False, 0.3)
    assert told[-1].position[2] == pytest.approx(stopped, abs=1e-6) and stopped < start[2] + 0.09


@pytest.mark.parametrize(("name", "task", "seeds"), [       # of a hundred, with the strangest beginning of each task
    ("reach", "Reach", range(20)), ("retract", "Retract", range(85, 95))])
def test_where_episodes_begin_the_pretrained_policies_know_the_picture(name, task, seeds):
    bundle = PolicyBundle.load(find_bundle(name))
    told = yaml.safe_load((CONFIG / "simulation.yaml").read_text())["/**/policy_node"]["ros__parameters"]["image"]
    env = gymnasium.make(f"envs:surgrl/{task}-v0", image_size=(120, 160))
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        gate = ImageGate(bundle.image, ImageLimits(**told, good_frames=1), bundle.profile())
        shown = cv2.resize(observation["image"], (640, 480), interpolation=cv2.INTER_LINEAR)
        assert gate.look(shown, 0.0).state == "ok", seed
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_can_be_played(task):
    env = sim_node._make(task, (24, 32), stereo=False)
    plant = env.unwrapped
    arm = SimArm(plant, ready=True) if plant.scene.arms else SimScope(plant, ready=True)
    observation, info = arm.step()
    assert observation["image"].shape == (24, 32, 3) and info["success"] is False
    env.close()


@pytest.mark.parametrize(("parameters", "word"), [
    (["image_width:=641"], "divides both"),
    (["image_width:=8"], "image_width"),
    (["task:=surgrl/Fly-v0"], "Fly"), (["task:=surgrl/UnityRetract-v0"], "stands in for no robot"),
    (["task:=CartPole-v1"], "CartPole"),
    (["stereo:=true", "camera:=/scope"], "/scope"),
    (["results:=/nowhere/results.json"], "in a folder that is there"), (["results:=/tmp"], "it must be a file"),
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
