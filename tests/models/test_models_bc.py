"""Behaviour cloning: labels alone teach, and its noise is what it says."""

import numpy as np
import pytest
import torch


def test_rewards_and_ends_of_episodes_change_nothing(make_small, make_memory):
    found = []
    for reward in (0.0, 1e9):
        agent, memory = make_small(name="bc"), make_memory()
        memory._fields["reward"][:] = reward
        memory._fields["terminal"][:] = reward > 0
        found.append([agent.update(memory) for _ in range(3)])
    assert found[0] == found[1] and found[0][0].keys() == {"imitation/error", "imitation/loss"}


def test_no_critic_is_built(make_small):
    assert not [key for key in make_small(name="bc").state_dict() if "critic" in key]


def test_it_is_imitation_of_drqv2_without_the_value_bit_for_bit(make_small, make_memory):
    agents = make_small({"name": "dear"}, name="bc"), make_small({"name": "dear"}, imitation=1.0, q_weight=0.0)
    for agent in agents:
        memory = make_memory()
        for _ in range(5):
            agent.update(memory)
    for part in ("encoder", "actor", "standardise", "objectives"):
        one, two = (getattr(agent, part).state_dict() for agent in agents)
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_it_learns_the_labels_of_a_batch_by_heart(make_small, make_memory):
    agent, memory = make_small(name="bc", shift=0, hidden_dim=64, lr=3e-3), make_memory(episodes=2, length=4)
    errors = [agent.update(memory)["imitation/error"] for _ in range(300)]
    assert np.mean(errors[-10:]) < 0.05 * errors[0]


@pytest.mark.parametrize("std", [0.0, 0.2])
def test_noise_on_its_own_steps_has_the_spread_told(make_small, std):
    agent, obs = make_small(name="bc", proprio_dim=0, std=std), np.zeros((9, 20, 20), np.uint8)
    actions = np.stack([agent.act(obs, True) for _ in range(600)])
    assert np.allclose(actions.std(0), std, atol=0.02)
    assert np.allclose(actions.mean(0), agent.act(obs, False), atol=0.05)
