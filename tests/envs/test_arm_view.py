"""An arm as its controller knows it, against what the environment itself tells."""

import gymnasium
import numpy as np
import pytest

from envs.geometry import rotation_of

ARM_TASKS = ["surgrl/Reach-v0", "surgrl/ReachNeedle-v0", "surgrl/Retract-v0"]


@pytest.fixture
def make():
    made = []

    def make(task, **options):
        made.append(gymnasium.make(f"envs:{task}", image_size=(16, 16), **options))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.mark.parametrize("task", ARM_TASKS)
def test_the_tip_is_what_proprio_tells_and_joints_lead_there(make, task):
    env = make(task, randomise="full")      # the camera stands elsewhere in each episode
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        for _ in range(3):
            observation = env.step(env.action_space.sample())[0]
        view = env.unwrapped.arm("PSM1")
        assert np.allclose([*np.concatenate(view.tip), view.jaw], observation["proprio"], atol=1e-6)
        assert np.allclose(np.concatenate(view.forward(view.joints)), np.concatenate(view.tip), atol=1e-9)
        assert np.allclose(view.inverse(*view.tip, near=view.joints), view.joints, atol=1e-9)


def test_base_and_what_is_told_in_it_make_the_tip(make):
    env = make("surgrl/Reach-v0")
    env.reset(seed=1)
    view = env.unwrapped.arm()
    origin, turn = view.base
    position, quaternion = view.in_base(*view.tip)
    assert np.allclose(origin + rotation_of(turn) @ position, view.tip[0])
    assert np.allclose(rotation_of(turn) @ rotation_of(quaternion), rotation_of(view.tip[1]))


def test_a_turn_of_the_roll_joint_is_kept(make):
    env = make("surgrl/Reach-v0")
    env.reset(seed=1)
    view = env.unwrapped.arm()
    q = view.joints + [0, 0, 0, 3.0, 0, 0]
    assert q[3] > np.pi and view.inverse(*view.forward(q), near=q)[3] == pytest.approx(q[3])


def test_what_the_limits_do_not_allow_is_told_with_its_joint(make):
    env = make("surgrl/Reach-v0")
    env.reset(seed=1)
    view = env.unwrapped.arm()
    q = view.joints
    q[2] = view.high[2] + 0.01
    with pytest.raises(ValueError, match="insertion 0.250; allowed: 0.000 to 0.240"):
        view.inverse(*view.forward(q), near=view.joints)


def test_jacobians_tell_one_motion_in_two_frames(make):
    env = make("surgrl/Reach-v0")
    env.reset(seed=1)
    view = env.unwrapped.arm()
    body, spatial = view.jacobians()
    rotation = rotation_of(view.in_base(*view.tip)[1])
    position = view.in_base(*view.tip)[0]
    speeds = np.array([0.1, -0.2, 0.01, 0.3, 0.2, -0.1])
    turning, at_origin = (spatial @ speeds)[3:], (spatial @ speeds)[:3]
    assert np.allclose(rotation @ (body @ speeds)[3:], turning)
    assert np.allclose(rotation @ (body @ speeds)[:3], at_origin + np.cross(turning, position))


def test_held_tissue_pulls_back_at_the_jaws_and_nothing_does_in_an_empty_scene(make):
    env = make("surgrl/Retract-v0")
    env.reset(seed=0)
    view, pulls = env.unwrapped.arm(), []
    for _ in range(150):
        env.step(env.unwrapped.expert())
        pulls.append(view.forces())
    in_tip, in_base = max(pulls, key=lambda pull: np.linalg.norm(pull[0]))
    assert not np.any(pulls[0]) and 0.01 < np.linalg.norm(in_tip) < 5.5
    assert np.linalg.norm(in_tip) == pytest.approx(np.linalg.norm(in_base))
    assert (view.psm.base[:3, :3] @ in_base)[2] < 0     # the flap is lifted: it pulls down
    empty = make("surgrl/Reach-v0")
    empty.reset(seed=0)
    assert not np.any(empty.unwrapped.arm().forces())


def test_a_scope_is_no_arm(make):
    env = make("surgrl/ColonNavigate-v0")
    with pytest.raises(ValueError, match="Navigate moves none"):
        env.unwrapped.arm()
