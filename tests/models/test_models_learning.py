"""Put the tool where the dot is: learnt from images by value and from labels, not from shuffled pixels."""

import numpy as np
import pytest

from models.make import make_agent
from models.memory import EpisodeMemory

SIDE, STEPS = 36, 4     # px, steps of an episode
BEGIN = 150             # steps before the first update
SIZES = {"batch_size": 64, "feature_dim": 32, "hidden_dim": 128}
VALUE = {**SIZES, "tau": 0.05, "explore_steps": BEGIN}
DRQV2 = {**VALUE, "std_start": 0.6, "std_end": 0.2, "std_steps": 800}


class Dot:
    """Tool (green) and dot (red) in [-1, 1]^2; the action moves the tool, the reward is the way made good."""

    def __init__(self, seed, blind=False):
        self.rng, self.blind = np.random.default_rng(seed), blind

    def reset(self):
        self.tool, self.dot = self.rng.uniform(-0.8, 0.8, (2, 2))
        return self.image()

    def step(self, action):
        before = self.distance()
        self.tool = np.clip(self.tool + 0.6 * action, -1, 1)
        return self.image(), 4 * (before - self.distance())

    def distance(self):
        return float(np.linalg.norm(self.tool - self.dot))

    def expert(self):
        return np.clip((self.dot - self.tool) / 0.6, -1, 1)

    def image(self):
        """(SIDE, SIDE, 3) uint8; a blind one has the same pixels in any order."""
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        for place, colour in ((self.dot, 0), (self.tool, 1)):
            y, x = np.round((place + 1) / 2 * (SIDE - 6)).astype(int)
            image[y:y + 6, x:x + 6, colour] = 255
        return self.rng.permutation(image.reshape(-1, 3)).reshape(image.shape) if self.blind else image


def planes(image):
    return image.transpose(2, 0, 1)


def success(agent, blind, episodes=100):
    """Share of episodes that end with the tool within 0.25 of the dot."""
    world, near = Dot(99, blind), 0
    for _ in range(episodes):
        image = world.reset()
        for _ in range(STEPS):
            image, _ = world.step(agent.act(planes(image), False))
        near += world.distance() < 0.25
    return near / episodes


def train(name, steps, blind, **options):
    """An agent that lived and learnt for `steps`, every step labelled by the expert."""
    agent = make_agent(name, options, image_shape=(3, SIDE, SIDE), action_dim=2,
                       encoder={"width": 8}, seed=0)
    memory = EpisodeMemory(2000, frame_shape=(SIDE, SIDE, 3), action_dim=2, stack=1, nstep=1, gamma=0.5,
                           extras=("expert",))
    world = Dot(0, blind)
    for step in range(steps):
        if step % STEPS == 0:
            image = world.reset()
            memory.begin(image, expert=world.expert())
        action = agent.act(planes(image), True)
        image, reward = world.step(action)
        memory.add(action, reward, False, image, expert=world.expert())
        if step >= BEGIN:
            agent.update(memory)
    return agent


CASES = {"drqv2_by_value": ("drqv2", 1500, {**DRQV2, "lr": 2e-3}),
         "drqv2_by_imitation": ("drqv2", 800, {**DRQV2, "lr": 1e-3, "imitation": 1.0, "q_weight": 0.0}),
         "sac_by_value": ("sac", 1500, {**VALUE, "views": 1, "lr": 2e-3}),
         "bc_by_labels": ("bc", 800, {**SIZES, "lr": 1e-3, "std": 0.3})}


@pytest.mark.parametrize("case", CASES)
def test_agent_finds_the_dot_in_images(case):
    name, steps, options = CASES[case]
    assert success(train(name, steps, False, **options), False) >= 0.75


@pytest.mark.parametrize("case", ["drqv2_by_value", "bc_by_labels"])
def test_agent_does_not_find_the_dot_in_shuffled_images(case):
    name, steps, options = CASES[case]
    assert success(train(name, steps, True, **options), True) <= 0.25
