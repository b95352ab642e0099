"""What every registered task promises. A new id is picked up by itself."""

import copy
import gc
import hashlib
import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pybullet
import pytest
from gymnasium.utils.env_checker import check_env

from envs.state import digest
from tests.ids import OWN as IDS


@pytest.fixture(scope="module", params=IDS)
def env(request):
    made = gymnasium.make(request.param, image_size=(48, 64), render_mode="rgb_array")
    yield made
    made.close()


@pytest.fixture(scope="module", params=IDS)
def state_env(request):
    made = gymnasium.make(request.param, observation="state")
    yield made
    made.close()


def rollout(env, seed, steps=8):
    """Observations of seeded random actions."""
    rng = np.random.default_rng(seed)
    seen = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        seen.append(env.step(rng.uniform(-1, 1, env.action_space.shape))[0])
    return seen


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("observation", ["image", "state"])
@pytest.mark.filterwarnings("ignore::UserWarning")      # check_env advises on spaces that are not symmetric
def test_gymnasium_finds_nothing_wrong(name, observation):
    made = gymnasium.make(name, observation=observation, render_mode="rgb_array", render_size=(48, 64))
    check_env(made.unwrapped)
    made.close()


def test_the_same_seed_gives_the_same_episode_and_another_one_does_not(env):
    first, again, other = rollout(env, 3), rollout(env, 3), rollout(env, 4)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a["proprio"], b["proprio"])
        # The renderer normalises its normals in place: one brightness step is all it may differ by.
        assert np.abs(a["image"].astype(int) - b["image"]).max() <= 2
    assert not np.array_equal(first[0]["proprio"], other[0]["proprio"])


@pytest.mark.parametrize("name", IDS)
def test_another_process_lives_the_same_states(name):
    code = ("import gymnasium, hashlib, numpy as np\n"
            f"env = gymnasium.make('envs:{name}', observation='state')\n"
            "h, rng = hashlib.sha256(), np.random.default_rng(0)\n"
            "obs, _ = env.reset(seed=7)\n"
            "for _ in range(20):\n"
            "    h.update(obs['proprio'].tobytes() + obs['state'].tobytes())\n"
            "    obs = env.step(rng.uniform(-1, 1, env.action_space.shape))[0]\n"
            "print('HASH', h.hexdigest())\n")
    hashes = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
              .stdout.split("HASH ")[1] for _ in range(2)}
    assert len(hashes) == 1


@pytest.mark.parametrize("seeds", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_scripted_expert_succeeds_on_98_percent_of_seeds(state_env, seeds):
    successes = 0
    for seed in range(seeds):
        state_env.reset(seed=seed)
        over = False
        while not over:
            *_, terminated, truncated, info = state_env.step(state_env.unwrapped.expert())
            over = terminated or truncated
        successes += info["success"]
    assert successes >= 0.98 * seeds


def test_reward_is_the_sum_of_its_named_terms(env):
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.zeros(env.action_space.shape))
    assert info["reward_terms"] and reward == pytest.approx(sum(info["reward_terms"].values()))


def test_doing_nothing_ends_by_the_time_limit_which_truncates(state_env):
    state_env.reset(seed=0)
    for _ in range(state_env.spec.max_episode_steps):
        *_, terminated, truncated, info = state_env.step(np.zeros(state_env.action_space.shape))
    assert truncated and not terminated and not info["success"]


def test_success_terminates(state_env):
    state_env.reset(seed=0)
    terminated = False
    while not terminated:
        *_, terminated, truncated, info = state_env.step(state_env.unwrapped.expert())
        assert not truncated
    assert info["success"]


@pytest.mark.parametrize("action", [np.nan, np.inf, 1.5, -2.0])
def test_an_action_that_is_not_finite_or_out_of_range_is_refused(state_env, action):
    state_env.reset(seed=0)
    bad = np.zeros(state_env.action_space.shape)
    bad[0] = action
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        state_env.step(bad)


def test_an_action_of_the_wrong_shape_is_refused(state_env):
    state_env.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        state_env.step(np.zeros(state_env.action_space.shape[0] + 1))


@pytest.mark.parametrize("size", [(64, 64), (120, 213), (480, 640)])
def test_rgb_array_renders_at_any_size(size):
    made = gymnasium.make(IDS[0], render_mode="rgb_array", render_size=size, image_size=(32, 32))
    made.reset(seed=0)
    picture = made.render()
    assert picture.shape == (*size, 3) and picture.dtype == np.uint8 and picture.std() > 10
    made.close()


@pytest.mark.parametrize("options", [{"image_size": (8, 8)}, {"image_size": (64,)}, {"image_size": (64.0, 64)},
                                     {"observation": "sound"}, {"render_mode": "human"}, {"tolerance": -1.0}])
