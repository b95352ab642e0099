"""Every encoder in models.make.ENCODERS keeps the same promises, and works under every agent that can use it."""

import io

import numpy as np
import pytest
import torch

from models.encoders.impala import Impala
from models.make import ENCODERS, make_agent
from models.memory import EpisodeMemory
from models.rollout import Rollout
from models.sight import Sight

SIDE, ACTIONS = 40, 3
# What a small one of each looks like; a new encoder needs an entry only where its own defaults are too large.
SMALL = {"drqv2": {"width": 4}, "simple": {"width": 2}, "impala": {"width": 4}, "c4": {"width": 2},
         "frozen": {"network": "drqv2", "weights": "random"}}
FLAT = {"simple"}                                   # encoders without a projection
SETTINGS = {"drqv2": {"explore_steps": 0}, "sac": {"explore_steps": 0, "views": 1}, "bc": {}}
OBS = np.random.default_rng(0).integers(0, 256, (9, SIDE, SIDE), dtype=np.uint8)
every = pytest.mark.parametrize("name", ENCODERS)


def options(name, **more):
    return {"name": name, **SMALL.get(name, {}), **more}


def projected(name, numbers=24):
    return options(name) if name in FLAT else options(name, latent_dim=numbers)


def make(encoder, agent="bc", *, seed=0, side=SIDE, objectives=(), **changes):
    known = {"batch_size": 6, "hidden_dim": 16, "feature_dim": 8} if agent in SETTINGS else {"hidden_dim": 16}
    return make_agent(agent, {**known, **SETTINGS.get(agent, {}), **changes}, objectives=objectives, encoder=encoder,
                      image_shape=(9, side, side), action_dim=ACTIONS, seed=seed)


def seeing(encoder, **changes):
    return make(encoder, **changes).encoder


def some(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 9, SIDE, SIDE), generator=random, dtype=torch.uint8)


def remembered(agent, episodes=3, length=5):
    rng, embed = np.random.default_rng(0), getattr(agent, "embed", None)
    memory = EpisodeMemory(100, frame_shape=(SIDE, SIDE, 3), action_dim=ACTIONS, extras=("mask", "expert"), embed=embed)

    def moment():
        return {"frame": rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), "expert": rng.uniform(-1, 1, ACTIONS),
                "mask": rng.random((SIDE, SIDE)) < 0.2}

    for _ in range(episodes):
        memory.begin(**moment())
        for step in range(length):
            memory.add(rng.uniform(-1, 1, ACTIONS), float(rng.normal()), step == length - 1, **moment())
    return memory


def lived(agent, steps=4, count=2):
    """A rollout of random pictures, as PPO learns from."""
    obs, state = some(steps * count).unflatten(0, (steps, count)), agent.first_state(count)
    choices = [agent.choose(images, torch.zeros(count, 0), state) for images in obs]
    drawn, log_prob, values = (torch.stack([getattr(choice, name) for choice in choices])
                               for name in ("drawn", "log_prob", "values"))
    never = torch.zeros(steps, count, dtype=torch.bool)
    return Rollout(obs, torch.zeros(steps, count, 0), state.expand(steps, *state.shape), drawn, log_prob,
                   torch.arange(steps * count).view(steps, count).float(), torch.zeros(steps, count), values, values,
                   never, never, torch.full((steps, count, ACTIONS), 0.3))


def frozen_weights(encoder):
    """All that must stay: buffers, and weights that ask for no gradient."""
    learnt = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    return {name: value.clone() for name, value in encoder.state_dict().items() if name not in learnt}


# The contract

@every
@pytest.mark.parametrize("shape", [options, projected])
def test_images_become_latents_of_the_size_that_is_told(name, shape):
    encoder = seeing(shape(name))
    with torch.no_grad():
        z, one = encoder(some(5)), encoder(some(5)[:1])
    assert isinstance(encoder, Sight) and encoder.size == (SIDE, SIDE) and encoder.channels == 9
    assert z.shape == (5, encoder.latent_dim) and z.dtype == torch.float32 and z.isfinite().all()
    assert torch.allclose(one, z[:1], atol=1e-5) and z.std(0).max() > 1e-3
    assert encoder.projected == ("latent_dim" in shape(name))


