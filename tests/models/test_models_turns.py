"""Flip and rotate: an action belongs to its picture, in a world that is mirrored or turned as the picture is."""

from itertools import product

import numpy as np
import pytest
import torch

from envs.geometry import rotation_by
from envs.tasks.navigate import Navigate
from envs.tasks.reach import Reach
from envs.tasks.retract import Retract
from models.augments.turn import MIRRORED
from models.make import make_agent, make_augments
from models.memory import EpisodeMemory

SIDE, COUNT = 17, 60
PLANE = [("v_x", "m/s", -0.05, 0.05), ("v_y", "m/s", -0.05, 0.05)]
SIZES = {"batch_size": 16, "feature_dim": 8, "hidden_dim": 16}


def turn_of(name):
    turn, = make_augments([{"name": name, "p": 1.0}], torch.Generator().manual_seed(0))
    return turn


def drawn(place, colour=0):
    """A pixel at (x, y), px: (1, 3, SIDE, SIDE) uint8."""
    image = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)
    image[0, colour, place[1], place[0]] = 255
    return image


def seen(image, colour=0):
    """Where the pixel is, (x, y) px."""
    row, column = divmod(int(image[0, colour].argmax()), SIDE)
    return column, row


@pytest.mark.parametrize("name, turn", [("flip", 1), *product(["rotate"], [1, 2, 3])])
def test_acting_and_turning_commute(name, turn):
    """Turn the picture and act the turned action, or act and turn the picture: the same picture."""
    augment = turn_of(name)
    matrix, params = augment.matrices(PLANE)[turn], torch.tensor([turn])
    wrong = 0
    for place, action in product([(3, 5), (8, 11)], [(1, 0), (0, 1), (-2, 3)]):
        after, _ = augment(drawn((place[0] + action[0], place[1] + action[1])), params)
        at, turned = seen(augment(drawn(place), params)[0]), (matrix @ torch.tensor(action).float()).int().tolist()
        assert torch.equal(after, drawn((at[0] + turned[0], at[1] + turned[1])))
        wrong += not torch.equal(after, drawn((at[0] + action[0], at[1] + action[1])))
    assert wrong >= 3       # with the action as it was it would not be so


def test_mirror_and_quarter_agree_with_the_mechanics_of_vectors_and_rotations():
    """v is a vector; w, a rotation vector, is a pseudo-vector; bending by b is the rotation vector (-b_y, b_x, 0)."""
    rng = np.random.default_rng(0)
    mirror, quarter = np.diag([-1.0, 1.0, 1.0]), np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    names = [f"{kind}_{axis}" for kind, axes in (("v", "xyz"), ("w", "xyz"), ("bend", "xy")) for axis in axes]
    channels = [(name, "", -1.0, 1.0) for name in [*names, "roll"]]
    flipped, turned = turn_of("flip").matrices(channels)[1].numpy(), turn_of("rotate").matrices(channels)[1].numpy()
    for world, matrix in ((mirror, flipped), (quarter, turned)):
        action = rng.uniform(-1, 1, 9)
        told = matrix @ action
        assert np.allclose(told[:3], world @ action[:3])

        def turns(a):
            return [rotation_by(a[3:6]), rotation_by(np.array([-a[7], a[6], 0])), rotation_by(np.array([0, 0, a[8]]))]

        for was, now in zip(turns(action), turns(told), strict=True):
            assert np.allclose(world @ was @ world.T, now)


@pytest.mark.parametrize("task", [Reach(), Retract(), Navigate(), Navigate(roll=True)])
@pytest.mark.parametrize("name", ["flip", "rotate"])
def test_actions_of_every_task_are_known(task, name):
    channels = task.channels
    matrices = turn_of(name).matrices(channels)
    assert torch.allclose(matrices.mT @ matrices, torch.eye(len(channels)))
    assert torch.equal(torch.linalg.matrix_power(matrices[1], len(matrices)), torch.eye(len(channels)))
    for other, *_ in set(channels) - {channel for channel in channels if channel[0][-2:] in ("_x", "_y")}:
        k = [channel[0] for channel in channels].index(other)
        assert matrices[1, k, k] == (MIRRORED[other] if name == "flip" else 1)


@pytest.mark.parametrize("name, channels, words", [
    ("flip", [("jaw", "rad", 0.0, 1.0)], "only of jaw; nothing in it lies in the image's plane"),
    ("rotate", [("insertion", "m/s", -1.0, 1.0), ("roll", "rad/s", -1.0, 1.0)], "only of insertion, roll"),
    ("flip", [], "entries without names"), ("flip", [*PLANE, ("knob", "", -1.0, 1.0)], "entry 'knob'; known"),
    ("flip", [("v_x", "m/s", 0.0, 1.0)], "'v_x' ranges from 0.0 to 1.0"),
    ("rotate", PLANE[:1], "v_x and v_y must both be entries"),
    ("rotate", [PLANE[0], ("v_y", "m/s", -1.0, 1.0)], "with one range around 0")])
