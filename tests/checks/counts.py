"""#Exploration: a combination lock that chance does not open is opened by paying for rarely met images."""

import torch

from models.objectives.counts import Counts

from .check import Check
from .toy import SIDE, batch_of, encoder

STATES, EPISODES, SEEDS = 14, 600, 5


def measure() -> Check:
    """Control: the same learner without the bonus."""
    return Check(_opened(scale=0.1), _opened(scale=0.0), 3.5,
                 what=f"of {SEEDS} locks of {STATES} states opened in {EPISODES} episodes; control: no bonus")


def _opened(scale: float) -> int:
    """How many of the locks are open at the end, by the greedy choice."""
    return sum(_learn(scale, seed) for seed in range(SEEDS))


def _learn(scale: float, seed: int) -> bool:
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    objective = Counts(encoder(), 2, scale=scale, bits=16, hashed="pixels")
    pictures = torch.randint(256, (STATES + 1, 3, SIDE, SIDE), generator=random).to(torch.uint8)
    right = torch.randint(2, (STATES,), generator=random).tolist()      # the choice that leads on; the other, back
    value = torch.zeros(STATES + 1, 2, dtype=torch.float64)
    for _ in range(EPISODES):
        places, choices = [0], []
        while places[-1] < STATES and len(choices) < STATES:
            here = value[places[-1]]
            ties = float(here[0]) == float(here[1]) or torch.rand((), generator=random).item() < 0.2
            choices.append(int(torch.randint(2, (), generator=random)) if ties else int(here.argmax()))
            places.append(places[-1] + 1 if choices[-1] == right[places[-1]] else 0)
        batch = batch_of(pictures[places[:-1]], successor=pictures[places[1:]])
        bonus = objective.bonus(batch, torch.zeros(len(choices), 1), None)[:, 0].tolist()
        objective.loss(batch, torch.zeros(len(choices), 1), None)
        for k in reversed(range(len(choices))):                         # Q-learning, the last step first
            after = 0.0 if places[k + 1] == STATES else 0.95 * value[places[k + 1]].max()
            target = float(places[k + 1] == STATES) + bonus[k] + after
            value[places[k], choices[k]] += 0.5 * (target - value[places[k], choices[k]])
    return value[:STATES].argmax(1).tolist() == right
