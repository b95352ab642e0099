"""DrAC: its two terms by hand, where their gradients go, and the bandit that chooses the augmentation."""

from copy import deepcopy
from itertools import product

import numpy as np
import pytest
import torch
from test_models_dvc import ACTIONS, CHOICES, COUNT, STEPS, lived, make

from models.bandit import Ucb
from models.make import make_agent

PLANE = [("v_x", "m/s", -0.05, 0.05), ("v_y", "m/s", -0.05, 0.05)]
CROSS = [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]]
HEADS = {"gaussian": {}, "bins": {"actions": "bins", "bins": 5}, "choices": {"actions": "choices", "choices": CROSS}}
ARMS = ["shift", "grayscale", "cutout", "cutout_colour", "translate", "conv", "jitter", "overlay"]


def plain(z):
    """A latent that no objective stops the gradient of."""
    return z


def weights(agent):
    return torch.cat([value.flatten().float() for value in agent.net.state_dict().values()])


def made(channels=PLANE, proprio_dim=0, **options):
    options = {"hidden_dim": 16, "horizon": STEPS, "batch_size": 8, "epochs": 1, **options}
    return make_agent("dvc", options, image_shape=(3, 40, 40), action_dim=ACTIONS, proprio_dim=proprio_dim,
                      encoder={"name": "simple", "width": 2}, channels=channels)


# The bandit

def test_the_bandit_finds_the_best_of_eight_arms_and_without_values_it_does_not():
    shares = {}
    for told in (True, False):
        rng, bandit = np.random.default_rng(0), Ucb(8, 0.1, 10)
        chosen = []
        for _ in range(400):
            chosen.append(bandit.choose())
            bandit.observe(rng.normal(0.5 * (chosen[-1] == 5) * told, 0.2))
        shares[told] = np.mean(np.equal(chosen, 5))
        assert sorted(chosen[:8]) == list(range(8))                     # each once to begin with
    assert shares[True] > 0.9 and shares[False] < 0.6


def test_the_bandit_scores_the_last_values_by_mean_and_rarity():
    bandit = Ucb(2, 0.5, 3)
    for value in (1.0, 0.0):
        bandit.choose()
        bandit.observe(value)
    bandit.arm = 0
    for value in (9.0, 2.0, 2.0, 2.0):
        bandit.observe(value)
    bandit.pulls = [40, 2]
    # 2 + 0.5 sqrt(ln 42 / 40) against 0 + 0.5 sqrt(ln 42 / 2)
    assert bandit.choose() == 0
    bandit.pulls, bandit.explore = [40, 2], 2.0
    assert bandit.choose() == 1 and bandit.pulls == [40, 3]


def test_the_bandit_follows_when_another_arm_becomes_the_best():
    bandit, chosen = Ucb(2, 0.1, 5), []
    for k in range(120):
        arm = bandit.choose()
        chosen.append(arm)
        bandit.observe(float(arm == (k >= 60)))
    assert np.mean(np.equal(chosen[30:60], 0)) > 0.8 and np.mean(np.equal(chosen[90:], 1)) > 0.8


# The two terms

def seen(agent, rollout):
    images, proprio = rollout.obs.flatten(0, 1), rollout.proprio.flatten(0, 1)
    features, _ = agent.net.look(images, proprio, agent.first_state(len(images)))
    return images, proprio, agent.net.numbers(features), agent.net.values(features)


@pytest.mark.parametrize("kind", HEADS)
def test_an_augmentation_that_does_nothing_costs_entropy_and_no_value(kind):
    agent = made(drac=["shift"], shift=0, **HEADS[kind])
    agent.drac.bandit.choose()
    images, proprio, numbers, values = seen(agent, lived(agent, proprio_dim=0))
    many = [part.repeat(40, *[1] * (part.ndim - 1)) for part in (images, proprio, numbers, values)]
    losses = agent.drac.losses(*many, 1, plain)
    assert losses["drac/value"].item() < 1e-12
    losses["drac/value"].backward()
    assert all(weight.grad is None or weight.grad.abs().max() < 1e-5 for weight in agent.net.value.parameters())
    entropy = agent.net.head.entropy(numbers).mean().item()             # -E log pi(a') of one and the same policy
    assert losses["drac/policy"].item() == pytest.approx(0.1 * entropy, rel=0.06)


@pytest.mark.parametrize("kind, arm", [*product(HEADS, ["cutout", {"name": "flip", "p": 0.5},
                                                       {"name": "rotate", "p": 1}])])
