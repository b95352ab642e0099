"""Every registered task under gymnasium.make_vec, in one process and in several."""

import gymnasium
import numpy as np
import pytest

from tests.ids import OWN as IDS


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("name", IDS)
def test_two_workers_live_episodes_of_their_own_and_close(name, mode):
    vector = gymnasium.make_vec(f"envs:{name}", num_envs=2, vectorization_mode=mode, image_size=(48, 48))
    obs, _ = vector.reset(seed=[3, 4])
    assert obs["image"].shape == (2, 48, 48, 3) and obs["image"].dtype == np.uint8
    assert not np.array_equal(obs["proprio"][0], obs["proprio"][1])
    rng = np.random.default_rng(0)
    for _ in range(4):
        obs, reward, *_ = vector.step(rng.uniform(-1, 1, vector.action_space.shape).astype(np.float32))
        assert vector.observation_space.contains(obs) and reward.shape == (2,) and np.isfinite(reward).all()
    vector.close()
    if mode == "async":
        assert not any(process.is_alive() for process in vector.processes)


@pytest.mark.parametrize("name", IDS)
def test_a_worker_lives_what_the_environment_alone_lives(name):
    vector = gymnasium.make_vec(f"envs:{name}", num_envs=2, vectorization_mode="async", observation="state")
    alone = gymnasium.make(name, observation="state")
    seen, own = vector.reset(seed=[3, 4])[0], alone.reset(seed=4)[0]
    action = np.full(vector.action_space.shape, 0.3, np.float32)
    for _ in range(3):
        assert np.array_equal(seen["state"][1], own["state"]) and np.array_equal(seen["proprio"][1], own["proprio"])
        seen, own = vector.step(action)[0], alone.step(action[1])[0]
    vector.close()
    alone.close()