def test_actions_without_such_a_meaning_are_refused_by_name(name, channels, words):
    with pytest.raises(ValueError, match=f"augmentation {name}.*{words}"):
        turn_of(name).matrices(channels)


def test_a_vector_across_the_mirror_may_range_unevenly():
    assert turn_of("flip").matrices([PLANE[0], ("v_y", "m/s", 0.0, 1.0)])[1].tolist() == [[-1, 0], [0, 1]]


def make(name="drqv2", augment=("flip",), objectives=(), channels=PLANE, proprio_dim=0, side=SIDE, **options):
    return make_agent(name, {**SIZES, "augment": list(augment), **options}, image_shape=(3, *np.broadcast_to(side, 2)),
                      action_dim=2, encoder={"width": 4, "latent_dim": 8}, channels=channels, objectives=objectives,
                      proprio_dim=proprio_dim)


def lived(episodes=30, length=4):
    """A pixel (red) that goes where it is told, and one (green) that it is to reach; labels, masks."""
    rng = np.random.default_rng(0)
    memory = EpisodeMemory(500, frame_shape=(SIDE, SIDE, 3), action_dim=2, stack=1, nstep=1, extras=("mask", "expert"))

    def moment():
        frame = (drawn(place) + drawn(goal, 1))[0].permute(1, 2, 0).numpy()
        return {"frame": frame, "mask": frame[..., 0] > 0, "expert": (goal - place) / SIDE}

    for _ in range(episodes):
        place, goal = rng.integers(6, SIDE - 6, (2, 2))
        memory.begin(**moment())
        for action in rng.integers(-1, 2, (length, 2)):
            place = place + action
            memory.add(action, 0.0, False, **moment())
    return memory


@pytest.mark.parametrize("augment", [["flip"], ["rotate"], [{"name": "rotate", "p": 1.0}, {"name": "flip", "p": 0.5}]])
def test_all_of_a_batch_is_of_one_turned_world(augment):
    agent = make(augment=augment)
    needs = ("mask", "expert", "original", "successor", "same_episode", "step_reward")
    plain = lived().sample(COUNT, needs)
    batch, _ = agent._augment(lived().sample(COUNT, needs))               # of the same draws
    places, goals, after = ([seen(image[None], colour) for image in images] for images, colour in (
        (batch.obs, 0), (batch.obs, 1), (batch.next_obs, 0)))
    for k in range(COUNT):
        step = torch.tensor(after[k]) - torch.tensor(places[k])
        assert torch.equal(batch.action[k], step.float())
        away = torch.tensor(goals[k]) - torch.tensor(places[k])
        assert torch.allclose(batch.extra["expert"][k] * SIDE, away.float())
    assert torch.equal(batch.extra["mask"], (batch.obs[:, :1] > 0).to(torch.uint8))
    assert torch.equal(batch.extra["successor"], batch.next_obs) and torch.equal(batch.extra["original"], batch.obs)
    wanders = [abs(np.subtract(seen(image[None], 1), goal)).max() for image, goal in
               zip(batch.extra["same_episode"], goals, strict=True)]
    assert max(wanders) == 0                                            # an episode's goal stands still, turned too
    moved = (batch.obs != plain.obs).flatten(1).any(1).float().mean()
    assert moved > 0.05 and torch.equal(batch.extra["step_reward"], plain.extra["step_reward"])
    assert not torch.equal(batch.action, plain.action)


@pytest.mark.parametrize("name", ["drqv2", "sac", "bc"])
def test_agents_learn_alike_with_turns_and_views(name):
    found = []
    for _ in range(2):
        options = {} if name == "bc" else {"views": 2, "strong_augment": ["conv"]}
        agent, memory = make(name, ["rotate", "flip", "shift"], [{"name": "curl"}], **options), lived()
        found.append([agent.update(memory) for _ in range(3)][-1])
    assert found[0] == found[1] and all(np.isfinite(value) for value in found[0].values())


@pytest.mark.parametrize("changes, words", [
    ({"channels": []}, "flip: the action consists of entries without names"),
    ({"proprio_dim": 2}, "flip: proprio tells of the world as it is"),
    ({"augment": ["rotate"], "side": (17, 20)}, "rotate: images are .*squares"),
    ({"augment": ["rotate"], "channels": [("jaw", "rad", 0.0, 1.0)] * 2}, "only of jaw, jaw")])
def test_agents_refuse_turns_that_cannot_be(changes, words):
    with pytest.raises(ValueError, match=words):
        make(**changes)


def test_an_objective_whose_need_nobody_can_turn_is_refused(monkeypatch):
    from models.objectives.curl import Curl
    monkeypatch.setattr(Curl, "needs", ("tomorrow",))
    with pytest.raises(ValueError, match="flip.*'tomorrow'"):
        make(objectives=[{"name": "curl"}])
    make(augment=["shift"], objectives=[{"name": "curl"}])
