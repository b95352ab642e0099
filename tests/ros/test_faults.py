"""Every fault that must stop the arm, injected into a real ROS graph while the policy moves it."""

import os
import signal
import time

import numpy as np
import pytest
from rclpy.node import Node

TICK = 0.02         # s, policy_node's watchdog
SLACK = 0.15        # s, for a test machine that does other things too
SETTLE = 0.15       # s, for commands that were under way


@pytest.fixture
def moving(policy, robot, right):
    """The policy moves the arm."""
    policy.activate(right)
    assert policy.wait(lambda: len(robot.heard) >= 5), policy.status
    return policy


def holds(policy, robot, word, since=None, within=2.0):
    """The policy comes to hold and sends `hold`; its status names `word`. Then nothing more is sent."""
    assert policy.wait(lambda: robot.holds, within), policy.status
    assert policy.wait(lambda: policy.status.startswith("hold:") and word in policy.status), policy.status
    if since is not None:
        assert robot.holds[0] - since <= policy.age + TICK + SLACK
    policy.graph.spin(SETTLE)
    count = len(robot.heard)
    policy.graph.spin(0.3)
    assert len(robot.heard) == count
    return True


def goes_on(policy, robot):
    """The policy moves the arm again, by no jump from where the arm is now."""
    before, setpoint = len(robot.heard), robot.setpoint.position
    assert policy.wait(lambda: len(robot.heard) > before), policy.status
    assert np.linalg.norm(robot.heard[before].pose.position - setpoint) <= 0.05 / 30
    return True


def test_images_stop(moving, robot):
    robot.image = None
    time.sleep(0.05)        # the camera's thread may be sending one right now
    assert holds(moving, robot, "image is", since=robot.last_image)
    assert len(robot.holds) == 1
    robot.image = np.zeros((120, 160, 3), np.uint8)
    assert goes_on(moving, robot)


def test_images_never_came(policy, robot, right):
    robot.image = None
    policy.graph.spin(policy.age)       # the last one of the test before grows old
    policy.activate(right)
    assert policy.wait(lambda: policy.status.startswith("hold: image is")), policy.status
    policy.graph.spin(0.5)
    assert robot.heard == []


def test_the_arm_stops_telling_its_state(moving, robot):
    robot.tells = False
    time.sleep(0.05)
    assert holds(moving, robot, "_cp is", since=robot.last_state)
    robot.tells = True
    assert goes_on(moving, robot)


@pytest.mark.parametrize("offset", [-1.0, 0.1])
@pytest.mark.parametrize("source", ["image", "state"])
def test_stamps_are_old_or_from_the_future(moving, robot, source, offset):
    setattr(robot, f"{source}_offset", offset)
    assert holds(moving, robot, "future" if offset > 0 else "old")
    setattr(robot, f"{source}_offset", 0.0)
    assert goes_on(moving, robot)


@pytest.mark.parametrize(("change", "word"), [
    ({"image": np.zeros((120, 120, 3), np.uint8)}, "another shape"),
    ({"cut": 1}, "bytes of the"),
    ({"encoding": "yuv422"}, "yuv422"),
])
def test_images_that_cannot_be_read_are_dropped_and_named(moving, robot, change, word):
    sound = {name: getattr(robot, name) for name in change}
    vars(robot).update(change)
    assert holds(moving, robot, word)
    vars(robot).update(sound)
    assert goes_on(moving, robot)


def test_a_policy_that_gives_nan_latches_until_it_is_activated_anew(policy, robot, make_bundle, tmp_path):
    robot.image = np.zeros((120, 160, 3), np.uint8)
    policy.activate(make_bundle(tmp_path / "nan", "nan").folder)
    assert policy.wait(lambda: len(robot.heard) >= 3), policy.status
    robot.image = np.full((120, 160, 3), 99, np.uint8)
    assert policy.wait(lambda: policy.status.startswith("latched: the policy gave [nan")), policy.status
    assert policy.wait(lambda: len(robot.holds) == 1)
    robot.image = np.zeros((120, 160, 3), np.uint8)
    policy.graph.spin(SETTLE)
    count = len(robot.heard)
    policy.graph.spin(0.5)
    assert len(robot.heard) == count and policy.status.startswith("latched:")
    assert policy.graph.change_state("deactivate") and policy.graph.change_state("activate")
    assert goes_on(policy, robot)


