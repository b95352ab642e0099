"""make_agent: names and options are checked with helpful words, and a seed decides every weight."""

import pytest
import torch

from models.encoder import Encoder
from models.make import (
    AGENTS,
    AUGMENTS,
    ENCODERS,
    OBJECTIVES,
    check_options,
    describe,
    describe_encoders,
    make_agent,
)


def make(options=None, **changes):
    name = changes.pop("name", "drqv2")
    arguments = {"image_shape": (3, 20, 20), "action_dim": 2, "encoder": {"width": 4, "latent_dim": 8}}
    return make_agent(name, {"hidden_dim": 8, **(options or {})}, **arguments | changes)


@pytest.mark.parametrize("changes, words", [
    ({"name": "drq"}, "agent 'drq' is unknown; there are: drqv2"),
    ({"objectives": [{"name": "tedd"}]}, "objective 'tedd' is unknown; there are: dear, curl"),
    ({"objectives": [{}]}, "objective None is unknown"),
    ({"options": {"learning_rate": 1}}, "agent drqv2 has no option 'learning_rate'; it has: lr=0.0001"),
    ({"options": {"batch_size": 1.5}}, "batch_size is 1.5; it must be of type int"),
    ({"options": {"lr": "fast"}}, "lr is 'fast'; it must be of type float"),
    ({"options": {"lr": True}}, "lr is True"),
    ({"options": {"lr": None}}, "lr is None"),
    ({"encoder": {"depth": 3}}, "encoder has no option 'depth'; it has: width=32, pool=None, latent_dim"),
    ({"objectives": [{"name": "dear", "masks": 1}]}, "dear has no option 'masks'; it has: mask_weight=30"),
    ({"objectives": [{"name": "dear", "separation": 1}]}, "separation is 1; it must be of type str"),
    ({"objectives": [{"name": "dear", "weight": -1}]}, "weight of objective 'dear' is -1.0"),
    ({"objectives": [{"name": "dear", "weight": "nan"}]}, "weight of objective 'dear' is nan"),
    ({"objectives": [{"name": "curl"}, {"name": "curl"}]}, "'curl' is listed twice")])
def test_mistakes_are_told_with_what_would_be_right(changes, words):
    with pytest.raises(ValueError) as error:
        make(**changes)
    assert words in str(error.value)


def test_numbers_that_yaml_reads_as_text_become_numbers():
    agent = make({"lr": "1e-3", "batch_size": 16.0, "imitation": 1})
    assert agent.optimiser.param_groups[0]["lr"] == 1e-3
    assert agent.batch_size == 16 and type(agent.batch_size) is int and type(agent.imitation) is float


def test_none_and_numbers_both_fit_an_optional_option():
    options = check_options("encoder", Encoder, {"pool": None, "latent_dim": "64"})
    assert options == {"pool": None, "latent_dim": 64}


def test_an_objective_bears_the_name_of_its_file():
    assert all(place.partition(":")[0] == f"objectives.{name}" for name, place in OBJECTIVES.items())


def test_every_name_has_a_line_of_description():
    found = describe()
    assert found.keys() == AGENTS.keys() | OBJECTIVES.keys() | AUGMENTS.keys()
    assert describe_encoders().keys() == ENCODERS.keys()
    assert all(20 < len(line) < 120 for line in (*found.values(), *describe_encoders().values()))


def test_seed_decides_the_weights_and_nothing_else_is_touched():
    state = torch.random.get_rng_state()
    one, two, other = (torch.cat([w.flatten() for part in (agent.encoder, agent.actor, agent.critic)
                                  for w in part.parameters()]) for agent in (make(), make(), make(seed=1)))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_an_objective_does_not_change_the_agents_weights():
    alone, beside = make(), make(objectives=[{"name": "curl"}, {"name": "dear", "weight": 2}])
    for part in ("encoder", "actor", "critic"):
        own, other = (list(getattr(agent, part).parameters()) for agent in (alone, beside))
        assert all(torch.equal(one, two) for one, two in zip(own, other, strict=True))
    assert beside.objectives.weights == [1.0, 2.0] and beside.needs == ("original", "mask")
