"""DrQ-v2: where gradients go, what the target is, and that a run repeats and resumes bit for bit."""

import copy
import io

import numpy as np
import pytest
import torch

from models.slow import follow, frozen, slow_copy


def weights(agent):
    return {name: value.clone() for part in ("encoder", "actor", "critic", "slow_critic", "standardise")
            for name, value in getattr(agent, part).state_dict(prefix=f"{part}.").items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def touched(agent):
    """Parts that hold a gradient other than zero."""
    return {name for name in ("encoder", "actor", "critic", "slow_critic")
            if any(weight.grad is not None and weight.grad.abs().sum() > 0
                   for weight in getattr(agent, name).parameters())}


def prepared(agent, memory):
    batch, images = agent._augment(memory.sample(8, ("mask", "expert")))
    z = agent.encoder(images)
    return batch, z, z[:8]


def test_critic_loss_reaches_encoder_and_critic_only(make_small, make_memory):
    agent = make_small()
    agent._critic_loss(*prepared(agent, make_memory()))[0].backward()
    assert touched(agent) == {"encoder", "critic"}


def test_value_term_of_the_actor_reaches_the_actor_only(make_small, make_memory):
    agent = make_small()
    batch, _, seen = prepared(agent, make_memory())
    with frozen(agent.critic):
        agent._actor_losses(batch, seen.detach())[0]["actor/loss"].backward()
    assert touched(agent) == {"actor"} and all(weight.requires_grad for weight in agent.critic.parameters())


def test_imitation_reaches_actor_and_encoder(make_small, make_memory):
    agent = make_small(imitation=1.0)
    batch, _, seen = prepared(agent, make_memory())
    agent._imitation_error(batch, seen).backward()
    assert touched(agent) == {"actor", "encoder"}


def test_imitation_ignores_steps_without_a_label(make_small, make_memory):
    agent = make_small(imitation=1.0)
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


def test_target_is_reward_plus_discounted_smaller_slow_value(make_small, make_memory):
    agent = make_small(shift=0, std_start=0.0, std_end=0.0)
    batch, z, seen = prepared(agent, make_memory())
    _, metrics = agent._critic_loss(batch, z, seen)
    with torch.no_grad():
        next_z = agent.encoder(batch.next_obs)
        values = agent.slow_critic(next_z, batch.next_proprio, agent.actor(next_z, batch.next_proprio))
        target = batch.reward + batch.discount * torch.stack(values).amin(0)
    assert metrics["critic/target"].item() == pytest.approx(target.mean().item(), rel=1e-5)


def test_two_views_without_a_shift_equal_one(make_small, make_memory):
    losses = []
    for views in (1, 2):
        agent = make_small(shift=0, views=views, std_start=0.0, std_end=0.0)
        losses.append(agent._critic_loss(*prepared(agent, make_memory()))[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"views": 2}, {"bf16": True}, {"imitation": 0.5, "demo_share": 0.5},
                                     {"imitation": 1.0, "q_weight": 0.0}])
def test_same_seed_same_updates_bit_for_bit(make_small, make_memory, options):
    agents = [make_small(**options) for _ in range(2)]
    for agent in agents:
        memory = make_memory()
        found = [agent.update(memory) for _ in range(3)]
        assert all(np.isfinite(value) for metrics in found for value in metrics.values())
    assert same(*(weights(agent) for agent in agents))
    assert not same(weights(agents[0]), weights(make_small(seed=1, **options)))


def test_save_and_load_go_on_bit_for_bit(make_small, make_memory):
    objectives = ({"name": "dear", "weight": 0.5}, {"name": "curl", "weight": 0.5})
    agent, again = make_small(*objectives, imitation=1.0), make_small(*objectives, imitation=1.0, seed=5)
    memory = make_memory()
    observe = np.zeros((9, 20, 20), np.uint8), True, np.zeros(3)
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


def test_learning_with_a_gradient_moves_every_part(make_small, make_memory):
    agent = make_small(std_start=0.1)
    before, memory = weights(agent), make_memory()
    for _ in range(2):
        agent.update(memory)
    still = [name for name, value in weights(agent).items() if torch.equal(value, before[name])]
    assert not still


