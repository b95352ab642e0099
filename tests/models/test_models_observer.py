"""The observer learns to see: encoder and objectives move, and nothing else."""

import io

import numpy as np
import pytest
import torch

from models.make import OBJECTIVES, make_agent

SIDE = 20
ENCODER = {"width": 4, "pool": 2, "latent_dim": 24}
SHAPING = {"darla": {"denoise_updates": 0}}     # options with which the very first loss is one that reaches the encoder


def make(*objectives, seed=0):
    return make_agent("observer", {"batch_size": 8}, objectives=objectives, image_shape=(9, SIDE, SIDE), action_dim=2,
                      proprio_dim=3, encoder=ENCODER, seed=seed)


def flat(module):
    return torch.cat([weight.detach().flatten().clone() for weight in module.parameters()])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_moves_the_encoder_and_leaves_the_actor(make_memory, name):
    if name == "counts":        # pays a bonus and shapes nothing
        with pytest.raises(ValueError, match="learns from no rewards"):
            make({"name": name})
        return
    agent, memory = make({"name": name, **SHAPING.get(name, {})}), make_memory()
    encoder, actor = flat(agent.encoder), flat(agent.actor)
    assert all(np.isfinite(value) for value in agent.update(memory).values())
    assert not torch.equal(encoder, flat(agent.encoder)) and torch.equal(actor, flat(agent.actor))


def test_an_objective_that_wants_no_more_changes_nothing_more(make_memory):
    agent, memory = make({"name": "darla", "denoise_updates": 0, "vae_updates": 1}), make_memory()
    agent.update(memory)
    before = flat(agent.encoder)
    assert agent.update(memory)["darla/stage"] == 2 and torch.equal(before, flat(agent.encoder))


def test_rewards_and_labels_are_not_read(make_memory):
    found = []
    for value in (0.0, np.nan):
        agent, memory = make({"name": "curl"}), make_memory()
        memory._fields["reward"][:], memory._fields["expert"][:] = value, value
        agent.update(memory)
        found.append(flat(agent.encoder))
    assert torch.equal(*found) and "expert" not in make({"name": "curl"}).needs


def test_it_goes_on_from_a_file_bit_for_bit(make_memory):
    agent, again, memory = make({"name": "curl"}), make({"name": "curl"}, seed=4), make_memory()
    agent.update(memory)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    agent.update(make_memory(seed=1))
    again.update(make_memory(seed=1))
    assert torch.equal(flat(agent.encoder), flat(again.encoder))


def test_its_own_steps_are_at_random_all_over_the_range():
    agent = make({"name": "curl"})
    tried = np.stack([agent.act(np.zeros((9, SIDE, SIDE), np.uint8), True, np.zeros(3)) for _ in range(200)])
    assert tried.shape == (200, 2) and tried.min() < -0.9 and tried.max() > 0.9 and abs(tried).max() <= 1


def test_without_an_objective_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match=r"objectives: \[\{name: curl\}\]"):
        make()
