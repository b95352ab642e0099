"""PPO's parts as the papers state them, and DVC put together of them."""

from copy import deepcopy
from itertools import product

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Normal

from models.actions import make_head
from models.agents.dvc import clipped_surrogate
from models.make import make_agent
from models.memory import EpisodeMemory
from models.recurrent import Recurrent
from models.rollout import ReturnScale, Rollout, advantages

SIDE, ACTIONS, STEPS, COUNT = 40, 2, 8, 3
CHOICES = [[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]]
KINDS = {"gaussian": {}, "bins": {"actions": "bins"}, "choices": {"actions": "choices", "choices": CHOICES}}


def make(seed=0, proprio_dim=2, **options):
    options = {"hidden_dim": 16, "horizon": STEPS, "batch_size": 8, "epochs": 2, "sequence": 4, **options}
    return make_agent("dvc", options, image_shape=(3, SIDE, SIDE), action_dim=ACTIONS, proprio_dim=proprio_dim,
                      encoder={"name": "simple", "width": 2}, seed=seed)


def lived(agent, seed=0, proprio_dim=2, label=np.nan, still=False):
    """A rollout of random pictures (or of one and the same) in which the agent acted."""
    random = torch.Generator().manual_seed(seed)
    obs = torch.randint(256, (STEPS, COUNT, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)
    if still:
        obs = obs[:1, :1].expand_as(obs)
    proprio = torch.randn(STEPS, COUNT, proprio_dim, generator=random)
    ended = torch.rand(STEPS, COUNT, generator=random) < 0.2
    state, kept = agent.first_state(COUNT), []
    for t in range(STEPS):
        choice = agent.choose(obs[t], proprio[t], state)
        kept.append((state, choice))
        state = choice.state * ~ended[t][:, None]
    stacked = [torch.stack([getattr(choice, name) for _, choice in kept]) for name in ("drawn", "log_prob", "values")]
    return Rollout(obs, proprio, torch.stack([before for before, _ in kept]), *stacked[:2],
                   torch.randn(STEPS, COUNT, generator=random), torch.zeros(STEPS, COUNT), stacked[2],
                   torch.randn(STEPS, COUNT, 2, generator=random), ended, ended,
                   torch.full((STEPS, COUNT, ACTIONS), label))


def series(seed=0, length=20):
    random = torch.Generator().manual_seed(seed)
    reward, value, next_value = torch.randn(3, length, 1, generator=random, dtype=torch.float64)
    next_value[:-1] = value[1:]
    return reward, value, next_value


def test_gae_at_trace_0_is_the_td_error_and_at_1_the_return_less_the_value():
    reward, value, next_value = series()
    never = torch.zeros(20, 1, dtype=torch.bool)
    td = advantages(reward, value, next_value, never, never, 0.9, 0.0)
    assert torch.allclose(td, reward + 0.9 * next_value - value, atol=1e-12)
    full = advantages(reward, value, next_value, never, never, 0.9, 1.0)
    returns, later = torch.empty_like(reward), next_value[-1]
    for t in reversed(range(20)):
        later = returns[t] = reward[t] + 0.9 * later
    assert torch.allclose(full, returns - value, atol=1e-12)


def test_a_terminal_stops_the_bootstrap_a_time_limit_does_not_and_neither_is_crossed():
    reward, value, next_value = series()
    ended = torch.zeros(20, 1, dtype=torch.bool)
    ended[9] = True
    terminal = advantages(reward, value, next_value, ended, ended, 0.9, 0.95)
    limit = advantages(reward, value, next_value, torch.zeros_like(ended), ended, 0.9, 0.95)
    assert torch.allclose(terminal[9], reward[9] - value[9]) and torch.allclose(
        limit[9], reward[9] + 0.9 * next_value[9] - value[9])
    changed = reward.clone()
    changed[10:] += 5
    assert torch.equal(advantages(changed, value, next_value, ended, ended, 0.9, 0.95)[:10], terminal[:10])


@pytest.mark.parametrize("ratio, gain, flows", [(1.0, 1.0, True), (1.5, 1.0, False), (1.5, -1.0, True),
                                                (0.5, -1.0, False), (0.5, 1.0, True)])
def test_the_gradient_is_zero_exactly_where_the_ratio_is_clipped(ratio, gain, flows):
    log_prob = torch.tensor([np.log(ratio)], requires_grad=True)
    found, surrogate = clipped_surrogate(log_prob, torch.zeros(1), torch.tensor([gain]), 0.2)
    surrogate.sum().backward()
    assert found.item() == pytest.approx(ratio) and (log_prob.grad.abs().item() > 0) == flows


@pytest.mark.parametrize("kind", KINDS)
def test_heads_tell_the_probabilities_of_torch_s_distributions(kind):
    options = {"std": 0.6, "bins": 3, "choices": CHOICES}
    head = make_head(kind, 4, ACTIONS, **options)
    numbers = head(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 90)
    drawn = head.draw(numbers, torch.Generator().manual_seed(1))
    if kind == "gaussian":
        known = Normal(torch.tanh(numbers), head.log_std.exp())
        log_prob, entropy = known.log_prob(drawn).sum(1), known.entropy().sum(1)
    elif kind == "bins":
        known = Categorical(logits=numbers.unflatten(1, (ACTIONS, 3)))
        log_prob, entropy = known.log_prob(drawn).sum(1), known.entropy().sum(1)
    else:
        known = Categorical(logits=numbers)
        log_prob, entropy = known.log_prob(drawn[:, 0]), known.entropy()
    assert torch.allclose(head.log_prob(numbers, drawn), log_prob, atol=1e-5)
    assert torch.allclose(head.entropy(numbers), entropy, atol=1e-5)
    for action in (head.action(drawn), head.best(numbers)):
        assert action.shape == (50, ACTIONS) and action.abs().max() <= 1
    if kind == "choices":
        assert all(choice in CHOICES for choice in head.action(drawn).tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_drawing_follows_the_probabilities(kind):
    head = make_head(kind, 4, ACTIONS, std=0.6, bins=3, choices=CHOICES)
    numbers = head(torch.randn(1, 4) * 90).detach().expand(20_000, -1)
    drawn = head.draw(numbers, torch.Generator().manual_seed(1))
    assert -head.log_prob(numbers, drawn).mean().item() == pytest.approx(head.entropy(numbers[:1]).item(), abs=0.03)


@pytest.mark.parametrize("kind, recurrent", [*product(KINDS, [0, 6])])
def test_the_ratio_is_1_before_the_first_step(kind, recurrent):
    agent = make(recurrent=recurrent, **KINDS[kind])
    rollout = lived(agent)
    seen = torch.zeros(STEPS * COUNT, dtype=torch.bool)
    for times, which in agent._minibatches(STEPS, COUNT):
        with torch.no_grad():
            features = agent.net.look_along(rollout.obs[times, which], rollout.proprio[times, which],
                                            rollout.state[times[0], which], rollout.ended[times, which])
            drawn = rollout.drawn[times, which].flatten(0, 1)
            log_prob = agent.net.head.log_prob(agent.net.numbers(features), drawn)
        assert torch.allclose(log_prob, rollout.log_prob[times, which].flatten(), atol=1e-5)
        seen[(times * COUNT + which).flatten()] = True
    assert seen.all()


@pytest.mark.parametrize("recurrent", [0, 6])
def test_two_agents_of_one_seed_learn_alike_and_go_on_alike_from_a_file(recurrent):
    first, second, third = (make(recurrent=recurrent, imitation=0.5) for _ in range(3))
    metrics = [agent.learn(lived(agent, label=0.3)) for agent in (first, second)]
    assert metrics[0] == metrics[1]
    for agent in (first, third):        # returns under way are forgotten: after a file, episodes begin anew
        agent.load_state_dict(deepcopy(second.state_dict()))     # Adam would share its moments
    assert first.learn(lived(first, 1, label=0.3)) == third.learn(lived(third, 1, label=0.3))
    for name, value in first.net.state_dict().items():
        assert torch.equal(value, third.net.state_dict()[name]), name


def test_each_loss_reaches_what_it_is_to_teach():
    agent = make(imitation=1.0, cost_limit=5.0)
    before = {name: value.clone() for name, value in agent.net.named_parameters()}
    found = agent.learn(lived(agent, label=0.3))
    moved = {name for name, value in agent.net.named_parameters() if not torch.equal(value, before[name])}
    assert moved == set(before)
    assert {"policy/loss", "value/loss", "entropy/loss", "imitation/loss"} <= set(found)


def test_a_memory_forgets_where_an_episode_ends():
    memory = Recurrent(4, 5)
    features = torch.randn(6, 2, 4)
    ended = torch.zeros(6, 2, dtype=torch.bool)
    ended[2, 0] = True
    along = memory.along(features, torch.zeros(2, 5), ended)
    anew = memory.along(features[3:], torch.zeros(2, 5), ended[3:])
    assert torch.allclose(along[3:, 0], anew[:, 0]) and not torch.allclose(along[3:, 1], anew[:, 1])


def test_the_multiplier_grows_above_the_limit_and_falls_to_0_below_it():
    agent = make(cost_limit=2.0, cost_lr=0.5)
    agent.constrain(4.0)
    assert agent.multiplier == 1.0
    agent.constrain(0.0)
    assert agent.multiplier == 0.0
    free = make()
    free.constrain(100.0)
    assert free.multiplier == 0.0


def test_where_nothing_costs_the_errors_of_its_values_do_not_drown_the_reward():
    agent = make(cost_limit=0.0)
    rollout = lived(agent)
    small = 1e-3 * torch.randn(STEPS, COUNT, generator=torch.Generator().manual_seed(1))
    values, after = rollout.values.clone(), rollout.next_values.clone()
    values[..., 1], after[..., 1] = small, torch.cat([small[1:], small[:1]])
    rollout = rollout._replace(values=values, next_values=after)
    reward = agent._advantages(rollout, 1.0)[0].flatten()
    agent.multiplier = 5.0
    both = torch.stack([reward, agent._advantages(rollout, 1.0)[0].flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.8     # brought to size 1, as rewards are: 0.2


def test_a_rollout_is_learnt_from_no_further_once_the_policy_has_gone_too_far_from_it():
    divergences = {}
    for limit in (0.0, 0.02):
        agent = make(proprio_dim=0, lr=1e-2, epochs=20, kl_limit=limit)
        rollout = lived(agent, proprio_dim=0)
        agent.learn(rollout)
        with torch.no_grad():
            features, _ = agent.net.look(rollout.obs.flatten(0, 1), torch.zeros(STEPS * COUNT, 0), agent.first_state(1))
            now = agent.net.head.log_prob(agent.net.numbers(features), rollout.drawn.flatten(0, 1))
        ratio = (now - rollout.log_prob.flatten()).exp()
        divergences[limit] = float((ratio - 1 - ratio.log()).mean())
    assert divergences[0.02] < 0.25 * divergences[0.0]


@pytest.mark.parametrize("shapes", [True, False])
def test_values_shape_what_is_seen_only_where_they_are_told_to(shapes):
    agent = make(value_shapes=shapes, entropy=0.0, recurrent=4)
    agent.clip = 0.0        # no action is preferred: what moves is moved by the values
    rollout = lived(agent)
    ours, theirs = dict(agent.net.named_parameters()), {name for name, _ in agent.net.value.named_parameters()}
    before = {name: weight.clone() for name, weight in ours.items()}
    agent.learn(rollout._replace(reward=torch.zeros_like(rollout.reward), log_prob=rollout.log_prob + 100.0))
    moved = {name for name, weight in ours.items() if not torch.equal(weight, before[name])}
    assert {f"value.{name}" for name in theirs} <= moved
    assert any(name.startswith("encoder") for name in moved) == shapes


def test_trying_the_policy_changes_nothing_of_what_training_draws():
    agent = make(proprio_dim=0)
    before = agent.random.get_state()
    picture = np.zeros((3, SIDE, SIDE), np.uint8)
    agent.act(picture, explore=False)
    assert torch.equal(before, agent.random.get_state())
    agent.act(picture, explore=True)
    assert not torch.equal(before, agent.random.get_state())


def test_the_last_rollout_of_a_falling_rate_is_still_learnt_from():
    agent = make(proprio_dim=0, lr_steps=2 * STEPS * COUNT)
    rates = []
    for number in range(3):
        agent.learn(lived(agent, number, proprio_dim=0))
        rates.append(agent.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([agent.lr, agent.lr / 2, 0.0])


def test_with_a_multiplier_what_costs_is_done_less():
    """A bandit of one picture: what earns more costs."""
    costs = {}
    for limit in (-1.0, 0.1):
        agent = make(proprio_dim=0, actions="choices", choices=[[0.0, 1.0], [1.0, 0.0]], cost_limit=limit, lr=3e-3,
                     cost_lr=1.0)
        for round_ in range(30):
            rollout = lived(agent, round_, proprio_dim=0, still=True)
            cost = rollout.drawn[..., 0]
            always = torch.ones_like(rollout.ended)
            agent.constrain(float(cost.mean()))
            agent.learn(rollout._replace(reward=cost, cost=cost, terminated=always, ended=always))
        costs[limit] = float(cost.mean())
    assert costs[-1.0] > 0.8 and costs[0.1] < 0.35


def test_the_spread_of_returns_is_that_of_all_seen():
    scale, rewards = ReturnScale(0.5), torch.randn(40, 3)
    ended = torch.rand(40, 3) < 0.1
    for part in (slice(0, 15), slice(15, 40)):
        spread = scale.observe(rewards[part], ended[part])
    running, seen = torch.zeros(3), []
    for reward, over in zip(rewards, ended, strict=True):
        running = 0.5 * running + reward
        seen.append(running)
        running = running * ~over
    assert spread == pytest.approx(float(torch.stack(seen).std(correction=0)), rel=1e-4)


@pytest.mark.parametrize("options, words", [
    ({"actions": "dice"}, "gaussian"), ({"actions": "choices"}, "choices None"),
    ({"bins": 1, "actions": "bins"}, "bins 1"),
    ({"actions": "choices", "choices": [[0.0, 2.0]]}, r"\[-1, 1\]"), ({"recurrent": 4, "horizon": 6}, "multiple"),
    ({"grad_limit": -1.0}, "grad_limit is -1"), ({"grad_limit": 0.0}, "above 0"), ({"gamma": 99.0}, "at most 1"),
    ({"clip": -1.0}, "clip"), ({"imitation": -1.0}, "imitation is -1"), ({"cost_lr": -0.1}, "cost_lr"),
    ({"trace": 2.0}, "trace"), ({"kl_limit": -1.0}, "kl_limit"), ({"entropy": float("nan")}, "entropy is nan"),
    ({"lr": 0.0}, "lr"),
    ({"gamma": 1.0, "cost_limit": 0.0}, "gamma below 1"), ({"hidden_dim": 0}, "hidden_dim"),
    ({"std": 0.0}, "std"), ({"rehearse": -1}, "rehearse is -1"), ({"rehearse": 8}, "imitation 0.0")])
def test_options_that_cannot_be_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        make(**options)


def test_the_simple_encoder_sees_brightness_as_opencv_does():
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    seen = []
    agent = make()
    agent.net.encoder.convolutions.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    agent.net.encoder(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert np.abs((seen[0][0, 0].numpy() + 0.5) * 255 - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).max() < 1


def remembering(seed=0):
    """Demonstrations of what the picture before asked for: bright 0.5, dark -0.5; and their pictures and labels."""
    rng, episodes = np.random.default_rng(seed), []
    memory = EpisodeMemory(500, frame_shape=(SIDE, SIDE, 3), action_dim=ACTIONS, stack=1, extras=("expert",))
    for _ in range(20):
        bright = rng.random(12) < 0.5
        frames = [np.full((SIDE, SIDE, 3), 200 if one else 50, np.uint8) for one in bright]
        labels = [np.full(ACTIONS, 0.0 if t == 0 else 0.5 if bright[t - 1] else -0.5) for t in range(12)]
        memory.begin(frames[0], demo=True, expert=labels[0])
        for t in range(1, 12):
            memory.add(labels[t - 1], 0.0, False, frames[t], expert=labels[t])
        memory.end()
        episodes.append((frames, labels))
    return memory, episodes


def test_a_recurrent_policy_is_cloned_with_its_memory_and_keeps_what_it_learnt_all_along_an_episode():
    errors = {}
    memory, episodes = remembering()
    for recurrent in (0, 16):
        agent = make(proprio_dim=0, recurrent=recurrent, imitation=1.0, lr=3e-3, batch_size=64)
        for _ in range(250):
            agent.update(memory)
        found = []
        for frames, labels in episodes[:5]:
            agent.reset()
            found += [np.abs(agent.act(frame.transpose(2, 0, 1), False) - label).mean()
                      for frame, label in zip(frames, labels, strict=True)][1:]
        errors[recurrent] = float(np.mean(found))
    assert errors[16] < 0.12 < 0.35 < errors[0], errors


def test_nan_names_its_term():
    agent = make(imitation=1.0)
    with torch.no_grad():
        agent.net.value[0].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="value/loss is nan"):
        agent.learn(lived(make(), label=0.3))
