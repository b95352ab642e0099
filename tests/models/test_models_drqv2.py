"""DrQ-v2: what the target is, how the noise falls, and learning without a critic."""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from models.make import make_agent
from models.slow import follow, slow_copy

SPEC = importlib.util.spec_from_file_location("update", Path(__file__).parents[2] / "benchmarks" / "update.py")
update = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(update)


def prepared(agent, memory):
    batch, images = agent._augment(memory.sample(8, ("mask", "expert")))
    z = agent.encoder(images)
    return batch, z, z[:8]


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


def test_noise_falls_along_the_schedule_and_exploration_begins_at_random(make_small):
    agent = make_small(explore_steps=300, std_start=1.0, std_end=0.1, std_steps=400, proprio_dim=0)
    obs = np.zeros((9, 20, 20), np.uint8)
    early = np.stack([agent.act(obs, True) for _ in range(300)])
    assert abs(early.std() - 3 ** -0.5) < 0.03                          # uniform in [-1, 1]
    assert agent.std == pytest.approx(1 - 0.9 * 0.75)
    late = np.stack([agent.act(obs, True) for _ in range(600)])[100:]
    assert agent.std == pytest.approx(0.1) and abs(late.std(0).mean() - 0.1) < 0.02
    assert abs(late).max() < 1 and late.dtype == np.float32 and late.shape == (500, 2)


def test_noise_gradient_passes_where_the_action_is_clipped(make_small):
    agent = make_small(std_start=3.0, std_end=3.0)
    mean = torch.full((50, 2), 0.99, requires_grad=True)
    action = agent._noisy(mean, clip=0.3)
    action.sum().backward()
    assert action.abs().max() < 1 and (mean.grad == 1).all() and (action - mean).abs().max() < 0.3001


def test_q_weight_zero_learns_no_critic(make_small, make_memory):
    agent = make_small(imitation=1.0, q_weight=0.0)
    critics = torch.nn.ModuleList([agent.critic, agent.slow_critic])
    before = [weight.clone() for weight in critics.parameters()]
    encoder = agent.encoder.projection.weight.clone()
    metrics = agent.update(make_memory())
    assert "critic/loss" not in metrics and "imitation/loss" in metrics
    assert all(torch.equal(*pair) for pair in zip(before, critics.parameters(), strict=True))
    assert not torch.equal(encoder, agent.encoder.projection.weight)


def test_slow_copy_follows_by_tau_and_asks_for_no_gradient():
    fast = torch.nn.Linear(2, 2)
    slow = slow_copy(fast)
    before = slow.weight.clone()
    fast.weight.data += 1
    follow(slow, fast, 0.25)
    assert torch.allclose(slow.weight, before + 0.25) and not slow.weight.requires_grad


def like(agent, plain, rows):
    """Give the plain implementation the agent's weights; its latent is ordered channel, row, column."""
    for part, own in ((plain.encoder, agent.encoder), (plain.actor, agent.actor), (plain.critic, agent.critic),
                      (plain.slow, agent.slow_critic)):
        weights = list(own.state_dict().values())
        if part is not plain.encoder:
            weights[0] = weights[0].unflatten(1, (rows, rows, -1)).permute(0, 3, 1, 2).flatten(1)
        part.load_state_dict(dict(zip(part.state_dict(), weights, strict=True)))


def test_losses_are_those_of_a_plain_implementation_of_the_papers_steps():
    args = argparse.Namespace(size=28, stack=3)
    agent = make_agent("drqv2", {"batch_size": 32, "hidden_dim": 64}, image_shape=(9, 28, 28),
                       action_dim=update.ACTIONS)
    plain = update.Plain(9, 28, batch=32, hidden=64)
    like(agent, plain, rows=7)
    memories = [update.make_memory(args) for _ in range(2)]
    for _ in range(5):
        found, wanted = agent.update(memories[0]), plain.update(memories[1])
        for name, loss in wanted.items():
            assert found[name] == pytest.approx(loss, rel=1e-4, abs=1e-6)
