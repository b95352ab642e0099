"""Scores: intervals, baselines, and that the policy of a run and of its bundle see the same."""

import json

import numpy as np
import pytest

from surgrl.cli import main
from surgrl.config_file import config_of, load_config
from surgrl.evaluate import ExpertPolicy, RandomPolicy, evaluate, gap_of, score_of, seen_seeds
from surgrl.intervals import quantile
from surgrl.policy.errors import UserError
from surgrl.policy.image import prepare
from surgrl.run import Progress, Run
from surgrl.world import FIRST_UNSEEN_SEED, training_world


@pytest.fixture(scope="module")
def world():
    made = training_world(config_of({"name": "a", "image": {"render": 60, "size": 60, "proprio": True}}))
    yield made
    made.close()


def test_the_interval_is_wilsons():
    score = score_of([True] * 9 + [False], [10] * 10, [0.004] * 10)
    assert (score.success, round(score.low, 3), round(score.high, 3)) == (0.9, 0.596, 0.982)
    assert score_of([True] * 50, [1] * 50, [0.0] * 50).high == 1.0


def test_students_interval_is_students_however_many_values_there_are():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 5, 15, 16, 17, 30, 100, 10_000):
        assert quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_the_gaps_interval_is_newcombes():
    # Newcombe 1998, Stat Med 17:873, table II, method 10: 56/70 - 48/80 is 0.2 (0.0524 to 0.3339)
    scores = [score_of([True] * k + [False] * (n - k), [1] * n, [0.0] * n) for k, n in ((56, 70), (48, 80))]
    assert np.round(gap_of(*scores), 3).tolist() == [0.2, 0.052, 0.334]


def test_what_a_task_does_not_tell_is_null_in_the_file(tmp_path):
    assert main(["eval", "retract", "--episodes", "1", "--no-baselines", "--json", str(tmp_path / "a.json")]) == 0
    told = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert told["policy"]["distance"] is None and told["policy"]["episodes"] == 1


def test_seen_seeds_are_no_more_than_differ(tmp_path, monkeypatch):
    run = Run(tmp_path / "few")
    run.begin(load_config("reach-demo", ["name=few", "seed=3", "env.seeds=2"]))
    monkeypatch.setattr(Run, "progress", lambda _: Progress(episodes=9))
    assert list(seen_seeds(str(run.folder), 2)) == [3000000, 3000001]
    with pytest.raises(UserError, match="lived 2 different episodes, --episodes is 3"):
        seen_seeds(str(run.folder), 3)


def test_the_expert_reaches_and_a_random_policy_does_not(world):
    seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + 5)
    assert evaluate(world, ExpertPolicy(), seeds).success == 1.0
    assert evaluate(world, RandomPolicy(), seeds).success <= 0.2


def test_a_frame_is_prepared_by_the_robots_function(world):
    moment = world.reset(seed=1)
    assert moment.frame.shape == (60, 60, 3) and moment.proprio.shape == (8,)
    wide = np.repeat(np.repeat(moment.frame, 8, axis=0), 8, axis=1)          # the same picture, 480 px high
    wide = np.pad(wide, ((0, 0), (80, 80), (0, 0)))
    assert np.array_equal(prepare(wide, world.image), moment.frame)


def test_the_mask_is_the_size_of_the_frame(world):
    moment = world.reset(seed=1)
    mask = world.mask(moment)
    assert mask.shape == (60, 60) and set(np.unique(mask)) == {0, 1}
