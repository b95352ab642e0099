"""Every objective in models.make.OBJECTIVES meets the same tests; some of their losses are looked at in detail."""

import math

import numpy as np
import pytest
import torch

from models.encoder import Encoder
from models.make import OBJECTIVES
from models.noise import normal
from models.objectives.dbc import Dbc
from models.objectives.dear import SEPARATIONS, Dear
from models.objectives.ted import Score, Ted
from models.objectives.triplet import hinge, semi_hard
from models.slow import slow_copy
from tests.checks import dear

every = pytest.mark.parametrize("name", OBJECTIVES)
SHAPING = {"darla": {"denoise_updates": 0}}     # options with which the very first loss is one that reaches the encoder


def seen(agent, memory):
    """A batch as the objectives get it, and its latent."""
    batch, images = agent._augment(memory.sample(8, agent.needs))
    return batch, agent.encoder(images)


@every
def test_loss_is_a_finite_scalar_that_shapes_the_encoder(make_small, make_memory, name):
    agent = make_small({"name": name, **SHAPING.get(name, {})})
    objective = agent.objectives[name]
    batch, z = seen(agent, make_memory())
    loss, metrics = objective.loss(batch, z, agent._encode)
    assert loss.shape == () and torch.isfinite(loss)
    assert all(value.shape == () and torch.isfinite(value) for value in metrics.values())
    loss.backward()
    assert all((weight.grad is not None) == objective.shapes_encoder for weight in agent.encoder.parameters())
    assert all(weight.grad is None for part in (agent.actor, agent.critic) for weight in part.parameters())
    for weight in objective.parameters():
        assert (weight.grad is not None) == weight.requires_grad


@every
def test_weight_zero_is_the_baseline_bit_for_bit(make_small, make_memory, name):
    agents = make_small(), make_small({"name": name, "weight": 0}), make_small({"name": name, "weight": 1})
    for agent in agents:
        memory = make_memory()
        for _ in range(3):
            agent.update(memory)
    baseline, zero, one = (torch.cat([w.flatten() for w in agent.encoder.parameters()]) for agent in agents)
    assert torch.equal(baseline, zero) and not torch.equal(baseline, one)


@every
def test_same_seed_same_updates_and_metrics_are_named_after_it(make_small, make_memory, name):
    found = []
    for _ in range(2):
        agent, memory = make_small({"name": name, "weight": 0.5}), make_memory()
        found.append([agent.update(memory) for _ in range(3)][-1])
    assert found[0] == found[1]
    assert any(key.startswith(f"{name}/") and not key.endswith("/total") for key in found[0])


