"""PPO beside objectives: what a rollout feeds them is what was lived, and weight 0 is PPO alone."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from models.make import OBJECTIVES, make_agent
from models.objectives.curl import Curl
from models.replay import Replay
from models.rollout import Rollout

SIDE, ACTIONS, STEPS, COUNT, STACK, LONG = 20, 2, 8, 3, 3, 5       # an episode ends after LONG steps
NEEDS = ("mask", "expert", "original", "successor", "step_reward", "same_episode")


def make(*objectives, seed=0, **options):
    options = {"hidden_dim": 16, "horizon": STEPS, "batch_size": 12, "epochs": 2, **options}
    return make_agent("dvc", options, objectives=objectives, image_shape=(3 * STACK, SIDE, SIDE), action_dim=ACTIONS,
                      proprio_dim=2, encoder={"width": 4, "pool": 2, "latent_dim": 24}, seed=seed)


class World:
    """Frames that tell environment, episode and step by their first pixels; masks and labels of the same."""

    def __init__(self, n, begun):
        self.n, self.episode, self.t = n, 0, begun

    def frame(self, t=None):
        noise = np.random.default_rng([self.n, self.episode, self.t if t is None else t])
        frame = noise.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        frame[0, 0] = self.n, self.episode, self.t if t is None else t
        return frame

    def stack(self):
        return [self.frame(max(0, self.t - k)) for k in reversed(range(STACK))]


def planes(frames):
    return torch.from_numpy(np.concatenate(frames, axis=2)).permute(2, 0, 1)


def mask_of(frame):
    return torch.from_numpy((frame[..., 1] > 100).astype(np.uint8))


def filmed(agent, seed=0):
    """A rollout of COUNT worlds, begun anywhere in an episode."""
    random = torch.Generator().manual_seed(seed)
    worlds, rows = [World(n, begun=n) for n in range(COUNT)], []
    for _ in range(STEPS):
        stacks = [world.stack() for world in worlds]
        obs = torch.stack([planes(stack) for stack in stacks])
        proprio = torch.tensor([[world.t, world.episode] for world in worlds]).float()
        choice = agent.choose(obs, proprio, agent.first_state(COUNT))
        row = {"obs": obs, "proprio": proprio, "state": agent.first_state(COUNT), "drawn": choice.drawn,
               "log_prob": choice.log_prob, "reward": torch.tensor([world.t + 10.0 * world.n for world in worlds]),
               "cost": torch.zeros(COUNT), "values": choice.values,
               "next_values": torch.randn(COUNT, 2, generator=random),
               "expert": torch.tensor([[world.t / 9, world.n / 9] for world in worlds]),
               "mask": torch.stack([torch.stack([mask_of(frame) for frame in stack]) for stack in stacks])}
        for world in worlds:
            world.t += 1
        row["next_frame"] = torch.stack([torch.from_numpy(world.frame()) for world in worlds])
        row["next_mask"] = torch.stack([mask_of(world.frame()) for world in worlds])
        row["next_proprio"] = torch.tensor([[world.t, world.episode] for world in worlds]).float()
        row["ended"] = torch.tensor([world.t == LONG for world in worlds])
        row["terminated"] = row["ended"] & torch.tensor([world.n == 1 for world in worlds])
        for world in worlds:
            if world.t == LONG:
                world.episode, world.t = world.episode + 1, 0
        rows.append(row)
    return Rollout(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})


def named(agent):
    return {name: value.clone() for name, value in agent.net.state_dict().items()}


def same(one, two):
    return all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize("drac", [None, ["conv"]])
def test_what_an_objective_keeps_from_policy_and_values_drac_keeps_from_them_too(drac):
    agent = make({"name": "darla", "denoise_updates": 0, "vae_updates": 1}, drac=drac)
    agent.objectives["darla"].updates += 1      # from now on nothing shapes the encoder
    before = [weight.detach().clone() for weight in agent.encoder.parameters()]
    agent.learn(filmed(agent))
    assert all(torch.equal(now, then) for now, then in zip(agent.encoder.parameters(), before, strict=True))


def test_what_objectives_are_fed_is_what_was_lived():
    agent = make()
    rollout = filmed(agent)
    action = agent.net.head.action(rollout.drawn.flatten(0, 1)).view(STEPS, COUNT, ACTIONS)
    replay = Replay(rollout, action, NEEDS, gamma=0.9, seed=0)
    times, which = (part.flatten() for part in torch.meshgrid(torch.arange(STEPS), torch.arange(COUNT), indexing="ij"))
    batch = replay.at(times[None], which)
    assert torch.equal(batch.obs, rollout.obs[times, which]) and torch.equal(batch.extra["original"], batch.obs)
    assert torch.equal(batch.extra["mask"], rollout.mask[times, which])
    assert torch.equal(batch.extra["expert"], rollout.expert[times, which])
    assert torch.equal(batch.proprio, rollout.proprio[times, which])
    assert torch.equal(batch.next_proprio, rollout.next_proprio[times, which])
    assert torch.equal(batch.action, action[times, which])
    assert torch.equal(batch.reward[:, 0], rollout.reward[times, which])
    assert torch.equal(batch.extra["step_reward"], batch.reward)
    assert torch.allclose(batch.discount[:, 0], 0.9 * ~rollout.terminated[times, which])
    for k, (t, n) in enumerate(zip(times.tolist(), which.tolist(), strict=True)):
        going_on = t + 1 < STEPS and not rollout.ended[t, n]
        after = rollout.obs[t + 1, n] if going_on else torch.cat(
            [rollout.obs[t, n, 3:], rollout.next_frame[t, n].permute(2, 0, 1)])
        assert torch.equal(batch.next_obs[k], after) and torch.equal(batch.extra["successor"][k], after)
        other = batch.extra["same_episode"][k, -3:, 0, 0].tolist()
        assert other[:2] == rollout.obs[t, n, -3:-1, 0, 0].tolist()     # the same environment and episode


def test_a_step_may_lead_far_away_within_its_episode_only():
    rollout = filmed(make())
    replay = Replay(rollout, torch.zeros(STEPS, COUNT, ACTIONS), ("same_episode",), gamma=0.9, seed=1)
    far = [abs(int(other[-1, 0, 0]) - int(obs[-1, 0, 0])) for obs, other in
           (lambda batch: zip(batch.obs, batch.extra["same_episode"], strict=True))(
               replay.at(torch.full((1, 200), 2), torch.zeros(200, dtype=torch.long)))]
    assert set(far) == {2, 3}           # of the frames 0..5 those more than one step from 2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weight_zero_is_ppo_alone_bit_for_bit_and_weight_one_is_not(name):
    found = []
    for objectives in ((), ({"name": name, "weight": 0},), ({"name": name},)):
        agent = make(*objectives)
        for k in range(2):
            metrics = agent.learn(filmed(agent, k))
        found.append(named(agent))
    assert same(found[0], found[1]) and not same(found[0], found[2])
    assert np.isfinite(metrics[f"{name}/total"]) and {"policy/loss", "value/loss"} <= set(metrics)


def test_two_objectives_at_once_learn_repeat_and_go_on_from_a_file():
    chosen = {"name": "dear", "weight": 0.5}, {"name": "curl"}
    first, second, third = (make(*chosen, imitation=0.5, seed=seed) for seed in (0, 0, 7))
    before = [weight.clone() for weight in first.objectives.parameters()]
    assert first.learn(filmed(first)) == second.learn(filmed(second))
    assert all(not torch.equal(*pair) for pair in zip(before, first.objectives.parameters(), strict=True))
    for agent in (first, third):        # returns under way are forgotten: after a file, episodes begin anew
        agent.load_state_dict(deepcopy(second.state_dict()))     # Adam would share its moments
    assert first.learn(filmed(first, 1)) == third.learn(filmed(third, 1)) and same(named(first), named(third))
    assert first.needs == ("mask", "original", "expert")


def test_objectives_shape_the_encoder_by_demonstrations_too(make_memory):
    agents = make(imitation=1.0), make({"name": "curl"}, imitation=1.0)
    found = []
    for agent in agents:
        memory = make_memory(proprio_dim=2)
        metrics = agent.update(memory)
        found.append(named(agent))
    assert not same(*found) and np.isfinite(metrics["curl/loss"]) and metrics["imitation/error"] > 0


def test_what_was_cloned_is_not_unlearnt_where_it_is_rehearsed(make_memory):
    errors = []
    for rehearse in (0, 16):
        agent, memory = make(imitation=1.0, rehearse=rehearse, lr=3e-3), make_memory(proprio_dim=2)
        for _ in range(400):
            cloned = agent.update(memory)["imitation/error"]
        for k in range(20):
            metrics = agent.learn(filmed(agent, k), memory)
        errors.append(agent._cloned(memory.sample(64, {"expert": None}))[1].item())
        assert ("rehearsal/loss" in metrics) == bool(rehearse)
    assert cloned < errors[1] < 0.6 * errors[0], (cloned, errors)


def test_a_shield_keeps_ppo_out_of_what_is_shielded():
    for isolate in (True, False):
        agent = make({"name": "dear", "weight": 1e-12, "isolate": isolate}, epochs=1, batch_size=STEPS * COUNT)
        agent.learn(filmed(agent))
        world, own = (agent.net.encoder.projection.weight.grad.abs().sum(1) > 1e-8).chunk(2)
        assert world.any() and own.any() == (not isolate)


def test_a_bonus_is_earned_beside_the_reward(monkeypatch):
    targets = []
    for bonus in (0.0, 3.0):
        agent = make({"name": "curl", "weight": 1e-9}, gamma=0.5)
        if bonus:
            monkeypatch.setattr(Curl, "bonus", lambda self, batch, z, encode: torch.full((len(z), 1), 3.0))
        asked, advantages = [], agent._advantages
        monkeypatch.setattr(agent, "_advantages", lambda rollout, scale, asked=asked, advantages=advantages:
                            asked.append(rollout.reward) or advantages(rollout, scale))
        rollout = filmed(agent)
        metrics = agent.learn(rollout)
        targets.append(asked[0])
        assert metrics["rollout/reward"] == pytest.approx(rollout.reward.mean().item())     # what was earned outside
    assert torch.allclose(targets[1], targets[0] + 3)


def test_a_need_that_no_rollout_can_meet_is_refused_at_start(monkeypatch):
    monkeypatch.setattr(Curl, "needs", ("view2",))
    with pytest.raises(ValueError, match="dvc: a rollout of 8 steps cannot give 'view2'.*take agent drqv2, sac or bc"):
        make({"name": "curl"})
    make({"name": "curl", "weight": 0})


def test_a_need_for_longer_steps_than_a_rollout_has_room_for_is_refused(monkeypatch):
    monkeypatch.setattr(Curl, "needs", ("original", "sequence:900"))
    with pytest.raises(ValueError, match="cannot give 'sequence:900'"):
        make({"name": "curl"})
