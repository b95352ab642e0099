"""DVC puts the tool where the dot is, learning from pictures and reward alone."""

import numpy as np
import pytest
import torch
from test_models_learning import SIDE, STEPS, Dot, planes, success

from models.make import make_agent
from models.rollout import Rollout

COUNT, HORIZON = 16, 32


def rolled(agent, worlds, images):
    """HORIZON steps of each world; episodes of STEPS steps end in time."""
    kept = []
    for t in range(HORIZON):
        obs = torch.from_numpy(np.stack([planes(image) for image in images]))
        choice = agent.choose(obs, torch.zeros(COUNT, 0), torch.zeros(COUNT, 0))
        stepped = [world.step(action) for world, action in zip(worlds, choice.action.numpy(), strict=True)]
        images = [image for image, _ in stepped]
        ended = (t + 1) % STEPS == 0
        after = agent.values(torch.from_numpy(np.stack([planes(image) for image in images])), torch.zeros(COUNT, 0),
                             torch.zeros(COUNT, 0))
        kept.append((obs, choice, torch.tensor([reward for _, reward in stepped]).float(), after, ended))
        if ended:
            images = [world.reset() for world in worlds]
    obs, choices, rewards, afters, ends = zip(*kept, strict=True)
    ended = torch.tensor(ends)[:, None].expand(-1, COUNT)
    blank = torch.zeros(HORIZON, COUNT, 0)
    return Rollout(torch.stack(obs), blank, blank, torch.stack([choice.drawn for choice in choices]),
                   torch.stack([choice.log_prob for choice in choices]), torch.stack(rewards),
                   torch.zeros(HORIZON, COUNT), torch.stack([choice.values for choice in choices]),
                   torch.stack(afters), ended, ended, blank), images


@pytest.mark.parametrize("actions, controls", [("gaussian", [True]), ("bins", [])])
def test_dvc_learns_from_pictures_and_not_from_shuffled_ones(actions, controls):
    shares = {}
    for blind in (False, *controls):
        agent = make_agent("dvc", {"actions": actions, "bins": 5, "horizon": HORIZON, "batch_size": 128, "lr": 1e-3,
                                   "gamma": 0.5, "entropy": 1e-3, "hidden_dim": 64}, image_shape=(3, SIDE, SIDE),
                           action_dim=2, encoder={"name": "simple", "width": 8, "grey": False})
        worlds = [Dot(k, blind) for k in range(COUNT)]
        images = [world.reset() for world in worlds]
        for _ in range(20 if blind else 60):
            rollout, images = rolled(agent, worlds, images)
            agent.learn(rollout)
        shares[blind] = success(agent, blind)
    assert shares[False] > 0.8 and shares.get(True, 0) < 0.3, shares
