"""Learning to see from recordings: every objective that can, weights handed on, resuming, and what is refused."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("av")
pytest.importorskip("rosbags")

from models.learnt import FILE, read_learnt
from models.make import OBJECTIVES, make_agent, make_encoder, read_embedding
from surgrl.config import RecordingsConfig
from surgrl.footage import choose, watch
from surgrl.pretrain import Pretraining, Seen, config_from, pretrain
from surgrl.recorded_actions import at
from surgrl.recordings import Track, find_recordings
from surgrl.run import Run
from surgrl.video_writer import write_video

TINY = ["updates=3", "image.size=32", "agent.batch_size=8", "encoder={width: 4, pool: 2, latent_dim: 16}", "threads=1",
        "measure_every=2", "capacity=500", "recordings.view={eye: left}"]
# Of clips or windows no longer than a tiny film.
OPTIONS = {"tcn": {"near": 2, "far": 4, "share": 1}, "scvrl": {"length": 3, "clips": 4},
           "darla": {"denoise_updates": 1}}
REFUSED = {"dear": "mask", "dbc": "rewards", "counts": "only pays a bonus"}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Four stereo films of a drifting square, both eyes side by side: 20 frames of 2 x 64x64 px at 20 Hz."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for k in range(4):
        write_video(folder / f"film-{k}.mp4", drifting(rng), 20)
    return folder


def drifting(rng, count=20):
    """(H, 2 W, 3) frames: a square that drifts, which the right eye sees 6 px further left."""
    frames, place, speed = [], rng.uniform(10, 40, 2), rng.uniform(-1, 1, 2)
    for k in range(count):
        row, column = (place + k * speed).astype(int).clip(6, 48)
        frame = np.full((64, 128, 3), 40 + k, np.uint8)
        frame[row:row + 12, column:column + 12] = 220
        frame[row:row + 12, 64 + column - 6:64 + column + 6] = 220
        frames.append(frame)
    return frames


def run_of(runs, films, name, *words, resume=False):
    """A finished pretraining of that name."""
    config = config_from("pretrain-tcn", [str(films), *TINY, "recordings.rate=20", f"name={name}", *words])
    run = Run(runs / name)
    run.begin(config)
    pretrain(run, Seen(config, quiet=True))
    return run


def refused(surgrl, tmp_path, *words):
    """What the command says in its one line; it leaves no run behind."""
    done = surgrl("pretrain", "pretrain-tcn", *TINY, "name=none", *words, "--runs", tmp_path / "runs")
    assert done.returncode == 1 and not (tmp_path / "runs" / "none").exists()
    told = done.stderr.splitlines()
    assert told[-1].startswith("surgrl: error: "), done.stderr
    return told[-1]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_learns_from_recordings_or_says_what_they_lack(make_bags, films, surgrl, tmp_path, name):
    options = ", ".join(f"{key}: {value}" for key, value in OPTIONS.get(name, {}).items())
    words = [f"objectives=[{{name: {name}{', ' if options else ''}{options}}}]", "recordings.rate=20"]
    if name in REFUSED:
        assert REFUSED[name] in refused(surgrl, tmp_path, films, *words)
        return
    run = run_of(tmp_path, make_bags(tmp_path), name, *words, "recordings.view={}", "encoder.latent_dim=16")
    learnt = read_learnt(str(run.folder))
    begun = make_encoder(learnt.entry, learnt.image, seed=1).state_dict()
    assert run.finished() and not all(torch.equal(value, begun[key]) for key, value in learnt.state.items())
    with (run.folder / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert np.isfinite(float(last[f"held_out/{name}/total"])) and np.isfinite(float(last[f"{name}/total"]))


def test_two_eyes_in_one_picture_are_told_apart_and_compared(films, tmp_path):
    run = run_of(tmp_path, films, "two", "objectives=[{name: tcn, views: 2, share: 1}]")
    embedding = read_embedding(str(run.folder))
    assert embedding(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 32) and not embedding.unit
    told = RecordingsConfig([str(films)], rate=20, view={"eye": "left"})
    film = next(watch(find_recordings(told.sources), told, 64, two=True))
    lag = [left.mean((0, 2)).argmax() - right.mean((0, 2)).argmax()
           for left, right in zip(film.frames, film.right, strict=True)]
    assert film.frames.shape == film.right.shape == (20, 64, 64, 3) and abs(np.median(lag) - 6) <= 3


def test_pictures_are_taken_at_the_rate_of_the_config_and_prepared_as_a_policy_sees_them(films):
    told = RecordingsConfig([str(films / "film-0.mp4")], rate=10, view={"eye": "left"})
    film = next(watch(find_recordings(told.sources), told, 32, 3))
    assert film.frames.shape == (10, 32, 32, 3) and film.time[1] == pytest.approx(0.1)
    assert film.image.size == (32, 32) and film.image.stack == 3 and film.image.rate == 10
    both = RecordingsConfig(told.sources, rate=10)
    assert next(watch(find_recordings(told.sources), both, 32)).image.crop == (0, 32, 64, 64)     # the middle square


def test_a_resumed_pretraining_ends_as_an_uninterrupted_one(films, tmp_path):
    words = ["updates=6", "objectives=[{name: ted}, {name: curl}]"]
    whole = run_of(tmp_path, films, "whole", *words)
    half = Run(tmp_path / "half")
    half.begin(config_from("pretrain-tcn", [str(films), *TINY, "recordings.rate=20", "name=half", *words]))
    learner = Pretraining(half, Seen(half.pretraining(), quiet=True))
    for _ in range(2):
        learner.agent.update(learner.footage.memory)
        learner.progress.updates += 1
    learner.agent.examine(learner.aside.memory)     # measuring draws from nobody's random numbers
    learner.save()
    pretrain(half, Seen(half.pretraining(), quiet=True))
    one, other = (read_learnt(str(run.folder)).state for run in (whole, half))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_recordings_that_changed_are_told_when_it_goes_on(films, tmp_path, surgrl):
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in films.iterdir():
        (mine / path.name).write_bytes(path.read_bytes())
    run = Run(tmp_path / "runs" / "changed")
    run.begin(config_from("pretrain-tcn", [str(mine), *TINY, "recordings.rate=20"]))
    Pretraining(run, Seen(run.pretraining(), quiet=True)).save()
    for path in mine.iterdir():
        path.write_bytes((films / "film-1.mp4").read_bytes())
    done = surgrl("pretrain", "--resume", run.folder)
    assert done.returncode == 1 and "no longer what it began with" in done.stderr


def test_weights_are_handed_on_frozen_bit_for_bit_or_to_learn_on(make_bags, surgrl, tmp_path):
    bags = make_bags(tmp_path)
    run = run_of(tmp_path, bags, "seen", "recordings.view={}", "objectives=[{name: curl}]")
    learnt = read_learnt(str(run.folder)).state
    for freeze in ("true", "false"):
        done = surgrl("train", "reach-bc", *clone_words(bags), f"name=clone-{freeze}",
                      f"encoder={{init: {run.folder / FILE}, freeze: {freeze}}}", "--runs", tmp_path)
        assert done.returncode == 0, done.stderr
        state = torch.load(tmp_path / f"clone-{freeze}" / "checkpoint.pt", weights_only=True)["agent"]["encoder"]
        same = [torch.equal(value, state[key]) for key, value in learnt.items()]
        assert all(same) if freeze == "true" else not any(same)


def clone_words(bags, *more):
    """Cloning from recordings, without a task."""
    return ["env.id=''", "steps=0", "demos.episodes=0", "demos.updates=4", "objectives=[]", "image.size=32",
            "agent.batch_size=8", "agent.hidden_dim=8", "threads=1", "recordings.rate=20",
            f"recordings.sources=['{bags}']", "recordings.units={v_x: m/s, v_y: m/s}",
            "action={names: [v_y, v_x], units: [m/s, m/s], low: [-0.1, -0.1], high: [0.1, 0.1], frame: eye}", *more]


def test_what_an_encoder_was_learnt_for_must_be_what_it_is_used_for(films, tmp_path):
    run = run_of(tmp_path, films, "seen")
    init = {"init": str(run.folder)}
    shape = {"image_shape": (3, 32, 32), "action_dim": 1}
    assert not any(part.requires_grad for part in make_encoder({**init, "freeze": True}, (3, 32, 32)).parameters())
    for entry, image, told in ((init, (9, 32, 32), "image.stack to 1"), (init, (3, 64, 64), "image.size to 32"),
                               ({**init, "width": 8}, (3, 32, 32), "leave width out"),
                               ({"init": "nowhere"}, (3, 32, 32), "no such file")):
        with pytest.raises(ValueError, match=told):
            make_encoder(entry, image)
    with pytest.raises(ValueError, match="nothing learns"):
        make_agent("bc", {}, objectives=[{"name": "curl"}], encoder={**init, "freeze": True}, **shape)
    (tmp_path / "broken.pt").write_bytes((run.folder / FILE).read_bytes()[:500])
    with pytest.raises(ValueError, match="damaged"):
        make_encoder({"init": str(tmp_path / "broken.pt")}, (3, 32, 32))
    with pytest.raises(ValueError, match="learnt no distance"):
        read_embedding(str(run_of(tmp_path, films, "curl", "objectives=[{name: curl}]").folder))


@pytest.mark.parametrize(("words", "told"), [
    (["objectives=[{name: inverse}]"], "tells no actions, and objective 'inverse' needs them"),
    (["objectives=[{name: tcn, views: 2}]", "recordings.view={}"], "name the second"),
    (["objectives=[]"], "name at least one"), (["capacity=100", "recordings.rate=1000"], "raise its capacity"),
    (["recordings.rate=0"], "recordings.rate is 0"), (["recordings.view={lens: 2}"], "recordings.view.lens"),
    (["recordings.held_out=1"], "below 1"), (["agent={name: bc}"], "agent.name is 'bc'"),
    (["recordings.units=[3]"], "keys with values"), (["env.id=x"], "unknown key env"),
    (["recordings.view={crop: '0,0,99,9'}"], "leaves the 128x64 picture")])
def test_a_users_mistake_is_one_line(films, surgrl, tmp_path, words, told):
    said = surgrl("pretrain", "pretrain-tcn", films, *TINY, "name=none", *words, "--runs", tmp_path)
    assert said.returncode == 1 and told in said.stderr.splitlines()[-1], said.stderr
    assert said.stderr.splitlines()[-1].startswith("surgrl: error: ")


def test_what_names_no_recording_or_no_config_is_refused(films, surgrl, tmp_path):
    assert "names no recording" in refused(surgrl, tmp_path, tmp_path / "none.mp4")
    assert "which recordings?" in refused(surgrl, tmp_path)
    assert "a list of text" in refused(surgrl, tmp_path, "recordings.sources=[3]")
    assert "which config?" in surgrl("pretrain").stderr
    assert "config of `surgrl pretrain`" in surgrl("train", "pretrain-tcn").stderr
    (tmp_path / "film.mp4").write_bytes((films / "film-0.mp4").read_bytes()[:800])
    assert "film.mp4" in refused(surgrl, tmp_path, tmp_path / "film.mp4")


def test_recordings_left_aside_are_drawn_by_the_seed_and_a_single_one_is_learnt_from(films):
    told = RecordingsConfig([str(films)])
    parts = [choose(told, seed) for seed in range(6)]
    assert all(len(learnt) == 3 and len(aside) == 1 for learnt, aside in parts)
    assert len({aside[0] for _, aside in parts}) > 1 and choose(told, 3) == parts[3]
    assert [len(part) for part in choose(RecordingsConfig([str(films)], most=1), 0)] == [1, 0]


def test_an_action_is_what_was_told_within_the_step_or_else_last():
    track = Track(("v",), ("m/s",), np.array([0.0, 0.04, 0.06, 0.1]), np.array([[1.0], [2.0], [4.0], [8.0]]))
    assert at(track, np.array([0.0, 0.05, 0.1, 0.15, 0.2]), 20)[:, 0].tolist() == [1.5, 4.0, 8.0, 8.0, 8.0]


def test_it_needs_no_simulator(films, tmp_path):
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in ("gymnasium", "pybullet"))
    words = ["pretrain", "pretrain-tcn", str(films), *TINY, "updates=1", "--runs", str(tmp_path)]
    code = f"import sys; {blocked}; from surgrl.cli import main; sys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-c", code],
                          cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "encoder: {init:" in done.stdout and (tmp_path / "pretrain-tcn" / FILE).is_file()
