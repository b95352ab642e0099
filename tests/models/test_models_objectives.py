"""Every objective in models.make.OBJECTIVES meets the same tests; CURL and DEAR meet their own checks too."""

import math

import numpy as np
import pytest
import torch

from models.augment import RandomShift
from models.encoder import Encoder
from models.make import OBJECTIVES
from models.objectives.curl import Curl
from models.objectives.dear import SEPARATIONS, Dear
from models.slow import slow_copy

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


def test_curl_finds_the_other_view_of_images_it_never_saw():
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    encoder = Encoder(3, (24, 24), width=8, pool=2, latent_dim=32)
    curl, move = Curl(encoder, 2), RandomShift(torch.Generator().manual_seed(0), 1)
    learnt = [*encoder.parameters(), *(weight for weight in curl.parameters() if weight.requires_grad)]
    optimiser = torch.optim.Adam(learnt, 3e-3)

    def encode(images, used=encoder):
        return used(move(images)[0])

    found = []
    for _ in range(500):
        colours = random.integers(0, 256, (32, 4, 4, 3), dtype=np.uint8)    # new images at every step
        images = torch.from_numpy(colours.repeat(6, 1).repeat(6, 2)).permute(0, 3, 1, 2)
        loss, metrics = curl.loss(_Seen(images, {"original": images}), encode(images), encode)
        found.append(metrics["accuracy"].item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        curl.after_step(encoder)
    assert np.mean(found[:10]) < 0.2 and np.mean(found[-20:]) > 0.9


class _Seen:
    """The two fields of a Batch that an objective on images reads."""

    def __init__(self, obs, extra):
        self.obs, self.extra = obs, extra


# DEAR

def dear_task(steps=400, **options):
    """Two squares that move by themselves; the mask shows the first. The encoder after `steps` updates."""
    torch.manual_seed(0)
    encoder = Encoder(3, (16, 16), width=8, latent_dim=32)
    dear = Dear(encoder, 2, **options)
    optimiser = torch.optim.Adam([*encoder.parameters(), *dear.parameters()], 2e-3)
    where = torch.Generator().manual_seed(1)
    for _ in range(steps):
        agent, world = torch.randint(11, (2, 32, 2), generator=where)
        images, masks = squares(agent, world)
        z = encoder(images)
        loss, metrics = dear.loss(_Seen(images, {"mask": masks}), z, None)
        # Beside DEAR stands a stand-in for the critic, which needs both squares.
        z = dear.shield(z)
        loss = loss + (z[:, :4] + z[:, -4:] - torch.cat([agent, world], 1) / 10).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return encoder, dear, {name: value.item() for name, value in metrics.items()}


def squares(agent, world):
    images, masks = torch.zeros(len(agent), 3, 16, 16), torch.zeros(len(agent), 1, 16, 16, dtype=torch.uint8)
    for image, mask, (ay, ax), (wy, wx) in zip(images, masks, agent.tolist(), world.tolist(), strict=True):
        image[1, wy:wy + 5, wx:wx + 5] = 255
        image[:, ay:ay + 5, ax:ax + 5] = torch.tensor([255.0, 0, 0])[:, None, None]
        mask[:, ay:ay + 5, ax:ax + 5] = 1
    return images.to(torch.uint8), masks


def selectivity(encoder):
    """How much more the agent's half moves when the agent moves than when the world does."""
    where = torch.Generator().manual_seed(2)
    agent, world, elsewhere = torch.randint(11, (3, 200, 2), generator=where)
    with torch.no_grad():
        still, own, other = (encoder(squares(a, w)[0]).chunk(2, dim=1)[1]
                             for a, w in ((agent, world), (elsewhere, world), (agent, elsewhere)))
    return ((own - still).square().mean() / (other - still).square().mean()).item()


def test_dear_draws_the_mask_and_keeps_the_halves_orthogonal():
    encoder, _, metrics = dear_task()
    baseline, _, _ = dear_task(mask_weight=0.0, separation="none", isolate=False, bottleneck=0.0)
    assert metrics["mask_iou"] > 0.75 and abs(metrics["cos"]) < 0.05
    assert selectivity(encoder) > 50 and selectivity(encoder) > 10 * selectivity(baseline)


def test_dear_isolated_is_shaped_by_the_mask_alone(make_small, make_memory):
    for isolate in (True, False):
        agent = make_small({"name": "dear", "weight": 1e-12, "isolate": isolate}, imitation=1.0)
        before = agent.encoder.projection.weight.detach().clone()
        agent.update(make_memory())
        world, own = (agent.encoder.projection.weight.grad.abs().sum(1) > 1e-6).chunk(2)
        assert world.all() and own.all() == (not isolate)
        assert not torch.equal(agent.encoder.projection.weight, before)


def test_dear_shield_changes_gradients_and_no_number(make_small):
    dear = make_small({"name": "dear"}).objectives["dear"]
    z = torch.randn(3, 24, requires_grad=True)
    shielded = dear.shield(z)
    assert torch.equal(shielded, z)
    shielded.sum().backward()
    assert (z.grad[:, :12] == 1).all() and (z.grad[:, 12:] == 0).all()


def test_dear_noise_is_the_batchs_own(make_small, make_memory):
    agent = make_small({"name": "dear"})
    batch, z = seen(agent, make_memory())
    first, again = (agent.objectives["dear"].loss(batch, z, agent._encode)[0].item() for _ in range(2))
    silent = make_small({"name": "dear", "bottleneck": 0.0}).objectives["dear"]
    assert first == again != silent.loss(batch, z, agent._encode)[0].item()


def test_dear_legacy_aligns_the_halves():
    _, _, metrics = dear_task(separation="legacy", mask_weight=10.0, isolate=False, bottleneck=0.0)
    assert metrics["cos"] > 0.7


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