def test_an_impossible_option_is_refused_by_name(options):
    with pytest.raises((ValueError, gymnasium.error.Error), match=next(iter(options))):
        gymnasium.make("surgrl/Reach-v0", disable_env_checker=True, **options)


def clients():
    """How many worlds Bullet holds."""
    gc.collect()
    return sum(map(pybullet.isConnected, range(1024)))


@pytest.mark.parametrize("name", IDS)
def test_an_environment_that_is_refused_or_dropped_leaves_no_client(name):
    before = clients()
    with pytest.raises(ValueError, match="image_size"):
        gymnasium.make(name, image_size=(8, 8))
    gymnasium.make(name, observation="state").reset(seed=0)
    assert clients() == before
    made = gymnasium.make(name, observation="state")
    made.close()
    made.close()
    assert clients() == before


@pytest.mark.parametrize("twin", [copy.deepcopy, pickle.dumps])
def test_an_environment_is_not_copied_but_its_state_is_carried_over(state_env, twin):
    with pytest.raises(TypeError, match=r"neither copied nor pickled: .* other.set_state\(env.get_state\(\)\)"):
        twin(state_env)


def test_a_reset_option_is_refused_by_name(state_env):
    with pytest.raises(ValueError, match="reset option 'colour' is unknown; allowed: none"):
        state_env.reset(seed=0, options={"colour": "red"})
    state_env.reset(seed=0, options={})


def test_state_observation_draws_no_picture(state_env):
    obs, info = state_env.reset(seed=0)
    assert "image" not in obs and "mask" not in info


def test_the_picture_of_a_state_is_the_same_through_image_and_render(env):
    obs, _ = env.reset(seed=0)
    again = env.unwrapped.scene.picture(48, 64).image
    assert hashlib.sha256(obs["image"].tobytes()).hexdigest() and np.abs(obs["image"].astype(int) - again).max() <= 2


def branch(env, actions):
    """Where some actions lead: the digest after each."""
    digests = []
    for action in actions:
        env.step(action)
        digests.append(digest(env.get_state()))
    return digests


def test_a_state_is_a_value_from_which_futures_branch_exactly(state_env):
    inner = state_env.unwrapped
    state_env.reset(seed=11)
    for _ in range(25):
        inner.step(inner.expert())
    state = inner.get_state()
    kept = {name: np.copy(value) for name, value in state.items()}
    rng = np.random.default_rng(0)
    one, two = rng.uniform(-1, 1, (2, 12, *inner.action_space.shape))
    first, observed = branch(inner, one), inner.step(one[0])[0]
    inner.set_state(state)
    other = branch(inner, two)
    state_env.reset(seed=99)
    inner.set_state(state)
    assert branch(inner, one) == first and len(set(first + other)) == len(first + other)
    again = inner.step(one[0])[0]
    assert all(np.array_equal(observed[name], again[name]) for name in observed)
    assert all(np.array_equal(kept[name], state[name]) for name in state)       # and nobody wrote to it


def test_a_state_fits_another_environment_and_draws_the_same_numbers(state_env):
    state_env.reset(seed=12)
    state = state_env.unwrapped.get_state()
    other = gymnasium.make(state_env.spec.id, observation="state")
    other.reset(seed=13)
    other.unwrapped.set_state(state)
    assert digest(other.unwrapped.get_state()) == digest(state)
    state_env.reset()
    other.reset()
    assert digest(other.unwrapped.get_state()) == digest(state_env.unwrapped.get_state())
    other.close()


def test_a_state_can_be_kept_in_a_file(state_env, tmp_path):
    state_env.reset(seed=14)
    state = state_env.unwrapped.get_state()
    np.savez(tmp_path / "state.npz", **{name.replace("/", "."): value for name, value in state.items()})
    with np.load(tmp_path / "state.npz") as file:
        read = {name.replace(".", "/"): file[name] for name in file.files}
    state_env.reset(seed=15)
    state_env.unwrapped.set_state(read)
    assert digest(state_env.unwrapped.get_state()) == digest(state)


@pytest.mark.parametrize("name", IDS)
def test_another_process_has_the_same_state_hashes(name):
    code = ("import gymnasium, numpy as np\n"
            "from envs.state import digest\n"
            f"env = gymnasium.make('envs:{name}', observation='state').unwrapped\n"
            "env.reset(seed=7)\n"
            "for k in range(45):\n"
            "    env.step(env.expert())\n"
            "    print('HASH', digest(env.get_state()))\n")
    hashes = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
              .stdout.split("HASH ")[1:] for _ in range(2)]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 45
