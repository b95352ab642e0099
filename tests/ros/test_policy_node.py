"""policy_node over a real ROS graph: what it refuses, and what it asks for."""

import shutil

import cv2
import numpy as np
import pytest
from rclpy.event_handler import PublisherEventCallbacks
from rosgraph import SCENE

from ros_nodes import messages, qos
from surgrl.policy.bundle import PROFILE, PolicyBundle
from surgrl.policy.overlay import GREEN
from surgrl.policy.profile import FrameProfile


def test_a_bundle_that_was_changed_is_refused(nodes, right, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(right, changed)
    with (changed / "policy.onnx").open("r+b") as file:
        file.seek(40)
        file.write(b"X")
    assert not nodes.configure(changed)
    assert nodes.wait(lambda: "policy.onnx is not the file" in nodes.policy), nodes.policy


def test_a_bundle_that_is_not_there_is_refused(nodes, tmp_path):
    assert not nodes.configure(tmp_path / "none")
    assert nodes.wait(lambda: "no such bundle" in nodes.policy), nodes.policy


def test_a_bundle_for_another_task_is_refused(nodes, right):
    assert not nodes.configure(right, task="surgrl/Retract-v0")
    assert nodes.wait(lambda: "is a policy for surgrl/Reach-v0" in nodes.policy), nodes.policy


def test_a_provider_that_is_not_there_is_refused_unless_a_fallback_is_allowed(nodes, right):
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert not nodes.configure(right, providers=wanted, allow_fallback=False)
    assert nodes.wait(lambda: "has no CUDAExecutionProvider" in nodes.policy), nodes.policy
    assert not nodes.set("policy_node", allow_fallback=True)
    assert nodes.graph.change_state("policy_node", "configure")
    nodes.reset()
    assert not nodes.set("policy_node", providers=["CPUExecutionProvider"], allow_fallback=False)


@pytest.mark.parametrize(("options", "word"), [
    ({"names": ("v_x", "v_y", "w_z")}, "w_z"),
    ({"units": ("m/s", "m/s", "mm/s")}, "mm/s"),
    ({"frame": "world"}, "world"),
])
def test_actions_that_cannot_be_mapped_are_refused(nodes, make_bundle, tmp_path, options, word):
    assert not nodes.configure(make_bundle(tmp_path / "odd", **options).folder)
    assert nodes.wait(lambda: word in nodes.policy), nodes.policy


def test_a_configure_that_was_refused_half_way_leaves_nothing_behind(nodes, right):
    assert not nodes.configure(right, image_topic="/my camera/image_raw")
    assert nodes.wait(lambda: "refused to configure" in nodes.policy), nodes.policy
    assert not nodes.set("policy_node", image_topic="/endoscope/left/image_raw")
    assert nodes.graph.change_state("policy_node", "configure"), nodes.policy
    nodes.graph.spin(0.5)       # two publishers of actions would latch the gate for ever
    assert nodes.graph.publishers("/policy_node/action") == 1


def test_the_operators_arrow_is_full_at_the_fastest_motion_not_at_the_jaws(nodes, robot, make_bundle, tmp_path):
    from sensor_msgs.msg import CompressedImage
    pictures: list[np.ndarray] = []
    nodes.graph.node.create_subscription(
        CompressedImage, "/policy_node/overlay/compressed", lambda said: pictures.append(
            cv2.imdecode(np.frombuffer(said.data, np.uint8), cv2.IMREAD_COLOR)), qos.IMAGE)
    bundle = make_bundle(tmp_path / "jaw", (1.0, 0.0, 0.0, 1.0), names=("v_x", "v_y", "v_z", "jaw"), scale=1.0)
    nodes.activate(bundle.folder, robot)
    assert nodes.wait(lambda: nodes.gate.startswith("active") and pictures), nodes.policy
    count = len(pictures)
    assert nodes.wait(lambda: len(pictures) > count + 3)
    columns = np.flatnonzero((np.abs(pictures[-1][60:, :, ::-1].astype(int) - GREEN).max(axis=2) < 60).any(axis=0))
    assert np.ptp(columns) > 0.15 * pictures[-1].shape[1]       # at the jaw's rad it would be a dot


@pytest.mark.parametrize("profile", [qos.STATUS, qos.STATE], ids=["kept", "with each image"])
@pytest.mark.parametrize("before", [True, False])
def test_a_camera_of_another_shape_refuses_to_activate_and_holds_when_it_comes_later(nodes, robot, right, before,
                                                                                     profile):
    from sensor_msgs.msg import CameraInfo
    quiet = PublisherEventCallbacks(use_default_callbacks=False)        # one of its two ways to hear does not fit
    infos = robot.node.create_publisher(CameraInfo, "/endoscope/left/camera_info", profile, event_callbacks=quiet)
    try:
        assert nodes.configure(right)
        if not before:
            assert nodes.graph.change_state("policy_node", "activate")
        assert nodes.wait(lambda: infos.get_subscription_count() >= 1)
        infos.publish(messages.make_camera_info(np.diag([200.0, 200.0, 1.0]), 90, 160, "endoscope_left"))
        if before:
            nodes.graph.spin(0.3)       # on its way
            assert not nodes.graph.change_state("policy_node", "activate")
        said = "inactive: refused to activate: this" if before else "hold: this"
        assert nodes.wait(lambda: nodes.policy.startswith(f"{said} is not the policy's camera: it gives 160x90")), (
            nodes.policy)
    finally:
        robot.drop(infos)


@pytest.mark.parametrize(("encoding", "size", "said"), [
    ("yuv422_yuy2", (120, 160), "image encoding 'yuv422_yuy2' is unknown"), ("rgb8", (128, 160), "another shape than")])
def test_a_camera_of_which_no_image_can_be_used_is_told_with_the_reason(nodes, robot, right, encoding, size, said):
    robot.encoding, robot.image = encoding, np.full((*size, 3), 90, np.uint8)
    nodes.activate(right, robot)
    assert nodes.wait(lambda: nodes.policy.startswith("hold: image is missing") and said in nodes.policy), nodes.policy
    robot.encoding, robot.image = "rgb8", SCENE
    assert nodes.wait(lambda: nodes.policy.startswith("active")), nodes.policy


def test_the_profile_of_pictures_is_the_one_that_was_proved(nodes, right, tmp_path, make_bundle):
    from diagnostic_msgs.msg import DiagnosticArray
    told: list[str] = []

    def hear(message):
        told.extend(pair.value for status in message.status for pair in status.values
                    if pair.key == "profile of pictures")
    hearing = nodes.graph.node.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
    folder = make_bundle(tmp_path / "bundle").folder
    bundle = PolicyBundle.load(folder)
    rng = np.random.default_rng(0)
    frames = [np.clip(SCENE + rng.normal(0, 4, SCENE.shape), 0, 255).astype(np.uint8) for _ in range(60)]
    FrameProfile.fit(frames, [k // 10 for k in range(60)], bundle.image).save(folder / PROFILE)
    bundle.write(*bundle.golden().values())
    for profiled in (True, False):
        if not profiled:
            folder = right
        assert nodes.configure(folder)
        (folder / PROFILE).unlink(missing_ok=True)
        assert nodes.graph.change_state("policy_node", "activate")
        told.clear()
        expected = "yes" if profiled else "none: strange ones are not found"
        assert nodes.wait(lambda: bool(told)) and told[-1] == expected
        nodes.reset()
    nodes.graph.node.destroy_subscription(hearing)


def test_parameters_cannot_be_changed_behind_the_nodes_back(nodes, right):
    assert nodes.configure(right)
    assert "clean up" in nodes.set("policy_node", max_image_age=0.2)[0]


def test_it_says_which_policy_it_runs(nodes, robot, right):
    nodes.activate(right, robot)
    assert nodes.wait(lambda: nodes.policy.startswith("active:")), nodes.policy
    assert "[right " in nodes.policy
