"""Every agent that learns from a memory: where gradients go, and that a run repeats and resumes bit for bit."""

import copy
import io

import numpy as np
import pytest
import torch

from models.make import OBJECTIVES
from models.memory import EpisodeMemory
from models.slow import frozen

AGENTS = ("drqv2", "sac", "bc")
every = pytest.mark.parametrize("name", AGENTS)
valued = pytest.mark.parametrize("name", ("drqv2", "sac"))          # those with a critic
NETWORKS = ("encoder", "actor", "critic", "slow_critic", "standardise", "temperature")
OBS = np.random.default_rng(0).integers(0, 256, (9, 20, 20), dtype=np.uint8)


def weights(agent):
    return {name: value.clone() for part in NETWORKS if hasattr(agent, part)
            for name, value in getattr(agent, part).state_dict(prefix=f"{part}.").items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def touched(agent):
    """Parts that hold a gradient other than zero."""
    return {part for part in NETWORKS if hasattr(agent, part)
            if any(weight.grad is not None and weight.grad.abs().sum() > 0
                   for weight in getattr(agent, part).parameters())}


def prepared(agent, memory):
    batch, images = agent._augment(memory.sample(8, ("mask", "expert")))
    z = agent.encoder(images)
    return batch, z, z[:8]


@valued
def test_critic_loss_reaches_encoder_and_critic_only(make_small, make_memory, name):
    agent = make_small(name=name)
    agent._critic_loss(*prepared(agent, make_memory()))[0].backward()
    assert touched(agent) == {"encoder", "critic"}


@valued
def test_value_term_of_the_actor_reaches_the_actor_only(make_small, make_memory, name):
    agent = make_small(name=name)
    batch, _, seen = prepared(agent, make_memory())
    with frozen(agent.critic):
        agent._actor_losses(batch, seen.detach())[0]["actor/loss"].backward()
    assert touched(agent) == {"actor"} and all(weight.requires_grad for weight in agent.critic.parameters())


@valued
def test_actor_losses_leave_encoder_and_critic_bit_equal(make_small, make_memory, name):
    agent = make_small(name=name, std_start=0.1) if name == "drqv2" else make_small(name=name)
    before = weights(agent)
    batch, _, seen = prepared(agent, make_memory())
    with frozen(agent.critic):
        sum(agent._actor_losses(batch, seen.detach())[0].values()).backward()
    agent.optimiser.step()
    agent.actor_optimiser.step()
    moved = {key.split(".")[0] for key, value in weights(agent).items() if not torch.equal(value, before[key])}
    assert moved - {"standardise"} == {"actor"} | ({"temperature"} if name == "sac" else set())


@every
def test_imitation_reaches_actor_and_encoder(make_small, make_memory, name):
    agent = make_small(name=name)
    batch, _, seen = prepared(agent, make_memory())
    agent._imitation_error(batch, seen).backward()
    assert touched(agent) == {"actor", "encoder"}


@every
def test_imitation_ignores_steps_without_a_label(make_small, make_memory, name):
    agent = make_small(name=name)
    batch, _, seen = prepared(agent, make_memory())
    whole = agent._imitation_error(*_first_rows(batch, seen, 5))
    batch.extra["expert"][5:] = float("nan")
    part = agent._imitation_error(batch, seen)
    assert part.item() == pytest.approx(whole.item(), rel=1e-5)
    batch.extra["expert"][:] = float("nan")
    assert agent._imitation_error(batch, seen).item() == 0


def _first_rows(batch, seen, rows):
    extra = {name: value[:rows] for name, value in batch.extra.items()}
    return type(batch)(*(value[:rows] for value in batch[:-1]), extra), seen[:rows]


@valued
@pytest.mark.parametrize("terminated", [True, False])
def test_time_limit_bootstraps_and_a_terminal_does_not(make_small, name, terminated):
    memory = EpisodeMemory(10, frame_shape=(20, 20, 3), action_dim=2, nstep=1, gamma=0.9)
    moment = {"frame": np.zeros((20, 20, 3), np.uint8), "mask": np.zeros((20, 20))}
    memory.begin(**moment)
    memory.add(np.zeros(2), 2.0, terminated, **moment)
    memory.end()
    agent, targets = make_small(name=name, proprio_dim=0, shift=0), []
    for value in (0.0, 10.0):
        for head in agent.slow_critic.values:
            head[-1].weight.data.zero_()
            head[-1].bias.data.fill_(value)
        agent.random.manual_seed(0)                                 # the same action in both
        batch, images = agent._augment(memory.sample(8))
        z = agent.encoder(images)
        targets.append(agent._critic_loss(batch, z, z)[1]["critic/target"].item())
    if terminated:
        assert targets == [2.0, 2.0]
    else:
        assert targets[1] - targets[0] == pytest.approx(0.9 * 10, rel=1e-5)


@pytest.mark.parametrize("name, options", [
    *((name, {}) for name in AGENTS), *((name, {"bf16": True}) for name in AGENTS),
    ("drqv2", {"views": 2}), ("drqv2", {"imitation": 0.5, "demo_share": 0.5}),
    ("drqv2", {"imitation": 1.0, "q_weight": 0.0}),
    ("sac", {"views": 2}), ("sac", {"imitation": 0.5, "demo_share": 0.5, "q_weight": 0.3}),
    ("bc", {"demo_share": 0.5}), ("bc", {"augment": ["cutout_colour", "window", "translate"]}),
    ("drqv2", {"augment": ["crop", "jitter", "grayscale"], "strong_augment": ["conv"]}),
    ("sac", {"augment": ["shift", "cutout"], "strong_augment": ["overlay"]})])
def test_same_seed_same_updates_bit_for_bit(make_small, make_memory, name, options):
    agents = [make_small(name=name, **options) for _ in range(2)]
    for agent in agents:
        memory = make_memory()
        found = [agent.update(memory) for _ in range(3)]
        assert all(np.isfinite(value) for metrics in found for value in metrics.values())
    assert same(*(weights(agent) for agent in agents))
    assert not same(weights(agents[0]), weights(make_small(seed=1, name=name, **options)))


@every
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objective_of_weight_zero_is_the_baseline_bit_for_bit(make_small, make_memory, name, objective):
    if name == "bc" and not make_small({"name": objective}).objectives[objective].shapes_encoder:
        with pytest.raises(ValueError, match=f"'{objective}' only pays a bonus"):
            make_small({"name": objective}, name=name)
        return
    found = []
    for objectives in ((), ({"name": objective, "weight": 0},), ({"name": objective},)):
        agent, memory = make_small(*objectives, name=name), make_memory()
        for _ in range(3):
            agent.update(memory)
        found.append(weights(agent))
    baseline, zero, one = found
    assert same(baseline, zero) and not same(baseline, one)


@every
def test_save_and_load_go_on_bit_for_bit(make_small, make_memory, name):
    objectives = ({"name": "dear", "weight": 0.5}, {"name": "curl", "weight": 0.5})
    options = {"name": name} if name == "bc" else {"name": name, "imitation": 1.0}
    agent, again = make_small(*objectives, **options), make_small(*objectives, seed=5, **options)
    memory = make_memory()
    observe = OBS, True, np.zeros(3)
    for _ in range(3):
        agent.act(*observe)
        agent.update(memory)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    twin = copy.deepcopy(memory)
    for _ in range(3):
        assert (agent.act(*observe) == again.act(*observe)).all()
        assert agent.update(memory) == again.update(twin)
    assert same(weights(agent), weights(again))


@every
def test_learning_with_a_gradient_moves_every_part(make_small, make_memory, name):
    agent = make_small(name=name, std_start=0.1) if name == "drqv2" else make_small(name=name)
    before, memory = weights(agent), make_memory()
    for _ in range(2):
        agent.update(memory)
    still = [key for key, value in weights(agent).items() if torch.equal(value, before[key])]
    assert not still


@pytest.mark.parametrize("name, field, loss", [
    ("drqv2", "reward", "critic/loss"), ("drqv2", "expert", "imitation/loss"), ("sac", "reward", "critic/loss"),
    ("sac", "expert", "imitation/loss"), ("bc", "expert", "imitation/loss")])
def test_infinite_loss_is_named_before_anything_moves(make_small, make_memory, name, field, loss):
    options = {"name": name} if name == "bc" else {"name": name, "imitation": 1.0}
    agent, memory = make_small(proprio_dim=0, **options), make_memory(proprio_dim=0)
    memory._fields[field][:] = 1e30
    before = weights(agent)
    with pytest.raises(FloatingPointError, match=loss):
        agent.update(memory)
    assert same(before, weights(agent))


@valued
def test_actor_loss_that_is_no_number_is_named(make_small, make_memory, monkeypatch, name):
    agent = make_small(name=name)
    monkeypatch.setattr(agent, "_value_scale", lambda q: float("nan"))
    before = weights(agent)
    with pytest.raises(FloatingPointError, match="actor/loss is nan"):
        agent.update(make_memory())
    assert all(torch.equal(value, before[key]) for key, value in weights(agent).items() if key.startswith("actor"))


@every
def test_acting_without_exploring_is_the_policy_and_counts_nothing(make_small, name):
    agent = make_small(name=name)
    proprio = np.ones(3, np.float32)
    with torch.no_grad():
        mean = agent.policy()(torch.from_numpy(OBS)[None], torch.from_numpy(proprio)[None])[0]
    assert np.allclose(agent.act(OBS, False, proprio), mean.numpy(), atol=1e-6) and agent.steps == 0


@every
def test_exploring_stays_in_range_and_is_never_twice_the_same(make_small, name):
    agent = make_small(name=name, proprio_dim=0)
    actions = np.stack([agent.act(OBS, True) for _ in range(50)])
    assert actions.dtype == np.float32 and actions.shape == (50, 2) and abs(actions).max() <= 1
    assert len(np.unique(actions[:, 0])) > 30 and agent.steps == 50


@every
def test_bf16_bends_the_latent_little_and_the_policy_not_at_all(make_small, make_memory, name):
    exact, rough = make_small(name=name), make_small(name=name, bf16=True)
    images = make_memory().sample(8).obs
    z, near = exact._look(images), rough._look(images)
    assert near.dtype == torch.float32 and 0 < (z - near).norm() < 0.02 * z.norm()
    one, two = (agent.act(images[0].numpy(), False, np.ones(3)) for agent in (exact, rough))
    assert (one == two).all()


@valued
def test_value_is_brought_to_scale_beside_imitation(make_small, make_memory, name):
    agent = make_small(name=name, imitation=1.0)
    for value in agent.critic.values:
        value[-1].bias.data.fill_(1000.0)                               # as if rewards were huge
    batch, _, seen = prepared(agent, make_memory())
    assert agent._actor_losses(batch, seen)[0]["actor/loss"].item() == pytest.approx(-1, abs=2e-3)


@pytest.mark.parametrize("name, options", [
    ("drqv2", {"imitation": 0.0, "q_weight": 0.0}), ("drqv2", {"views": 0}), ("drqv2", {"shift": 20}),
    ("drqv2", {"q_weight": -1.0}), ("drqv2", {"imitation": float("nan")}), ("drqv2", {"std_steps": 0}),
    ("sac", {"q_weight": 0.0}), ("sac", {"alpha": 0.0}), ("sac", {"views": 0}), ("sac", {"imitation": -1.0}),
    ("drqv2", {"demo_share": 1.5}), ("bc", {"demo_share": -1.0}), ("sac", {"demo_share": float("nan")}),
    ("drqv2", {"tau": 0.0}), ("sac", {"tau": -1.0}), ("drqv2", {"std_clip": -1.0}), ("drqv2", {"lr": 0.0}),
    ("sac", {"explore_steps": -1}), ("bc", {"std": -0.1}), ("bc", {"batch_size": 0})])
def test_senseless_options_are_refused(make_small, name, options):
    with pytest.raises(ValueError, match=name):
        make_small(name=name, **options)