@every
def test_a_seed_decides_every_weight(name):
    with torch.no_grad():
        one, again, other = (seeing(projected(name), seed=seed)(some(3)) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


@every
def test_the_gradient_reaches_every_weight_that_learns_and_no_other(name):
    encoder = seeing(projected(name))
    encoder(some(6)).square().sum().backward()
    for weight in encoder.parameters():
        assert (weight.grad is not None and weight.grad.abs().sum() > 0) == weight.requires_grad
    assert any(weight.requires_grad for weight in encoder.parameters())


@every
def test_an_encoder_as_onnx_sees_the_same_in_batches_of_any_size(name, exported):
    encoder = seeing(projected(name)).eval()
    answer = exported(encoder, some(2))
    for count in (1, 2, 5):
        with torch.no_grad():
            wanted = encoder(some(count)).numpy()
        assert np.abs(answer(some(count)) - wanted).max() <= 1e-5


@every
def test_saved_weights_see_the_same_after_loading(name):
    encoder, again = seeing(projected(name)), seeing(projected(name), seed=5)
    file = io.BytesIO()
    torch.save(encoder.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(encoder(some(2)), again(some(2)))


@every
def test_images_that_are_too_small_are_refused(name):
    with pytest.raises(ValueError, match=r"8.*px"):
        make(options(name), side=8, shift=0)


# Under the agents

@every
@pytest.mark.parametrize("agent", SETTINGS)
def test_every_agent_that_remembers_learns_with_it(name, agent):
    learner = make(projected(name), agent)
    still, memory = frozen_weights(learner.encoder), remembered(learner)
    before = {key: value.clone() for key, value in learner.encoder.state_dict().items()}
    for _ in range(2):
        assert all(np.isfinite(value) for value in learner.update(memory).values())
    assert np.abs(learner.act(OBS, True)).max() <= 1
    after = learner.encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in still.items())
    assert not any(torch.equal(after[key], before[key]) for key in before.keys() - still.keys())


@every
def test_dvc_learns_with_it(name):
    learner = make(projected(name), "dvc", horizon=4, batch_size=4, epochs=1)
    encoder = learner.net.encoder
    still, before = frozen_weights(encoder), {key: value.clone() for key, value in encoder.state_dict().items()}
    assert all(np.isfinite(value) for value in learner.learn(lived(learner)).values())
    after = encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in still.items())
    assert not any(torch.equal(after[key], before[key]) for key in before.keys() - still.keys())


@every
def test_dear_and_curl_shape_it_where_it_has_a_projection(name):
    objectives = [{"name": "dear"}, {"name": "curl"}]
    if name in FLAT:
        with pytest.raises(ValueError, match="dear halves the latent"):
            make(options(name), objectives=objectives)
        return
    learner = make(projected(name), objectives=objectives)
    before = learner.encoder.projection.weight.clone() if hasattr(learner.encoder, "projection") else None
    metrics = learner.update(remembered(learner))
    assert np.isfinite(metrics["dear/total"]) and np.isfinite(metrics["curl/total"])
    assert before is None or not torch.equal(before, learner.encoder.projection.weight)


def test_an_unknown_encoder_is_told_with_those_that_are():
    with pytest.raises(ValueError, match="encoder 'vgg' is unknown; there are: drqv2, simple, impala"):
        make({"name": "vgg"})


def test_impala_has_the_sizes_of_procgens_baselines_and_keeps_the_scale():
    torch.manual_seed(0)
    encoder = Impala(3, (64, 64), latent_dim=256)
    stages = [(inputs * 9 + 1) * width + 4 * (width * 9 + 1) * width for inputs, width in ((3, 16), (16, 32), (32, 32))]
    assert sum(weight.numel() for weight in encoder.stages.parameters()) == sum(stages)
    assert encoder.projection.weight.shape == (256, 8 * 8 * 32)
    with torch.no_grad():
        seen = encoder.stages(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5)
    assert 0.2 < seen.std() < 5
