"""The reward for looking like a demonstration: at the demonstration's own moments, in a config; what is refused."""

import argparse
import csv
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from models.learnt import FILE
from surgrl.config import LikenessConfig, PretrainConfig
from surgrl.config_file import built, load_config
from surgrl.files import atomic_file
from surgrl.likeness import Likeness, points_of
from surgrl.policy.errors import UserError
from surgrl.policy.image import prepare, stacked
from surgrl.policy.spec import ImageSpec
from surgrl.pretrain import learnt_by, make_observer
from surgrl.run import Progress
from surgrl.video_writer import write_video
from surgrl.world import make_env, training_world

SIDE = 48
IMAGE = ImageSpec("endoscope_left", SIDE, SIDE, (0, 0, SIDE, SIDE), (SIDE, SIDE), 1, 30)


@pytest.fixture(scope="module")
def env():
    """Reach, seen small."""
    made = make_env("surgrl/Reach-v0", image_size=(SIDE, SIDE))
    yield made
    made.close()


@pytest.fixture(scope="module")
def shown(env, tmp_path_factory):
    """An embedding with random weights, and a film of the expert: the encoder's file, the film's, its frames."""
    folder = tmp_path_factory.mktemp("shown")
    config = built(PretrainConfig, {"name": "seen", "image": {"size": 32}, "encoder": {"width": 4, "latent_dim": 16},
                        "objectives": [{"name": "tcn"}]})
    with atomic_file(folder / FILE) as path:
        path.write_bytes(learnt_by(make_observer(config, None), config, Progress(), {}).packed())
    obs, _ = env.reset(seed=1)
    frames, over = [obs["image"]], False
    while not over:
        obs, _, terminated, truncated, _ = env.step(env.unwrapped.expert())
        frames.append(obs["image"])
        over = terminated or truncated
    write_video(folder / "film.mp4", frames, 30)
    return folder / FILE, folder / "film.mp4", frames


def told(shown, **more):
    """A config of the reward."""
    return LikenessConfig(**{"encoder": str(shown[0]), "sources": [str(shown[1])], **more})


def test_a_demonstration_is_most_alike_at_its_end_and_by_one_less_at_its_start(env, shown):
    judge = Likeness(env, told(shown, beta=0.0), IMAGE)
    film = judge.shown[0]
    assert len(film) == len(shown[2])
    assert judge.likeness(film[-1], 0) == 0 and judge.likeness(film[0], 0) == pytest.approx(-1, rel=1e-5)
    timed = Likeness(env, told(shown, against="time", beta=0.0), IMAGE)
    assert all(timed.likeness(point, step) == 0 for step, point in enumerate(film))
    assert timed.likeness(film[-1], len(film) + 5) == 0     # it ends, and stays there
    rooted = Likeness(env, told(shown, alpha=0.0, beta=2.0, gamma=0.25), IMAGE)
    assert rooted.likeness(film[-1], 0) == pytest.approx(-1)


def test_the_term_is_of_the_picture_that_the_step_led_to(env, shown):
    judge = Likeness(env, told(shown), IMAGE)
    judge.reset(seed=1)
    obs, reward, _, _, info = judge.step(env.unwrapped.expert())
    point = points_of(judge.embedding, [stacked([prepare(obs["image"], judge.image)])])[0]
    assert info["reward_terms"]["likeness"] == pytest.approx(judge.likeness(point, 1), rel=1e-5)
    assert reward == pytest.approx(sum(info["reward_terms"].values()))


def test_a_config_can_make_it_the_only_reward(shown):
    words = ["env.reward={distance: 0, success: 0}", f"image.render={SIDE}", "image.size=32",
             f"env.likeness={{encoder: {shown[0]}, sources: ['{shown[1]}']}}"]
    world = training_world(load_config("reach-demo", words))
    world.reset(seed=1)
    moment = world.step(world.expert())
    assert moment.reward == pytest.approx(moment.info["reward_terms"]["likeness"]) and moment.reward < 0
    world.close()


def test_an_agent_is_trained_on_it(shown, surgrl, tmp_path):
    done = surgrl("train", "reach-demo", "name=like", "threads=1", f"image.render={SIDE}", "image.size=32",
                  "memory.capacity=1000", "demos.episodes=1", "demos.updates=50", "steps=6", "eval.episodes=1",
                  "agent.batch_size=8", "agent.hidden_dim=8", "agent.imitation=0", "objectives=[]",
                  "encoder={width: 4, latent_dim: 16}", "env.options.max_episode_steps=8",
                  "env.reward={distance: 0, success: 0}",
                  f"env.likeness={{encoder: {shown[0]}, sources: ['{shown[1]}']}}", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "like" / "metrics.csv").open() as file:
        assert all(float(row["batch/reward"]) < 0 for row in csv.DictReader(file))


@pytest.mark.parametrize(("more", "said"), [
    ({"encoder": "nowhere"}, "nowhere: no such file"), ({"sources": []}, "needs demonstrations"),
    ({"against": "middle"}, "allowed: end, time"), ({"sources": ["nowhere.mp4"]}, "names no recording")])
def test_what_is_not_there_is_told(env, shown, more, said):
    with pytest.raises(UserError, match=said):
        Likeness(env, told(shown, **more), IMAGE)


@pytest.mark.slow
def test_the_reward_rises_on_an_experts_unseen_episodes_and_not_on_random_ones(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    benchmark = import_module("pretraining")
    args = argparse.Namespace(out=tmp_path, films=60, updates=300)
    run = benchmark.pretrained(args, "plain")
    rows = {tuple(cells[:2]): [float(cell) for cell in cells[2:]] for cells in (
        [cell.strip() for cell in row.strip("| ").split("|")] for row in benchmark.reward_rows(
            tmp_path / "films-plain", run, (60,)))}
    expert, random, progress = rows["TCN", "60"]
    control = rows["untrained", "60"]
    assert expert > 0.85 > control[0] and abs(random) < 0.3 and progress > control[2] + 0.1
    assert np.isfinite(control).all()
