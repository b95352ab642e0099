"""The simulated arm's controller on an environment, without ROS: setpoints, moves, limits."""

import gymnasium
import numpy as np
import pytest

from ros_nodes.messages import Pose
from ros_nodes.motion import Move, Way, turn_between
from ros_nodes.scorebook import Scorebook
from ros_nodes.sim_arm import JOINT_SPEED, NotReadyError, SimArm, UnreachableError
from surgrl.policy.errors import UserError

IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


@pytest.fixture
def plant():
    env = gymnasium.make("envs:surgrl/Reach-v0", observation="state")
    env.reset(seed=2)
    yield env.unwrapped
    env.close()


@pytest.fixture
def arm(plant):
    return SimArm(plant, ready=True)


def run(arm: SimArm, plant, steps: int) -> list[np.ndarray]:
    """Let control steps pass; the joints' setpoint after each."""
    setpoints = []
    for _ in range(steps):
        arm.advance(plant.dt)
        plant.servo(*arm.setpoint, arm.jaw)
        arm.measure(plant.dt)
        setpoints.append(arm.joints)
    return setpoints


def test_a_move_keeps_its_speed_and_ends(arm, plant):
    start, goal = arm.joints, arm.joints + [-0.05, 0.02, -0.01, 0.3, 0.1, 0.1]
    arm.move_jp(goal)
    path = run(arm, plant, 60)
    assert not arm.busy and np.allclose(path[-1], goal, atol=1e-9)
    assert np.allclose(arm.measured.joints, goal, atol=1e-4)
    speeds = np.abs(np.diff([start, *path], axis=0)) / plant.dt
    assert (speeds <= JOINT_SPEED * 1.01).all() and (speeds > JOINT_SPEED * 0.9).any()


def test_a_straight_move_is_straight(arm, plant):
    start = arm.setpoint.position
    goal = start + [0.01, -0.004, 0.0]
    arm.move_cp(Pose(goal, arm.setpoint.quaternion))
    tips = []
    while arm.busy:
        run(arm, plant, 1)
        tips.append(arm.measured.tip.position)
    run(arm, plant, 2)
    along = (goal - start) / np.linalg.norm(goal - start)
    off = [np.linalg.norm((tip - start) - ((tip - start) @ along) * along) for tip in tips]
    assert max(off) < 2e-4 and np.linalg.norm(arm.measured.tip.position - goal) < 1e-4


def test_a_servo_command_ends_a_move_and_makes_it_not_busy(arm, plant):
    arm.move_jp(arm.joints - [0, 0, 0.02, 0, 0, 0])
    run(arm, plant, 5)
    assert arm.busy
    arm.servo_cp(Pose(*arm.view.tip))
    assert not arm.busy
    arm.move_jaw(1.0)
    arm.servo_cp(Pose(*arm.view.tip))
    assert arm.busy     # the jaws go on: they are another thing
    arm.servo_jaw(0.4)
    assert not arm.busy


def test_joints_are_clipped_and_the_tip_kept_in_the_workspace(arm, plant):
    arm.servo_jp(arm.joints + [0, 0, 0, 0, 0, 5.0])
    assert arm.joints[5] == pytest.approx(arm.view.high[5])
    arm.hold()
    arm.servo_cp(Pose(arm.setpoint.position + [0.5, 0, 0], arm.setpoint.quaternion))
    assert arm.setpoint.position[0] == pytest.approx(plant.workspace[1][0])


def test_where_no_joints_reach_it_stays(arm):
    before = arm.setpoint
    with pytest.raises(UnreachableError, match="no motion"):
        arm.servo_cp(Pose(before.position, np.array([1.0, 0.0, 0.0, 0.0])))      # out of the tissue, at the camera
    assert arm.setpoint is before and not arm.moved


