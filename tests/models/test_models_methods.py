"""What single objectives promise of their own: reconstructions, stages, models of what follows, and bonuses."""

import copy
import io
from functools import wraps

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from models.counting import PRIMES, Counter
from models.encoder import Encoder, Simple
from models.make import OBJECTIVES
from models.objectives.autoencoder import Autoencoder, coarse
from models.objectives.counts import Counts
from models.objectives.darla import Darla
from models.objectives.latent_k import BINS, LatentK, two_hot
from models.objectives.vae import Vae, divergence, drawn

BONUSES = ("icm", "stadie", "counts")


def seen(agent, memory):
    """A batch as the objectives get it, and its latent."""
    batch, images = agent._augment(memory.sample(8, agent.needs))
    return batch, agent.encoder(images)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_saved_and_loaded_it_goes_on_bit_for_bit(make_small, make_memory, name):
    agent, again, memory = make_small({"name": name}), make_small({"name": name}, seed=5), make_memory()
    for _ in range(2):
        agent.update(memory)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    twin = copy.deepcopy(memory)
    assert [agent.update(memory) for _ in range(2)] == [again.update(twin) for _ in range(2)]
    assert same(weights(agent.objectives), weights(again.objectives))


def test_all_of_them_at_once_learn_beside_each_other(make_small, make_memory):
    names = ("autoencoder", "vae", "darla", "forward", "inverse", "icm", "stadie", "counts", "latent_k")
    agent = make_small(*({"name": name} for name in names))
    metrics = agent.update(make_memory())
    assert all(np.isfinite(value) for value in metrics.values())
    assert {key.split("/")[0] for key in metrics} >= set(names)


@pytest.mark.parametrize("name, allowed", [("autoencoder", False), ("forward", False), ("icm", True)])
def test_a_frozen_encoder_is_refused_unless_a_bonus_is_paid(make_small, monkeypatch, name, allowed):
    made = Encoder.__init__

    @wraps(made)
    def frozen(self, *args, **options):
        made(self, *args, **options)
        self.requires_grad_(False)

    monkeypatch.setattr(Encoder, "__init__", frozen)
    if allowed:
        make_small({"name": name})
    else:
        with pytest.raises(ValueError, match=f"'{name}' shapes the encoder, but in this one nothing learns"):
            make_small({"name": name})


# Reconstructions

def test_coarse_brightness_has_32_levels_and_is_off_by_half_of_one_at_most():
    every = torch.arange(256, dtype=torch.uint8)
    found = coarse(every)
    assert len(found.unique()) == 32
    assert ((found + 0.5) * 256 - every.float() - 0.5).abs().max() <= 4


def test_autoencoder_decays_code_and_decoder_as_it_says(make_small, make_memory):
    agent = make_small({"name": "autoencoder"})
    batch, z = seen(agent, make_memory())
    decaying = Autoencoder(agent.encoder, 2, latent_decay=0.5, decoder_decay=0.25)
    loss, metrics = decaying.loss(batch, z, agent._encode)
    squares = sum(weight.square().sum() for weight in decaying.decoder.parameters())
    assert loss.item() == pytest.approx((metrics["error"] + 0.5 * metrics["code_size"] + 0.125 * squares).item())


def test_divergence_is_what_many_draws_say():
    torch.manual_seed(0)
    mean, log_variance = torch.tensor([[0.7, -1.5, 0.0]]), torch.tensor([[0.4, -2.0, 1.0]])
    codes = drawn(mean, log_variance, torch.randn(400_000, 3))
    told = Normal(mean, (0.5 * log_variance).exp()).log_prob(codes) - Normal(0, 1).log_prob(codes)
    assert torch.allclose(divergence(mean, log_variance), told.mean(0), rtol=0.01)


@pytest.mark.parametrize("method", [Vae, Darla])
@pytest.mark.parametrize("encoder", [Encoder(3, (16, 16)), Simple(3, (36, 36))])
def test_variational_methods_ask_for_a_latent_of_chosen_size(method, encoder):
    with pytest.raises(ValueError, match="latent_dim"):
        method(encoder, 2)