@pytest.mark.parametrize("state", ["PAUSED", "DISABLED", "FAULT"])
def test_the_arm_is_not_enabled(moving, robot, state):
    said = time.monotonic()
    robot.set_state(state)
    assert holds(moving, robot, state)
    assert robot.holds[0] - said <= SLACK
    moved = robot.start.position + [0.01, 0.0, 0.0]     # a person moved it meanwhile
    robot.setpoint = robot.measured = robot.setpoint._replace(position=moved)
    moving.graph.spin(0.2)
    robot.set_state("ENABLED")
    assert goes_on(moving, robot)


def test_the_arm_lags(moving, robot):
    robot.follows = False
    assert holds(moving, robot, "behind its command")
    assert np.linalg.norm(robot.setpoint.position - robot.measured.position) < 0.01 + 0.05 / 30


def test_the_arm_is_outside_the_box(moving, robot):
    robot.obeys = False
    time.sleep(SETTLE)
    robot.measured = robot.setpoint = robot.start._replace(position=np.array([0.0, 0.0, 0.5]))
    assert holds(moving, robot, "outside the workspace box")


def test_poses_in_another_frame_stop_the_arm(moving, robot):
    robot.frame_id = "PSM1_base"
    assert holds(moving, robot, "PSM1_base")


def test_a_pose_that_is_none_stops_the_arm(moving, robot):
    robot.follows = False
    robot.measured = robot.measured._replace(position=np.array([np.nan, 0.0, 0.1]))
    assert holds(moving, robot, "is not a pose")


def test_an_impossible_transition_neither_ends_the_node_nor_is_it_obeyed(moving, robot):
    moving.graph.change_state("cleanup", seconds=1.0)       # not from active
    moving.graph.spin(0.2)
    moving.process.require_alive()
    assert moving.status.startswith(("active:", "latched: RCLError"))       # Kilted, Jazzy


def test_a_second_publisher_of_commands_stops_the_arm(moving, robot):
    from geometry_msgs.msg import PoseStamped
    rival = Node("rival", context=robot.node.context)
    rival.create_publisher(PoseStamped, "/PSM1/servo_cp", 1)
    try:
        assert holds(moving, robot, "more than one publisher on /PSM1/servo_cp", within=5.0)
    finally:
        rival.destroy_node()
    assert moving.wait(lambda: moving.status.startswith("active:"), 5.0), moving.status


def test_a_stuck_policy_process_stands_still_and_holds_when_it_wakes(moving, robot):
    os.kill(moving.process.process.pid, signal.SIGSTOP)
    try:
        time.sleep(SETTLE)
        count, where = len(robot.heard), robot.setpoint.position
        time.sleep(3 * moving.age)
        assert len(robot.heard) == count and np.array_equal(robot.setpoint.position, where)
    finally:
        os.kill(moving.process.process.pid, signal.SIGCONT)
    assert moving.wait(lambda: robot.holds), moving.status
    assert goes_on(moving, robot)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_policy_process_ends(pair, right, number):
    policy, robot = pair
    policy.activate(right)
    assert policy.wait(lambda: len(robot.heard) >= 5), policy.status
    policy.process.process.send_signal(number)
    policy.process.process.wait(5.0)
    time.sleep(SETTLE)
    count, where = len(robot.heard), robot.setpoint.position
    time.sleep(0.5)
    assert len(robot.heard) == count and np.array_equal(robot.setpoint.position, where)
    if number != signal.SIGKILL:        # who is killed cannot say hold; an absolute target needs no hold
        assert len(robot.holds) == 1 and policy.process.process.returncode == 0
