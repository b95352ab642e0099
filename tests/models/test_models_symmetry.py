"""C4: what a quarter turn of the image does to latents, actions and values, measured; an ordinary encoder beside it."""

import numpy as np
import pytest
import torch

from models.encoder import Encoder
from models.encoders.c4 import C4
from models.make import make_agent
from models.symmetry import Turns, turned

SIDE, ACTIONS = 32, 3
TURNS = {"name": "c4", "width": 4, "turns": [0, 1]}


def images(count=6, side=SIDE, channels=9):
    random = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, side, side), generator=random, dtype=torch.uint8)


def error(found, wanted):
    """Largest difference over the spread of what was wanted."""
    return ((found - wanted).abs().max() / wanted.std()).item()


def make(agent="drqv2", encoder=TURNS, **changes):
    settings = {"hidden_dim": 16, "feature_dim": 8} | ({} if agent == "bc" else {"explore_steps": 0})
    return make_agent(agent, settings, encoder=encoder,
                      **{"image_shape": (9, SIDE, SIDE), "action_dim": ACTIONS, **changes})


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("side, options", [(32, {}), (33, {}), (32, {"pool": 3}), (32, {"latent_dim": 24}),
                                           (64, {"pool": 5, "latent_dim": 16})])
def test_a_turned_image_has_the_same_latent_permuted(side, options, quarters):
    torch.manual_seed(0)
    encoder, seen = C4(9, (side, side), width=4, **options), images(side=side)
    with torch.no_grad():
        z, other = encoder(seen), encoder(torch.rot90(seen, quarters, (2, 3)))
    shape = encoder.fields, 4, *encoder.grid
    assert error(other, turned(z.unflatten(1, shape), quarters).flatten(1)) < 1e-4
    assert error(other, z) > 1                                  # it does change


def test_an_ordinary_encoder_does_not_turn():
    torch.manual_seed(0)
    encoder, seen = Encoder(9, (SIDE, SIDE), width=16), images()
    with torch.no_grad():
        z, other = encoder(seen), encoder(torch.rot90(seen, 1, (2, 3)))
    side = 9                                                    # px of the map; 16 planes as 4 fields in 4 turns
    z, other = (latent.unflatten(1, (side, side, 16)).permute(0, 3, 1, 2).unflatten(1, (4, 4)) for latent in (z, other))
    assert error(other, turned(z, 1)) > 1


def test_what_points_right_points_up_after_a_quarter_and_depth_stays():
    turns = Turns(1, (1, 1), ACTIONS, [0, 1])
    action = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]])      # to the image's right, and to its bottom
    assert turns.actions(action)[2:4].tolist() == [[0, -1, 0.5], [1, 0, -0.5]]
    assert torch.equal(turns.back(turns.actions(action)), action)
    spread = torch.tensor([[0.1, 0.4, 0.7]])
    turned_spread = torch.cat([spread[:, order] for order in ([0, 1, 2], [1, 0, 2], [0, 1, 2], [1, 0, 2])])
    assert torch.allclose(turns.back_spread(turned_spread), spread)


@pytest.mark.parametrize("options", [{}, {"latent_dim": 16}])
@pytest.mark.parametrize("agent", ["drqv2", "sac", "bc"])
def test_a_policy_turns_with_its_image_to_rounding_and_an_ordinary_one_does_not(agent, options):
    found = []
    for encoder in ({**TURNS, **options}, {"name": "drqv2", "width": 16}, {"name": "c4", "width": 4, **options}):
        policy = make(agent, encoder).policy()
        with torch.no_grad():
            action, other = policy(images()), policy(torch.rot90(images(), 1, (2, 3)))
        wanted = torch.stack([action[:, 1], -action[:, 0], action[:, 2]], 1)
        found.append(error(other, wanted))
    assert found[0] < 1e-5 and min(found[1:]) > 1


@pytest.mark.parametrize("agent", ["drqv2", "sac"])
def test_a_turned_action_in_a_turned_image_is_worth_the_same(agent):
    action = torch.rand(6, ACTIONS, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = torch.stack([action[:, 1], -action[:, 0], action[:, 2]], 1)
    found = []
    for encoder in (TURNS, {"name": "drqv2", "width": 16}):
        learner = make(agent, encoder)
        with torch.no_grad():
            z, seen = learner.encoder(images()), learner.encoder(torch.rot90(images(), 1, (2, 3)))
            found.append(error(learner.critic(seen, z[:, :0], other)[0], learner.critic(z, z[:, :0], action)[0]))
    assert found[0] < 1e-4 and found[1] > 0.5


@pytest.mark.parametrize("agent", ["drqv2", "sac"])
def test_a_symmetric_policy_as_onnx_acts_the_same_and_turns_too(agent, exported):
    policy = make(agent).policy().eval()
    answer = exported(policy, images(2))
    with torch.no_grad():
        assert np.abs(answer(images()) - policy(images()).numpy()).max() <= 1e-5
    action, other = answer(images()), answer(torch.rot90(images(), 1, (2, 3)))
    assert np.allclose(other, np.stack([action[:, 1], -action[:, 0], action[:, 2]], 1), atol=1e-5)


def test_the_spread_of_sac_turns_too():
    actor, encoder = make("sac").actor, make("sac").encoder
    with torch.no_grad():
        z, other = encoder(images()), encoder(torch.rot90(images(), 1, (2, 3)))
        spread, after = actor.before_squashing(z, z[:, :0])[1], actor.before_squashing(other, z[:, :0])[1]
    assert torch.allclose(after, spread[:, [1, 0, 2]], atol=1e-5) and not torch.allclose(after, spread, atol=1e-5)


@pytest.mark.parametrize("options, changes, words", [
    ({"turns": [0]}, {}, "pairs of different entries"), ({"turns": [0, 3]}, {}, "in 0..2"),
    ({"turns": [1, 1]}, {}, "pairs of different"), ({"turns": []}, {}, "pairs of different"),
    ({}, {"proprio_dim": 8}, "image.proprio to false"), ({"latent_dim": 18}, {}, "multiple of 4"),
    ({"pool": 4}, {}, "c4 can pool by 3, 9"), ({}, {"image_shape": (9, 32, 40)}, "squares"),
    ({}, {"agent": "dvc"}, "take drqv2, sac or bc")])
def test_what_cannot_turn_is_refused(options, changes, words):
    if changes.get("agent") == "dvc":
        with pytest.raises(ValueError, match=words):
            make_agent("dvc", {}, encoder=TURNS, image_shape=(9, SIDE, SIDE), action_dim=ACTIONS)
        return
    with pytest.raises(ValueError, match=words):
        make(encoder={**TURNS, **options}, **changes)


def test_symmetry_survives_learning(make_memory):
    learner = make_agent("drqv2", {"batch_size": 8, "hidden_dim": 16, "feature_dim": 8, "explore_steps": 0, "lr": 1e-2},
                         encoder=TURNS, image_shape=(9, 20, 20), action_dim=2)
    memory = make_memory(proprio_dim=0)
    for _ in range(3):
        assert all(np.isfinite(value) for value in learner.update(memory).values())
    policy, seen = learner.policy(), images(side=20)
    with torch.no_grad():
        action, other = policy(seen), policy(torch.rot90(seen, 1, (2, 3)))
    assert error(other, torch.stack([action[:, 1], -action[:, 0]], 1)) < 1e-4