@pytest.mark.parametrize("method, options", [(Vae, {"beta": -1.0}), (Darla, {"beta": -1.0}),
                                             (Darla, {"vae_updates": 0})])
def test_variational_methods_refuse_impossible_options(method, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        method(Encoder(3, (16, 16), latent_dim=4), 2, **options)


def test_darla_shapes_in_each_stage_what_that_stage_is_for(make_small, make_memory):
    agent, memory = make_small({"name": "darla", "denoise_updates": 2, "vae_updates": 3}), make_memory()
    darla, moved = agent.objectives["darla"], []
    for _ in range(7):
        parts = {"J": darla.denoiser, "vae": darla.decoder, "encoder": agent.encoder, "critic": agent.critic}
        before = {name: weights(part) for name, part in parts.items()}
        agent.update(memory)
        moved.append({name for name, part in parts.items() if not same(before[name], weights(part))})
    assert moved == 2 * [{"J", "critic"}] + 3 * [{"vae", "encoder", "critic"}] + 2 * [{"critic"}]


# Models of what follows

def test_two_hot_shares_have_the_reward_as_their_mean_in_two_neighbours_at_most():
    rewards = torch.tensor([0.0, 0.1, -0.37, 5.0, -300.0, 21_000.0])
    shares = two_hot(rewards)
    places = torch.linspace(-10, 10, BINS)
    assert torch.allclose(shares @ (places.sign() * places.abs().expm1()), rewards, rtol=1e-4, atol=1e-5)
    assert torch.allclose(shares.sum(1), torch.ones(6)) and ((shares > 0).sum(1) <= 2).all()
    assert two_hot(torch.tensor([1e9])).argmax() == BINS - 1


def test_latent_k_takes_its_own_steps_of_a_longer_sequence(make_small, make_memory):
    agent = make_small({"name": "latent_k", "steps": 2})
    batch, z = seen(agent, make_memory())
    longer = agent._augment(make_memory().sample(8, ("sequence:4",)))[0]
    losses = []
    for extra in (batch.extra, longer.extra):
        agent.random.manual_seed(0)
        losses.append(agent.objectives["latent_k"].loss(batch._replace(extra=extra), z, agent._encode)[0].item())
    assert losses[0] == losses[1] and longer.extra["sequence/obs"].shape[1] == 4


def test_latent_k_does_not_learn_from_beyond_the_end(make_small, make_memory):
    agent = make_small({"name": "latent_k"})
    batch, z = seen(agent, make_memory())
    over = batch.extra["sequence/alive"][:, :, 0] == 0
    other = batch.extra | {"sequence/obs": batch.extra["sequence/obs"].clone()}
    other["sequence/obs"][over] = 0
    assert over.any()
    losses = []
    for extra in (batch.extra, other):
        agent.random.manual_seed(0)
        losses.append(agent.objectives["latent_k"].loss(batch._replace(extra=extra), z, agent._encode)[0].item())
    assert losses[0] == losses[1]


def test_latent_k_copies_its_slow_encoder_every_so_many_updates(make_small, make_memory):
    agent, memory = make_small({"name": "latent_k", "copy_every": 2}), make_memory()
    slow, found = agent.objectives["latent_k"].slow_encoder, []
    for _ in range(4):
        agent.update(memory)
        found.append(same(weights(slow), weights(agent.encoder)))
    assert found == [False, True, False, True]


@pytest.mark.parametrize("isolate", [True, False])
def test_latent_k_isolated_keeps_the_critic_out_of_the_encoder(make_small, make_memory, isolate):
    agent = make_small({"name": "latent_k", "isolate": isolate})
    z = torch.randn(3, 24, requires_grad=True)
    assert agent.objectives.shield(z).requires_grad != isolate


@pytest.mark.parametrize("options", [{"steps": 0}, {"copy_every": 0}])
def test_latent_k_refuses_impossible_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LatentK(Encoder(3, (16, 16)), 2, **options)


# Bonuses

@pytest.mark.parametrize("name", BONUSES)
def test_bonus_is_one_number_a_step_and_enters_the_target(make_small, make_memory, name):
    targets = []
    for scale in (0.0, 100.0):
        agent = make_small({"name": name, "eta" if name == "icm" else "scale": scale})
        batch, z = seen(agent, make_memory())
        agent.random.manual_seed(0)
        targets.append(agent._critic_loss(batch, z, z)[1]["critic/target"].item())
        with torch.no_grad():
            bonus = agent.objectives[name].bonus(batch, z, agent._encode)
        assert bonus.shape == (8, 1) and (bonus >= 0).all()
    assert targets[1] - targets[0] == pytest.approx(bonus.mean().item(), rel=1e-4)


@pytest.mark.parametrize("name", ["icm", "stadie"])
def test_successors_are_encoded_once_for_bonus_and_loss_of_an_update(make_small, make_memory, name):
    agent = make_small({"name": name})
    encoded, encode = [], agent._encode
    agent._encode = lambda images, encoder=None: encoded.append(images) or encode(images, encoder)
    for updates in (1, 2):
        agent.update(make_memory())
        assert len(encoded) == 2 * updates                      # the critic's next_obs, and the successors


def test_stadie_pays_no_more_than_its_scale_and_ever_less(make_small, make_memory):
    agent = make_small({"name": "stadie", "scale": 0.5, "decay": 0.1})
    stadie = agent.objectives["stadie"]
    batch, z = seen(agent, make_memory())
    paid = []
    for updates in (0, 10, 40):
        stadie.updates.fill_(updates)
        paid.append(stadie.bonus(batch, z, agent._encode))
    assert paid[0].max().item() == pytest.approx(0.5) and torch.equal(paid[0], paid[1])
    assert torch.allclose(paid[2], paid[0] / 4)
    stadie.largest.fill_(1e6)
    assert stadie.bonus(batch, z, agent._encode).max() < 1e-3


def test_counter_counts_exactly_what_few_codes_are_met():
    torch.manual_seed(0)
    assert all(prime % divisor for prime in PRIMES for divisor in range(2, 1001)) and len(set(PRIMES)) == 6
    counter, codes = Counter(64), torch.randn(500, 64) > 0
    times = torch.randint(1, 5, (500,))
    counter.add(codes.repeat_interleave(times, 0))
    assert torch.equal(counter(codes)[:, 0], times.float())
    assert (counter(torch.randn(500, 64) > 0) == 0).all()


@pytest.mark.parametrize("hashed", ["pixels", "learnt"])
def test_counts_pay_by_the_root_of_how_often_an_image_was_met(make_small, make_memory, hashed):
    agent = make_small({"name": "counts", "hashed": hashed, "scale": 0.6})
    counts = agent.objectives["counts"]
    batch, z = seen(agent, make_memory())
    first = slice(0, 1)
    batch = batch._replace(obs=batch.obs[first], extra={"successor": batch.extra["successor"][first]})
    paid = []
    for _ in range(3):
        paid.append(counts.bonus(batch, z, agent._encode).item())
        counts.loss(batch, z, agent._encode)
    assert paid == pytest.approx([0.6, 0.6 / 2 ** 0.5, 0.6 / 3 ** 0.5])


@pytest.mark.parametrize("options", [{"hashed": "colour"}, {"bits": 0}, {"scale": -1.0}])
def test_counts_refuse_impossible_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Counts(Encoder(3, (16, 16)), 2, **options)


@pytest.mark.parametrize("options", [{"name": "bc"}, {"q_weight": 0.0, "imitation": 1.0}])
def test_counts_are_refused_where_no_reward_is_read(make_small, options):
    with pytest.raises(ValueError, match="'counts' only pays a bonus"):
        make_small({"name": "counts"}, **options)