@pytest.mark.parametrize("command", ["servo_jp", "servo_jr", "move_jp", "move_jr"])
def test_an_arm_that_is_not_ready_takes_no_command(arm, command):
    arm.command("pause")
    with pytest.raises(NotReadyError, match="PAUSED"):
        getattr(arm, command)(np.zeros(6))
    with pytest.raises(NotReadyError):
        arm.move_jaw(0.1)


def test_a_slower_ratio_makes_moves_longer(arm, plant):
    lengths = []
    for ratio, way in ((1.0, -0.01), (0.5, 0.01)):
        arm.set_ratio(ratio)
        arm.move_jr(np.array([0, 0, way, 0, 0, 0]))
        lengths.append(0)
        while arm.busy:
            run(arm, plant, 1)
            lengths[-1] += 1
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=1)
    with pytest.raises(UserError, match="above 0"):
        arm.set_ratio(0.0)


def test_speeds_are_those_of_the_motion(arm, plant):
    arm.move_jr(np.array([-0.05, 0, 0, 0.2, 0, 0]))
    run(arm, plant, 5)
    body = arm.view.jacobians()[0] @ arm.measured.speeds
    assert np.linalg.norm(arm.measured.linear) == pytest.approx(np.linalg.norm(body[:3]), rel=0.05)
    assert np.linalg.norm(arm.measured.angular) == pytest.approx(np.linalg.norm(body[3:]), rel=0.05)
    arm.begin()
    assert not arm.measured.speeds.any() and not arm.measured.angular.any()


def test_a_way_turns_the_shorter_way_round_and_evenly():
    quarter = np.array([0.0, 0.0, np.sin(np.pi / 4), np.cos(np.pi / 4)])
    way = Way(Pose(np.zeros(3), IDENTITY), Pose(np.array([0.0, 0.0, 2.0]), -quarter))
    assert way.length == 2 and way.turn == pytest.approx(np.pi / 2)
    half = way.at(0.5)
    assert half.position[2] == 1 and np.allclose(half.quaternion, [0, 0, np.sin(np.pi / 8), np.cos(np.pi / 8)])
    assert np.allclose(np.abs(way.at(1.0).quaternion @ quarter), 1)


def test_a_turn_is_told_in_the_common_frame():
    before = np.array([np.sin(0.3), 0.0, 0.0, np.cos(0.3)])
    about_y = np.array([0.0, np.sin(0.1), 0.0, np.cos(0.1)])
    after = np.array([about_y[3] * before[0], about_y[1] * before[3], -about_y[1] * before[0], about_y[3] * before[3]])
    assert np.allclose(turn_between(before, after), [0, 0.2, 0])
    assert np.allclose(turn_between(before, -after), [0, 0.2, 0]) and not turn_between(before, before).any()


def test_a_move_arrives_exactly_and_never_overshoots():
    shares = []
    move = Move(shares.append, seconds=0.1)
    while not move.advance(0.03):
        pass
    assert shares[-1] == 1.0 and np.all(np.diff(shares) > 0)


def test_only_the_first_answer_to_an_image_is_timed(tmp_path):
    book = Scorebook(tmp_path / "r.json", {})
    book.sent(1_000_000, counts=False)
    book.sent(2_000_000, counts=True)
    for stamp, now in ((1_000_000, 4_000_000), (1_000_000, 9_000_000), (2_000_000, 4_000_000), (2_000_000, 9_000_000),
                       (0, 9_000_000), (7, 9_000_000)):
        book.answered(stamp, now)
    book.close_episode()
    assert book.episodes == [{"latency_ms": [3.0, 2.0]}]
    assert '"frames_sent": 1, "frames_answered": 1' in (tmp_path / "r.json").read_text()


def test_images_that_nobody_answers_are_forgotten_in_time():
    book = Scorebook(None, {})
    for stamp in range(1, 2000):
        book.sent(stamp, counts=True)
    book.answered(1, 10)
    book.answered(1999, 10_001_999)
    book.close_episode()
    assert book.episodes == [{"latency_ms": [10.0]}]