def test_both_terms_by_hand_with_the_action_turned_where_the_picture_is(kind, arm):
    agent = made(drac=[arm], drac_weight=0.5, **HEADS[kind])
    agent.drac.bandit.choose()
    images, proprio, numbers, values = seen(agent, lived(agent, proprio_dim=0))
    state, net = agent.random.get_state(), agent.net
    losses = agent.drac.losses(images, proprio, numbers, values, 2, plain)
    agent.random.set_state(state)
    drawn = net.head.draw(numbers, agent.random)
    augmented, params = agent.drac.arms[0](images)
    action = net.head.action(drawn)
    if arm != "cutout":
        matrices = agent.drac.matrices[0][params]
        turned = net.head.turned(drawn, matrices)
        wanted = torch.stack([matrix @ one for matrix, one in zip(matrices, action, strict=True)])
        assert torch.allclose(net.head.action(turned), wanted, atol=1e-6)       # of the action, as of what tells it
        assert not torch.equal(turned, drawn)
        drawn = turned
    features, _ = net.look(augmented, proprio, agent.first_state(len(images)))
    policy = -net.head.log_prob(net.numbers(features), drawn).mean()
    value = 0.5 * (values - net.values(features)).square().mean(0).sum()
    assert losses["drac/policy"].item() == pytest.approx(0.5 * policy.item(), rel=1e-4)
    assert losses["drac/value"].item() == pytest.approx(0.5 * value.item(), rel=1e-4)


def test_what_is_seen_unaugmented_is_the_teacher_and_learns_nothing():
    agent = made(drac=["conv"])
    agent.drac.bandit.choose()
    images, proprio, numbers, values = seen(agent, lived(agent, proprio_dim=0))
    numbers, values = (part.detach().requires_grad_() for part in (numbers, values))
    sum(agent.drac.losses(images, proprio, numbers, values, 1, plain).values()).backward()
    assert numbers.grad is None and values.grad is None
    parts = [agent.net.encoder, agent.net.squeeze, agent.net.body, agent.net.head, agent.net.value]
    assert all(any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in part.parameters())
               for part in parts)


def test_the_value_of_cost_is_regularised_where_costs_are_heeded():
    agent = made(drac=["conv"])
    agent.drac.bandit.choose()
    parts, found = seen(agent, lived(agent, proprio_dim=0)), []
    for heeded in (1, 2):
        agent.random.manual_seed(0)
        found.append(agent.drac.losses(*parts, heeded, plain)["drac/value"].item())
    assert found[0] < found[1]


# In PPO

def test_weight_zero_is_the_baseline_bit_for_bit():
    agents = make(), make(drac=ARMS, drac_weight=0.0), make(drac=ARMS)
    for agent in agents:
        for k in range(2):
            agent.learn(lived(agent, k))
    baseline, zero, one = (weights(agent) for agent in agents)
    assert torch.equal(baseline, zero) and not torch.equal(baseline, one)


def test_ppos_own_terms_see_the_pictures_as_they_are():
    plain, beside = (make(epochs=1, batch_size=STEPS * COUNT, **options) for options in ({}, {"drac": ["conv"]}))
    one, two = plain.learn(lived(plain)), beside.learn(lived(beside))
    assert all(two[name] == value for name, value in one.items()) and two["drac/policy"] != 0 and two["drac/value"] > 0


def test_an_arm_earns_the_returns_of_the_rollout_after_it_and_is_told():
    agent, arms = make(drac=ARMS[:3]), []
    for k in range(4):
        rollout = lived(agent, k)
        before = agent.drac.bandit.arm
        metrics = agent.learn(rollout)
        arms.append(metrics["drac/arm"])
        if k:
            assert before == arms[k - 1] and len(agent.drac.bandit.values[before]) >= 1
    assert arms[:3] == [0, 1, 2] and [len(values) for values in agent.drac.bandit.values] == [1, 1, 1]


@pytest.mark.parametrize("options", [{"drac": ARMS, "imitation": 0.5, "cost_limit": 1.0}, {"drac": ["flip"]}])
def test_it_repeats_and_goes_on_from_a_file_bit_for_bit(options):
    first, second, third = (made(**options) for _ in range(3))
    for agent in (first, second):
        for k in range(2):
            metrics = agent.learn(lived(agent, k, proprio_dim=0, label=0.3))
    assert torch.equal(weights(first), weights(second))
    for agent in (first, third):        # returns under way are forgotten: after a file, episodes begin anew
        agent.load_state_dict(deepcopy(second.state_dict()))     # Adam would share its moments
    after = [agent.learn(lived(agent, 2, proprio_dim=0, label=0.3)) for agent in (first, third)]
    assert after[0] == after[1] != metrics and torch.equal(weights(first), weights(third))


@pytest.mark.parametrize("options, words", [
    ({"drac": []}, "at least one augmentation"), ({"drac": ["shift"], "drac_weight": -1.0}, "drac_weight is -1.0"),
    ({"drac": ["shift"], "ucb": -0.1}, "ucb -0.1"), ({"drac": ["shift"], "ucb_window": 0}, "ucb_window 0"),
    ({"drac": ["shift"], "recurrent": 4, "sequence": 4}, "recurrent 4.*leave out one"),
    ({"drac": ["crop"]}, "crop leaves less.*take shift"), ({"drac": ["fog"]}, "'fog' is unknown"),
    ({"drac": ["flip"], "proprio_dim": 2}, "flip would need proprio turned"),
    ({"drac": ["flip"], "channels": []}, "without names"),
    ({"drac": ["flip"], "actions": "choices", "choices": CHOICES}, r"flip makes \[-1.0, 0.0\] of one"),
    ({"drac": ["rotate"], "actions": "choices", "choices": CROSS[:3]}, "rotate makes"),
    ({"shift": 40}, "shift is 40")])
def test_what_cannot_be_is_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        made(**options)
