"""Environments that run for days keep the memory they began with."""

import gymnasium
import numpy as np
import pytest

from tests.ids import OWN as IDS


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("env_id", IDS)
def test_memory_does_not_grow_over_20000_steps_with_resets(env_id):
    made = gymnasium.make(f"envs:{env_id}", image_size=(16, 16))
    rng, inner, seed, over, start = np.random.default_rng(0), made.unwrapped, 0, True, 0.0
    for k in range(22_000):
        if over:
            made.reset(seed=seed)
            seed += 1
        if k == 2000:       # caches are filled
            start = resident()
        wild = rng.uniform(-1, 1, made.action_space.shape)
        *_, terminated, truncated, _ = made.step(inner.expert().clip(-1, 1) if k % 2 else wild)
        over = terminated or truncated
    grown = resident() - start
    print(f"{env_id}: grown by {grown:.2f} MB over {seed} episodes")
    made.close()
    assert grown < 5


def resident() -> float:
    """MB of this process that are in memory."""
    with open("/proc/self/statm") as status:
        return int(status.read().split()[1]) * 4096 / 1e6
