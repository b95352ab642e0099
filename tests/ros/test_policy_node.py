"""policy_node over a real ROS graph: what it refuses, when it is silent, and what it sends."""

import shutil

import numpy as np
import pytest

SPEED, PERIOD = 0.05, 1 / 30    # m/s, s


def active(policy):
    """Whether the status says that the policy moves the arm."""
    return lambda: policy.status.startswith("active:")


def test_a_bundle_that_was_changed_is_refused(policy, right, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(right, changed)
    with (changed / "policy.onnx").open("r+b") as file:
        file.seek(40)
        file.write(b"X")
    assert not policy.configure(changed)
    assert policy.wait(lambda: "policy.onnx is not the file" in policy.status), policy.status


def test_a_bundle_that_is_not_there_is_refused(policy, tmp_path):
    assert not policy.configure(tmp_path / "none")
    assert policy.wait(lambda: "no such bundle" in policy.status), policy.status


def test_a_bundle_for_another_task_is_refused(policy, right):
    assert not policy.configure(right, task="surgrl/Retract-v0")
    assert policy.wait(lambda: "is a policy for surgrl/Reach-v0" in policy.status), policy.status


@pytest.mark.parametrize(("limit", "value", "word"), [
    ("limits__box_low", [0.05, -0.036, 0.048], "low must be below high"),
    ("limits__box_high", [0.04, 0.056, float("nan")], "low must be below high"),
    ("limits__box_low", [0.0, 0.0], "three numbers"),
])
def test_limits_that_cannot_be_are_refused(policy, right, limit, value, word):
    assert not policy.configure(right, **{limit: value})
    assert policy.wait(lambda: word in policy.status), policy.status


@pytest.mark.parametrize("value", [0.0, -1.0, 30.0, float("nan")])
def test_a_speed_out_of_range_cannot_be_set(policy, value):
    assert policy.set(limits__speed=value)


@pytest.mark.parametrize(("options", "word"), [
    ({"names": ("v_x", "v_y", "w_z")}, "w_z"),
    ({"units": ("m/s", "m/s", "mm/s")}, "mm/s"),
    ({"frame": "world"}, "world"),
])
def test_actions_that_cannot_be_mapped_are_refused(policy, make_bundle, tmp_path, options, word):
    assert not policy.configure(make_bundle(tmp_path / "odd", **options).folder)
    assert policy.wait(lambda: word in policy.status), policy.status


def test_limits_cannot_be_changed_behind_the_nodes_back(policy, right):
    assert policy.configure(right)
    assert "clean up" in policy.set(limits__speed=0.2)[0]


def test_inactive_sends_nothing(policy, robot, right):
    assert policy.configure(right)
    policy.graph.spin(1.0)
    assert robot.heard == [] and robot.holds == []


def test_active_moves_the_right_way_from_the_setpoint_within_the_limits(policy, robot, right):
    policy.activate(right)
    assert policy.wait(lambda: len(robot.heard) >= 40), policy.status
    positions = np.array([robot.start.position, *(heard.pose.position for heard in robot.heard)])
    steps = np.diff(positions, axis=0)
    # Right in the image is x in the optical frame, and -x in CRTK's.
    assert (steps[:, 0] < 0).all() and np.abs(steps[:, 1:]).max() < 1e-9
    assert np.linalg.norm(steps, axis=1).max() <= 0.025 * PERIOD + 1e-9
    assert np.linalg.norm(steps[0]) <= 0.025 * PERIOD + 1e-9        # seeded from setpoint_cp: no jump
    assert all(np.allclose(heard.pose.quaternion, robot.start.quaternion) for heard in robot.heard)
    assert {heard.frame for heard in robot.heard} == {"ECM"}


def test_commands_carry_the_stamps_of_their_images(policy, robot, right):
    policy.activate(right)
    assert policy.wait(lambda: len(robot.heard) >= 10), policy.status
    stamps = [heard.stamp for heard in robot.heard]
    now = robot.node.get_clock().now().nanoseconds
    assert stamps == sorted(set(stamps)) and 0 < now - stamps[-1] < 1e9


def test_a_fast_policy_is_cut_to_the_speed_limit(policy, robot, make_bundle, tmp_path):
    policy.activate(make_bundle(tmp_path / "fast", (1.0, 1.0, -1.0), scale=1.0).folder, limits__speed=0.02)
    assert policy.wait(lambda: len(robot.heard) >= 20), policy.status
    positions = np.array([robot.start.position, *(heard.pose.position for heard in robot.heard)])
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() <= 0.02 * PERIOD + 1e-9
    assert policy.wait(lambda: "cut to 0.02" in policy.status)


def test_targets_stay_inside_the_box(policy, robot, make_bundle, tmp_path):
    low = [-0.004, 0.0, 0.09]
    policy.activate(make_bundle(tmp_path / "far", (1.0, 0.0, 0.0)).folder, limits__box_low=low)
    assert policy.wait(lambda: len(robot.heard) >= 20), policy.status
    assert min(heard.pose.position[0] for heard in robot.heard) == pytest.approx(-0.004)


def test_a_jaw_channel_moves_the_jaw_no_faster_than_allowed(policy, robot, make_bundle, tmp_path):
    bundle = make_bundle(tmp_path / "jaw", (0, 0, 0, 1), names=("v_x", "v_y", "v_z", "jaw"), scale=1.0,
                         proprio=("x", "qw", "jaw"))
    policy.activate(bundle.folder, limits__jaw_speed=0.6)
    assert policy.wait(lambda: robot.jaws_heard and robot.jaws_heard[-1] == 1.0), policy.status
    assert np.diff([0.3, *robot.jaws_heard]).max() <= 0.6 * PERIOD + 1e-9


def test_deactivate_holds_and_sends_nothing_after(policy, robot, right):
    policy.activate(right)
    assert policy.wait(lambda: len(robot.heard) >= 5), policy.status
    assert policy.graph.change_state("deactivate")
    policy.graph.spin(0.2)      # what was under way
    count = len(robot.heard)
    policy.graph.spin(0.5)
    assert len(robot.heard) == count and len(robot.holds) == 1
    assert policy.status.startswith("inactive:")


def test_a_faster_camera_does_not_make_a_faster_arm(policy, robot, make_bundle, tmp_path):
    policy.activate(make_bundle(tmp_path / "slow", (0.5, 0.0, 0.0), rate=10.0).folder)
    assert policy.wait(lambda: len(robot.heard) >= 10), policy.status
    first, last = robot.heard[0], robot.heard[-1]
    way = np.linalg.norm(last.pose.position - first.pose.position)
    assert way <= 0.025 * ((last.stamp - first.stamp) * 1e-9 + 2 * 0.1)
    assert np.median(np.diff([heard.stamp for heard in robot.heard])) * 1e-9 > 0.075
