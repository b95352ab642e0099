"""SAC: the density of the squashed Gaussian, the temperature, and what averaging over views does to the target."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from models.agents.sac import LOG_STD, GaussianActor, squashed


def prepared(agent, memory):
    batch, images = agent._augment(memory.sample(8, ("mask", "expert")))
    z = agent.encoder(images)
    return batch, z, z[:8]


@pytest.mark.parametrize("mean, log_std", [(0.0, 0.0), (0.7, -1.0), (-1.5, 0.5)])
def test_density_of_the_squashed_gaussian_integrates_to_one(mean, log_std):
    noise = torch.linspace(-9, 9, 20001, dtype=torch.float64)[:, None]
    action, log_prob = squashed(torch.full_like(noise, mean), torch.full_like(noise, log_std), noise)
    mass = torch.trapezoid(log_prob[:, 0].exp(), action[:, 0])
    assert mass.item() == pytest.approx(1, abs=1e-4)


def test_log_prob_is_that_of_torchs_own_transformed_distribution():
    random = torch.Generator().manual_seed(0)
    mean, log_std, noise = (torch.randn(500, 3, generator=random, dtype=torch.float64) / 2 for _ in range(3))
    action, log_prob = squashed(mean, log_std, noise)
    law = TransformedDistribution(Independent(Normal(mean, log_std.exp()), 1), TanhTransform())
    assert torch.allclose(log_prob[:, 0], law.log_prob(action), atol=1e-6)


def test_log_prob_and_its_gradient_are_finite_where_tanh_rounds_to_one():
    mean = torch.tensor([[40.0, -40.0]], requires_grad=True)
    action, log_prob = squashed(mean, torch.zeros(1, 2), torch.ones(1, 2))
    log_prob.backward()
    assert action.abs().min() == 1 and log_prob.isfinite().all() and mean.grad.isfinite().all()


def test_spread_stays_within_its_range():
    actor = GaussianActor(40, 0, 2, features=8, hidden=16)
    actor.numbers[-1].weight.data.mul_(1e4)
    _, log_std = actor.before_squashing(torch.randn(200, 40), torch.zeros(200, 0))
    assert log_std.min().item() == pytest.approx(LOG_STD[0]) and log_std.max().item() == pytest.approx(LOG_STD[1])


def test_exploration_begins_at_random_and_then_draws_from_the_policy(make_small):
    agent = make_small(name="sac", explore_steps=300, proprio_dim=0)
    obs = np.zeros((9, 20, 20), np.uint8)
    early = np.stack([agent.act(obs, True) for _ in range(300)])
    assert abs(early.std() - 3 ** -0.5) < 0.03                          # uniform in [-1, 1]
    late = np.arctanh(np.stack([agent.act(obs, True) for _ in range(600)]))
    with torch.no_grad():
        z = agent.encoder(torch.from_numpy(obs)[None])
        mean, log_std = agent.actor.before_squashing(z, torch.zeros(1, 0))
    assert np.allclose(late.mean(0), mean[0].numpy(), atol=5 * late.std() / 600 ** 0.5)
    assert np.allclose(late.std(0), log_std.exp()[0].numpy(), rtol=0.15)


@pytest.mark.parametrize("target, sign", [(50.0, 1), (-50.0, -1)])
def test_temperature_rises_while_entropy_is_below_its_target_and_falls_above(make_small, make_memory, target, sign):
    agent, memory = make_small(name="sac", target_entropy=target), make_memory()
    found = [agent.update(memory)["alpha/value"] for _ in range(5)]
    assert found[0] == pytest.approx(0.1) and (np.diff(found) * sign > 0).all()


def test_target_entropy_is_minus_the_number_of_actions_unless_told(make_small):
    assert make_small(name="sac").target_entropy == -2 and make_small(name="sac", target_entropy=0).target_entropy == 0


def test_temperature_holds_the_entropy_at_its_target(make_small, make_memory):
    agent, memory = make_small(name="sac", target_entropy=-4.0, lr=1e-2), make_memory()
    found = [agent.update(memory)["actor/entropy"] for _ in range(400)]
    assert abs(np.mean(found[-100:]) + 4) < 0.7


def test_one_view_is_the_plain_soft_target_and_loss_by_hand(make_small, make_memory):
    agent = make_small(name="sac", shift=0)
    batch, z, seen = prepared(agent, make_memory())
    state = agent.random.get_state()
    loss, metrics = agent._critic_loss(batch, z, seen)
    agent.random.set_state(state)
    torch.randint(1, (8, 2), generator=agent.random)                    # the shift's own draw
    with torch.no_grad():
        next_z = agent.encoder(batch.next_obs)
        mean, log_std = agent.actor.before_squashing(next_z, batch.next_proprio)
        drawn = mean + log_std.exp() * torch.randn(8, 2, generator=agent.random)
        action = torch.tanh(drawn)
        log_prob = (Normal(mean, log_std.exp()).log_prob(drawn) - (1 - action.square()).log()).sum(1, keepdim=True)
        q = torch.stack(agent.slow_critic(next_z, batch.next_proprio, action)).amin(0)
        target = batch.reward + batch.discount * (q - 0.1 * log_prob)
        wanted = sum((value - target).square().mean() for value in agent.critic(z, batch.proprio, batch.action))
    assert metrics["critic/target"].item() == pytest.approx(target.mean().item(), rel=1e-4)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_two_views_halve_the_variance_of_the_target_over_shifts(make_small, make_memory, monkeypatch):
    agent, variance = make_small(name="sac", lr=1e-2), []
    for _ in range(30):
        agent.update(make_memory())                                     # values that depend on what is seen
    monkeypatch.setattr(agent, "_normal", torch.zeros_like)             # variance of shifts, not of drawn actions
    for agent.views in (1, 2):
        batch, images = agent._augment(make_memory().sample(8, ("expert",)))
        z = agent.encoder(images)
        variance.append(np.var([agent._critic_loss(batch, z, z[:8])[1]["critic/target"].item() for _ in range(400)]))
    assert 0.35 < variance[1] / variance[0] < 0.7


def test_two_views_without_a_shift_equal_one(make_small, make_memory, monkeypatch):
    losses = []
    for views in (1, 2):
        agent = make_small(name="sac", shift=0, views=views)
        monkeypatch.setattr(agent, "_normal", torch.zeros_like)
        losses.append(agent._critic_loss(*prepared(agent, make_memory()))[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