@pytest.mark.parametrize("field, name", [("reward", "critic/loss"), ("expert", "imitation/loss")])
def test_infinite_loss_is_named_before_anything_moves(make_small, make_memory, field, name):
    agent, memory = make_small(imitation=1.0, proprio_dim=0), make_memory(proprio_dim=0)
    memory._fields[field][:] = 1e30
    before = weights(agent)
    with pytest.raises(FloatingPointError, match=name):
        agent.update(memory)
    assert same(before, weights(agent))


def test_noise_falls_along_the_schedule_and_exploration_begins_at_random(make_small):
    agent = make_small(explore_steps=300, std_start=1.0, std_end=0.1, std_steps=400, proprio_dim=0)
    obs = np.zeros((9, 20, 20), np.uint8)
    early = np.stack([agent.act(obs, True) for _ in range(300)])
    assert abs(early.std() - 3 ** -0.5) < 0.03                          # uniform in [-1, 1]
    assert agent.std == pytest.approx(1 - 0.9 * 0.75)
    late = np.stack([agent.act(obs, True) for _ in range(600)])[100:]
    assert agent.std == pytest.approx(0.1) and abs(late.std(0).mean() - 0.1) < 0.02
    assert abs(late).max() < 1 and late.dtype == np.float32 and late.shape == (500, 2)


def test_acting_without_exploring_is_the_policy_and_counts_nothing(make_small):
    agent = make_small()
    obs = np.random.default_rng(0).integers(0, 256, (9, 20, 20), dtype=np.uint8)
    proprio = np.ones(3, np.float32)
    with torch.no_grad():
        mean = agent.policy()(torch.from_numpy(obs)[None], torch.from_numpy(proprio)[None])[0]
    assert np.allclose(agent.act(obs, False, proprio), mean.numpy(), atol=1e-6) and agent.steps == 0


def test_noise_gradient_passes_where_the_action_is_clipped(make_small):
    agent = make_small(std_start=3.0, std_end=3.0)
    mean = torch.full((50, 2), 0.99, requires_grad=True)
    action = agent._noisy(mean, clip=0.3)
    action.sum().backward()
    assert action.abs().max() < 1 and (mean.grad == 1).all() and (action - mean).abs().max() < 0.3001


def test_bf16_bends_the_latent_little_and_the_policy_not_at_all(make_small, make_memory):
    exact, rough = make_small(), make_small(bf16=True)
    images = make_memory().sample(8).obs
    z, near = exact._look(images), rough._look(images)
    assert near.dtype == torch.float32 and 0 < (z - near).norm() < 0.02 * z.norm()
    one, two = (agent.act(images[0].numpy(), False, np.ones(3)) for agent in (exact, rough))
    assert (one == two).all()


def test_q_weight_zero_learns_no_critic(make_small, make_memory):
    agent = make_small(imitation=1.0, q_weight=0.0)
    before = weights(agent)
    metrics = agent.update(make_memory())
    after = weights(agent)
    assert "critic/loss" not in metrics and "imitation/loss" in metrics
    assert all(torch.equal(before[name], after[name]) for name in before if "critic" in name)
    assert not torch.equal(before["encoder.projection.weight"], after["encoder.projection.weight"])


def test_value_is_brought_to_scale_beside_imitation(make_small, make_memory):
    agent = make_small(imitation=1.0)
    for value in agent.critic.values:
        value[-1].bias.data.fill_(1000.0)                               # as if rewards were huge
    batch, _, seen = prepared(agent, make_memory())
    assert agent._actor_losses(batch, seen)[0]["actor/loss"].item() == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize("options", [{"imitation": 0.0, "q_weight": 0.0}, {"views": 0}, {"shift": 20}])
def test_senseless_options_are_refused(make_small, options):
    with pytest.raises(ValueError, match="drqv2"):
        make_small(**options)


def test_slow_copy_follows_by_tau_and_asks_for_no_gradient():
    fast = torch.nn.Linear(2, 2)
    slow = slow_copy(fast)
    before = slow.weight.clone()
    fast.weight.data += 1
    follow(slow, fast, 0.25)
    assert torch.allclose(slow.weight, before + 0.25) and not slow.weight.requires_grad
