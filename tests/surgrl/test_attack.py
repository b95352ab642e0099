"""FGSM on what a policy sees: within its budget, worse than random signs, where there is something to aim at."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from models.make import make_agent
from surgrl.attack import Disturbed
from surgrl.cli import main


class Linear:
    """An agent whose action is tanh of a weighted sum of the picture."""

    def __init__(self):
        self._net = nn.Linear(3 * 4 * 4, 2)
        nn.init.normal_(self._net.weight, generator=torch.Generator().manual_seed(0))

    def policy(self):
        return nn.Sequential(_Float(), self._net, nn.Tanh())

    def act(self, obs, explore, proprio=None):
        with torch.no_grad():
            return self.policy()(torch.as_tensor(obs)[None])[0].numpy()

    def reset(self):
        pass


class _Float(nn.Module):
    def forward(self, images):
        return (images.to(torch.float32) / 255 - 0.5).flatten(1)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize("aim", ["action", None])
@pytest.mark.parametrize("budget", [0, 1, 8])
def test_no_pixel_moves_further_than_the_budget(picture, aim, budget):
    found = Disturbed(Linear(), budget, aim).disturbed(picture)
    moved = np.abs(found.astype(int) - picture)
    assert found.dtype == np.uint8 and moved.max() == budget
    assert (moved == budget).mean() > 0.9           # all but where 0 or 255 is in the way


def test_the_attack_moves_the_action_further_than_random_signs_do(picture):
    agent = Linear()
    clean = agent.act(picture, False)
    moved = {aim: np.mean([np.square(Disturbed(agent, 8, aim, seed).act(picture, False) - clean).sum()
                           for seed in range(10)]) for aim in ("action", None)}
    assert moved["action"] > 4 * moved[None]


@pytest.mark.parametrize("aim", ["action", "value"])
def test_the_same_seed_disturbs_alike_and_learns_nothing(aim):
    agent = make_agent("drqv2", {"hidden_dim": 16}, image_shape=(3, 32, 32), action_dim=2, proprio_dim=3, seed=0,
                       encoder={"latent_dim": 16})
    before = [weight.clone() for weight in agent.encoder.parameters()]
    obs, own = np.random.default_rng(1).integers(0, 256, (3, 32, 32), dtype=np.uint8), np.zeros(3, np.float32)
    first, again = (Disturbed(agent, 4, aim).act(obs, False, own) for _ in range(2))
    assert np.array_equal(first, again) and not np.array_equal(first, agent.act(obs, False, own))
    assert all(weight.grad is None for weight in agent.encoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, agent.encoder.parameters(), strict=True))


def test_the_value_attack_lowers_the_value():
    agent = make_agent("drqv2", {"hidden_dim": 16}, image_shape=(3, 32, 32), action_dim=2, seed=0,
                       encoder={"latent_dim": 16})
    pictures = np.random.default_rng(2).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    lost = {aim: np.mean([_loss_of(agent, Disturbed(agent, 8, aim), image) for image in pictures])
            for aim in ("value", None)}
    assert lost["value"] > 0 and lost["value"] > 3 * abs(lost[None])


def _loss_of(agent, attacked, image):
    clean, hit = torch.as_tensor(image)[None], torch.as_tensor(attacked.disturbed(image))[None]
    with torch.no_grad():
        policy = agent.policy()
        return (attacked._value(clean, None, policy(clean)) - attacked._value(clean, None, policy(hit))).item()


def test_the_command_writes_a_table_and_a_plot_and_refuses_a_bundle(trained, tmp_path, capsys, make_bundle):
    folder = shutil.copytree(trained, tmp_path / "tiny")
    assert main(["attack", str(folder), "--episodes", "1", "--budgets", "0", "4", "--aim", "value",
                 "--randomise", "mild"]) == 0
    assert "4/255" in capsys.readouterr().out and (folder / "attack" / "attack.png").stat().st_size > 1000
    told = json.loads((folder / "attack" / "attack.json").read_text())
    rows = told["rows"]
    assert told["randomise"] == "mild"
    assert [row["budget"] for row in rows] == [0, 4] and rows[0]["attack"] == rows[0]["control"]
    bundle = make_bundle(tmp_path / "bundle").folder
    assert main(["attack", str(bundle)]) == 1 and "no gradients" in capsys.readouterr().err
    assert main(["attack", str(folder), "--budgets", "300"]) == 1