@every
def test_objective_learns_on_one_batch(make_small, make_memory, name):
    alone = make_small({"name": name}).objectives[name].shapes_encoder      # else it must have rewards beside it
    agent = make_small({"name": name}, shift=0, **({"q_weight": 0.0, "imitation": 1e-6} if alone else {}))
    memory = make_memory(length=16)
    batch = memory.sample(8, agent.needs)
    memory.sample = lambda *_: batch
    losses = [agent.update(memory)[f"{name}/total"] for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.97 * np.mean(losses[:5])


# CURL

def test_curl_without_similarity_costs_exactly_ln_b(make_small, make_memory):
    agent = make_small({"name": "curl"})
    agent.objectives["curl"].similarity.data.zero_()
    loss, _ = agent.objectives["curl"].loss(*seen(agent, make_memory()), agent._encode)
    assert loss.item() == pytest.approx(math.log(8), rel=1e-6)


def test_curl_keys_come_from_a_slow_encoder_without_gradient(make_small, make_memory):
    agent = make_small({"name": "curl"})
    curl = agent.objectives["curl"]
    batch, z = seen(agent, make_memory())
    asked = []

    def encode(images, encoder=None):
        asked.append((images, encoder))
        return agent._encode(images, encoder)

    curl.loss(batch, z, encode)[0].backward()
    assert asked[0][0] is batch.extra["original"] and asked[0][1] is curl.slow_encoder
    slow = [*curl.slow_encoder.parameters(), *curl.slow_project.parameters()]
    assert slow and all(weight.grad is None and not weight.requires_grad for weight in slow)
    before = curl.slow_encoder.projection.weight.clone()
    agent.encoder.projection.weight.data += 1
    curl.after_step(agent.encoder)
    assert torch.allclose(curl.slow_encoder.projection.weight, before + curl.tau, atol=1e-6)


# DEAR

def test_dear_draws_the_mask_and_keeps_the_halves_orthogonal():
    metrics = dear.learn().metrics
    assert metrics["mask_iou"] > 0.75 and abs(metrics["cos"]) < 0.05


def test_dear_isolated_is_shaped_by_the_mask_alone(make_small, make_memory):
    for isolate in (True, False):
        agent = make_small({"name": "dear", "weight": 1e-12, "isolate": isolate}, imitation=1.0)
        before = agent.encoder.projection.weight.detach().clone()
        agent.update(make_memory())
        world, own = (agent.encoder.projection.weight.grad.abs().sum(1) > 1e-6).chunk(2)
        assert world.all() and own.all() == (not isolate)
        assert not torch.equal(agent.encoder.projection.weight, before)


def test_dear_shield_changes_gradients_and_no_number(make_small):
    z = torch.randn(3, 24, requires_grad=True)
    shielded = make_small({"name": "dear"}).objectives["dear"].shield(z)
    assert torch.equal(shielded, z)
    shielded.sum().backward()
    assert (z.grad[:, :12] == 1).all() and (z.grad[:, 12:] == 0).all()


def test_dear_noise_is_the_batchs_own(make_small, make_memory):
    agent = make_small({"name": "dear"})
    batch, z = seen(agent, make_memory())
    first, again = (agent.objectives["dear"].loss(batch, z, agent._encode)[0].item() for _ in range(2))
    silent = make_small({"name": "dear", "bottleneck": 0.0}).objectives["dear"]
    assert first == again != silent.loss(batch, z, agent._encode)[0].item()


def test_noise_differs_from_batch_to_batch_without_actions_too(make_memory):
    batch = make_memory().sample(8)
    still = [batch._replace(action=torch.zeros_like(batch.action), obs=obs) for obs in (batch.obs, batch.obs // 2)]
    drawn = [normal(one, torch.zeros(8, 4)) for one in (*still, still[0], batch)]
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[3])


def test_dear_legacy_aligns_the_halves():
    learnt = dear.learn(separation="legacy", mask_weight=10.0, isolate=False, bottleneck=0.0)
    assert learnt.metrics["cos"] > 0.7


def test_dear_mask_gradient_enters_by_the_agents_half_only(make_small, make_memory):
    agent = make_small({"name": "dear", "separation": "none"})
    batch, z = seen(agent, make_memory())
    z = z.detach().requires_grad_()
    agent.objectives["dear"].loss(batch, z, agent._encode)[0].backward()
    world, own = z.grad.chunk(2, dim=1)
    assert (world == 0).all() and (own != 0).any()


def test_dear_mask_moves_with_the_image(make_small, make_memory):
    agent, memory = make_small({"name": "dear"}), make_memory()
    raw = memory.sample(8, ("mask",))
    one_plane = (raw.obs[:, ::3] > 100).to(torch.uint8)             # a mask that can be read off the image
    batch, _ = agent._augment(raw._replace(extra={"mask": one_plane}))
    assert torch.equal(batch.extra["mask"], (batch.obs[:, ::3] > 100).to(torch.uint8))
    assert not torch.equal(batch.obs, raw.obs)


def test_dear_separations_are_zero_exactly_where_they_should_be():
    torch.manual_seed(0)
    world, agent = torch.zeros(64, 4), torch.zeros(64, 4)
    world[:, :2], agent[:, 2:] = torch.randn(64, 2), torch.randn(64, 2)     # orthogonal sample by sample
    assert SEPARATIONS["cos2"](world, agent).item() == 0
    assert SEPARATIONS["legacy"](world, agent).item() == pytest.approx(1)
    assert SEPARATIONS["legacy"](world, world).item() == pytest.approx(0, abs=1e-6)
    assert SEPARATIONS["cos2"](world, -world).item() == pytest.approx(1)
    assert SEPARATIONS["xcov"](world[:, :1], world[:, :1]).item() == pytest.approx(1, abs=1e-3)
    many = torch.randn(2000, 2)
    assert SEPARATIONS["xcov"](many[:, :1], many[:, 1:]).item() < 0.01
    left, right = torch.randn(32, 3), torch.randn(32, 3)
    table = np.corrcoef(left.T.numpy(), right.T.numpy())[:3, 3:]
    assert SEPARATIONS["xcov"](left, right).item() == pytest.approx((table ** 2).mean(), rel=1e-3)


@pytest.mark.parametrize("options, encoder", [({"separation": "cosine"}, {"latent_dim": 8}), ({}, {}),
                                              ({"bottleneck": -1.0}, {"latent_dim": 8}),
                                              ({}, {"latent_dim": 7})])
def test_dear_refuses_what_it_cannot_halve(options, encoder):
    with pytest.raises(ValueError, match="dear"):
        Dear(Encoder(3, (16, 16), **encoder), 2, **options)


def test_dear_masks_come_in_any_size():
    encoder = Encoder(6, (21, 34), width=4, pool=2, latent_dim=8)
    assert Dear(encoder, 2).decoder(torch.zeros(3, 4)).shape == (3, 2, 21, 34)
    assert slow_copy(encoder).latent_dim == 8


# TED

def test_ted_score_is_the_papers(make_small):
    score, (u, v) = Score(4), torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    score.bias.data.fill_(0.1)
    score.alone_bias.data.fill_(-0.2)
    score.offset.data.fill_(0.3)
    u, v = ((x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt() for x in (u, v))
    by_hand = [sum(abs(score.now[i] * u[b, i] + score.then[i] * v[b, i] + 0.1) - (score.alone[i] * u[b, i] - 0.2) ** 2
                   for i in range(4)).item() + 0.3 for b in range(3)]
    assert score(u, v).tolist() == pytest.approx(by_hand, rel=1e-4, abs=1e-5)


def test_ted_sees_the_second_moment_by_a_slow_encoder(make_small, make_memory):
    agent = make_small({"name": "ted", "share": 1.0})
    asked = []

    def encode(images, encoder=None):
        asked.append((images, encoder))
        return agent._encode(images, encoder)

    batch, z = seen(agent, make_memory())
    ted = agent.objectives["ted"]
    ted.loss(batch, z, encode)[0].backward()
    assert [images.equal(batch.extra[name]) for (images, _), name in zip(asked, ted.needs, strict=True)] == [True, True]
    assert all(encoder is ted.slow_encoder for _, encoder in asked)
    assert all(weight.grad is None for weight in ted.slow_encoder.parameters())


# DBC

def test_dbc_metric_is_the_papers_and_its_target_gets_no_gradient():
    torch.manual_seed(0)
    dbc = Dbc(Encoder(3, (16, 16), latent_dim=3), 2, gamma=0.9)
    z, mean, std = (torch.randn(6, 3, requires_grad=True) for _ in range(3))
    reward = torch.randn(6, 1)
    other = torch.randperm(6, generator=torch.Generator().manual_seed(0)).tolist()
    by_hand = 0.0
    for i, j in enumerate(other):
        follows = math.hypot(*(mean[i] - mean[j]).tolist(), *(std[i] - std[j]).tolist())
        wanted = abs(reward[i] - reward[j]).item() + 0.9 * follows
        by_hand += (sum(abs(z[i] - z[j]).tolist()) - wanted) ** 2 / 6
    assert dbc._metric(z, reward, mean.detach(), std.detach()).item() == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("term, reaches", [("metric", True), ("dynamics", False), ("reward", True)])
def test_dbc_model_of_dynamics_does_not_shape_the_latent(make_small, make_memory, term, reaches):
    agent = make_small({"name": "dbc"})
    batch, z = seen(agent, make_memory())
    found = agent.objectives["dbc"].loss(batch, z, agent._encode)[1][term]
    gradient, = torch.autograd.grad(found, z, allow_unused=True)
    assert (gradient is not None) == reaches


@pytest.mark.parametrize("method", [Ted, Dbc])
def test_methods_that_read_each_number_of_the_latent_refuse_the_flat_features(method):
    with pytest.raises(ValueError, match="give the encoder a latent_dim, e.g. 50"):
        method(Encoder(3, (16, 16)), 2)


# Triplets and TCN

def test_triplet_costs_nothing_and_pulls_at_nothing_outside_the_margin():
    together, apart = torch.tensor([0.1, 0.5], requires_grad=True), torch.tensor([0.31, 0.71], requires_grad=True)
    loss = hinge(together, apart, 0.2)
    loss.backward()
    assert loss.item() == 0 and not together.grad.any() and not apart.grad.any()


def test_triplets_of_one_point_cost_the_margin():
    nothing = torch.zeros(4)
    assert hinge(nothing, semi_hard(nothing, torch.zeros(4, 4)), 0.2).item() == pytest.approx(0.2)


def test_semi_hard_negative_is_the_closest_beyond_the_positive_or_else_the_farthest():
    apart = torch.tensor([[0.1, 0.6, 0.9], [0.1, 0.3, 0.2]])
    assert semi_hard(torch.tensor([0.5, 0.5]), apart).tolist() == pytest.approx([0.6, 0.3])


@pytest.mark.parametrize("options, words", [
    ({"name": "tcn", "views": 3}, "views is 3"), ({"name": "tcn", "near": 7, "far": 6}, "tcn near 7 and far 6"),
    ({"name": "triplet", "near": 0}, "triplet near 0"), ({"name": "scvrl", "length": 6}, "length 6"),
    ({"name": "scvrl", "clips": 1}, "clips 1"), ({"name": "dbc", "gamma": 0.0}, "gamma is 0.0")])
def test_impossible_options_are_refused_by_name(make_small, options, words):
    with pytest.raises(ValueError, match=words):
        make_small(options)


def test_tcn_of_two_eyes_asks_for_the_right_one_and_is_told_where_it_is_missing(make_small, make_memory):
    agent = make_small({"name": "tcn", "views": 2})
    assert agent.needs == ("right",)
    with pytest.raises(ValueError, match="cannot give 'right'.*store it with extras"):
        agent.update(make_memory())


# SCVRL

def test_scvrl_leaves_out_what_lies_beyond_the_end_of_an_episode(make_small, make_memory):
    agent = make_small({"name": "scvrl"})
    batch, z = seen(agent, make_memory())
    batch.extra["sequence/alive"].zero_()
    loss, metrics = agent.objectives["scvrl"].loss(batch, z, agent._encode)
    assert loss.item() == 0 and metrics["order_accuracy"].item() == 0


def test_images_of_one_clip_are_shifted_alike(make_small):
    agent = make_small()
    image = torch.randint(256, (3, 1, 9, 20, 20), dtype=torch.uint8)
    still = agent._encode(image.expand(3, 4, 9, 20, 20))
    assert still.shape == (3, 4, 24) and torch.allclose(still, still[:, :1].expand_as(still), atol=1e-5)
    moving = agent._encode(image.expand(3, 4, 9, 20, 20).flatten(0, 1)).unflatten(0, (3, 4))
    assert not torch.allclose(moving, moving[:, :1].expand_as(moving), atol=1e-5)
