"""Reach in SI units: what an action moves, what servo does, where the tip may go."""

import gymnasium
import numpy as np
import pytest

from envs.scenes.bed import CLEARANCE
from envs.tasks.reach import SPEED


@pytest.fixture(scope="module")
def env():
    made = gymnasium.make("envs:surgrl/Reach-v0", observation="state")
    yield made
    made.close()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_an_action_of_one_moves_the_tip_at_full_speed_along_one_camera_axis(env, axis, sign):
    obs, _ = env.reset(seed=1)
    inner = env.unwrapped
    low, high = inner.workspace
    inner.servo((low + high) / 2)       # away from the walls first
    obs, *_ = inner.servo((low + high) / 2)
    action = np.zeros(3)
    action[axis] = sign
    after, *_ = env.step(action)
    moved = after["proprio"][:3] - obs["proprio"][:3]
    assert moved[axis] == pytest.approx(sign * SPEED * inner.dt, abs=1e-6)
    assert np.abs(np.delete(moved, axis)).max() < 1e-6
    assert np.allclose(after["proprio"][3:], obs["proprio"][3:], atol=1e-6)      # orientation and jaw stay


def test_success_is_within_5_mm_and_tells_the_distance(env):
    env.reset(seed=2)
    terminated = False
    while not terminated:
        *_, terminated, _, info = env.step(env.unwrapped.expert())
        assert info["success"] == (info["distance"] < 0.005)


def test_servo_goes_to_an_absolute_pose_no_faster_than_the_action_allows(env):
    inner = env.unwrapped
    obs, _ = env.reset(seed=3)
    goal = obs["proprio"][:3] + np.array([0.006, -0.004, -0.005])
    for _ in range(10):
        before = obs["proprio"][:3]
        obs, *_ = inner.servo(goal, jaw=0.2)
        assert np.abs(obs["proprio"][:3] - before).max() <= SPEED * inner.dt + 1e-6
    assert obs["proprio"][:3] == pytest.approx(goal, abs=1e-5)
    assert obs["proprio"][7] == pytest.approx(0.2, abs=1e-5)


def test_servo_turns_to_an_orientation(env):
    inner = env.unwrapped
    obs, _ = env.reset(seed=4)
    half = 0.1
    x, y, z, w = obs["proprio"][3:7]
    s, c = np.sin(half), np.cos(half)
    turned = np.array([c * x + s * w, c * y - s * z, c * z + s * y, c * w - s * x])   # about the camera's x axis
    for _ in range(15):
        obs, *_ = inner.servo(obs["proprio"][:3], turned)
    assert abs(np.dot(obs["proprio"][3:7], turned)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("position", [(np.nan, 0, 0.1), (0.0, np.inf, 0.1), (0.0, 0.0)])
def test_servo_refuses_what_is_not_a_position(env, position):
    env.reset(seed=5)
    with pytest.raises(ValueError, match="servo"):
        env.unwrapped.servo(np.array(position))


def test_the_tip_stays_above_the_tissue_and_inside_the_workspace(env):
    inner = env.unwrapped
    for seed, action in enumerate(np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T):
        env.reset(seed=seed)
        for _ in range(60):
            env.step(action.astype(float))
            tip = inner.scene.pose("PSM1")[:3, 3]
            assert tip[2] >= inner.scene.surface(tip[0], tip[1]) + CLEARANCE - 1e-4
            assert (tip >= inner.scene.workspace[0] - 1e-9).all() and (tip <= inner.scene.workspace[1] + 1e-9).all()


def test_a_tolerance_makes_the_task_finer():
    fine = gymnasium.make("envs:surgrl/Reach-v0", observation="state", tolerance=0.002)
    fine.reset(seed=0)
    terminated = truncated = False
    while not (terminated or truncated):
        *_, terminated, truncated, info = fine.step(fine.unwrapped.expert())
    assert info["success"] and info["distance"] < 0.002
    fine.close()
