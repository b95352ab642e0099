"""Training as a user runs it: from the command line, interrupted, resumed, refused."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from envs.make import reach
from surgrl.config_file import load_config
from surgrl.export import export
from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.errors import UserError
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.spec import ProprioSpec
from surgrl.run import Progress, Run, Table
from surgrl.train import make_parts, train

TINY = ["threads=1", "image.render=32", "image.size=32", "memory.capacity=2000", "demos.episodes=2", "demos.updates=40",
        "steps=30", "eval.episodes=1", "agent.batch_size=16", "agent.hidden_dim=32", "encoder={latent_dim: 16}"]
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The run's bundle, scored on one episode."""
    return export(trained, tmp_path_factory.mktemp("exported") / "bundle", episodes=1)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_finished_run_holds_what_it_promises(trained):
    names = {path.name for path in trained.iterdir()}
    assert names == {"config.yaml", "eval.csv", "checkpoint.pt", "tensorboard", "metrics.csv"}
    assert rows(trained / "eval.csv")[-1]["update"] == "50"
    assert Run(trained).finished()


def test_a_finished_run_is_not_trained_again_but_evaluated(surgrl, trained):
    again = surgrl("train", "--resume", trained)
    assert again.returncode == 0 and "finished" in again.stdout
    said = surgrl("eval", trained, "--episodes", 1)
    assert said.returncode == 0 and all(word in said.stdout for word in ("policy", "random", "expert"))


def test_a_policy_that_learnt_on_augmented_pictures_is_exported_and_acts_on_whole_ones(surgrl, tmp_path):
    words = [*TINY, "demos.updates=4", "steps=4", "env.options.max_episode_steps=20", "objectives=[{name: dear}]",
             "agent.imitation=1", "agent.augment=[crop, {name: flip, p: 0.5}, rotate, {name: cutout, most: 0.2}]",
             "agent.strong_augment=[overlay]"]
    done = surgrl("train", "reach-demo", "name=augmented", *words, "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = export(tmp_path / "augmented", tmp_path / "bundle")
    assert bundle.image.size == (32, 32) and surgrl("check", bundle.folder).returncode == 0
    action = PolicyRuntime(bundle).act_normalised(np.zeros((480, 640, 3), np.uint8))
    assert action.shape == (3,) and np.isfinite(action).all()


@pytest.mark.parametrize("words, told", [
    (["image.proprio=true", "agent.augment=[flip]"], "flip: proprio tells of the world as it is"),
    (["agent.augment=[blur]"], "augmentation 'blur' is unknown; there are: shift"),
    (["agent.strong_augment=[flip]"], "strong_augment ['flip'] moves pixels"),
    (["agent.augment=flip"], "augment is 'flip'; it must be of type list"),
    (["device=cuda"] if not torch.cuda.is_available() else ["device=nowhere"], "cannot be used"),
    (["encoder={pool: 0}"], "encoder pool is 0"), (["agent.demo_share=1.5"], "demo_share is 1.5")])
def test_augmentations_that_cannot_be_leave_no_run_behind(surgrl, tmp_path, words, told):
    refused = surgrl("train", "reach-demo", "name=none", *TINY, *words, "--runs", tmp_path)
    assert refused.returncode == 1 and told in refused.stderr and "Traceback" not in refused.stderr
    assert not (tmp_path / "none").exists()


def test_eval_tells_the_gap_and_tries_a_level_held_out(surgrl, trained, exported, tmp_path):
    said = surgrl("eval", trained, "--episodes", 1, "--seeds-from", "both", "--randomise", "test-full",
                  "--no-baselines", "--json", tmp_path / "scores.json")
    assert said.returncode == 0 and "gap" in said.stdout, said.stderr
    found = json.loads((tmp_path / "scores.json").read_text())
    assert set(found) == {"policy", "seen", "gap"} and found["gap"]["low"] <= found["gap"]["gap"]
    assert surgrl("eval", trained, "--episodes", 1, "--seeds-from", "training").stdout.startswith("seen")
    for words, told in ((["--randomise", "test-ful"], "test-full"), (["--seeds-from", "both", "--seed", 3], "--seed 3"),
                        (["--seeds-from", "both", "--episodes", 900], "no more than it lived")):
        refused = surgrl("eval", trained, *words)
        assert refused.returncode == 1 and told in refused.stderr, refused.stderr
    assert surgrl("eval", exported.folder, "--episodes", 1, "--no-baselines", "--randomise",
                  "test-mild").returncode == 0
    assert "only a run's folder" in surgrl("eval", exported.folder, "--seeds-from", "both").stderr


def test_the_exported_policy_acts_as_the_trained_one_and_evaluates_alone(surgrl, exported):
    assert exported.origin["scores"]["episodes"] == 1 and exported.origin["config"]["name"] == "tiny"
    card = (exported.folder / "CARD.md").read_text()
    told = ("2 episodes of the scripted expert", "30 steps of the agent's own", "on 1 seeds")
    assert all(words in card for words in told)
    read = PolicyBundle.load(exported.folder)
    assert read.image.crop == (0, 80, 480, 480) and read.profile() is not None
    said = surgrl("check", exported.folder)
    assert said.returncode == 0 and "acts as exported" in said.stdout
    assert surgrl("eval", exported.folder, "--episodes", 1, "--no-baselines").returncode == 0


def test_a_policy_that_reads_a_flexible_scope_trains_exports_and_runs(surgrl, tmp_path):
    done = surgrl("train", "reach-demo", "name=scope", *TINY, "env.id=surgrl/ColonNavigate-v0", "image.proprio=true",
                  "env.options={roll: true, max_episode_steps: 40}", "objectives=[]",
                  "demos.episodes=1", "demos.updates=10", "steps=10", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = export(tmp_path / "scope", tmp_path / "bundle", episodes=1)
    assert bundle.proprio == ProprioSpec(("bend_x", "bend_y", "inserted", "roll"), "colonoscope")
    said = surgrl("check", tmp_path / "bundle")
    assert said.returncode == 0 and "proprio bend_x, bend_y, inserted, roll" in said.stdout
    action = PolicyRuntime(bundle).act(np.zeros((480, 640, 3), np.uint8), np.array([0.1, -0.1, 0.3, 0.0]))
    assert action.shape == (4,) and np.isfinite(action).all()
    assert surgrl("eval", tmp_path / "bundle", "--episodes", 1, "--no-baselines").returncode == 0


TWO_EYED = [*TINY, "demos.episodes=1", "demos.updates=2", "steps=4", "objectives=[{name: tcn, views: 2}]"]


def test_an_objective_of_two_eyes_opens_the_second_one_by_itself(surgrl, tmp_path):
    done = surgrl("train", "reach-demo", "name=eyes", *TWO_EYED, "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    config = Run(tmp_path / "eyes").config()
    world, agent, memory = make_parts(config)
    moment = world.reset(seed=0)
    assert memory.extras == ("expert", "right") and agent.needs == ("right", "expert")
    assert moment.right.shape == moment.frame.shape and not np.array_equal(moment.right, moment.frame)
    world.close()


def test_where_there_is_no_second_eye_it_is_told_at_the_start(surgrl, tmp_path):
    def one_eyed(image_size):
        return reach(image_size=image_size)

    gymnasium.register("test/OneEyed-v0", entry_point=one_eyed)
    try:
        for options, words in ((["env.id=test/OneEyed-v0"], "task test/OneEyed-v0 has no second eye"),
                               ([f"demos.folder={tmp_path}"], "demonstrations in files show one eye only")):
            said = surgrl("train", "reach-demo", *TWO_EYED, *options, "--runs", tmp_path / "runs")
            assert said.returncode == 1 and words in said.stderr and not (tmp_path / "runs").exists()
    finally:
        del gymnasium.registry["test/OneEyed-v0"]


@pytest.mark.parametrize("kind", ["dvc", "safe"])
def test_discrete_actions_are_refused_by_name(surgrl, tmp_path, kind):
    said = surgrl("train", "reach-demo", *TINY, "env.id=surgrl/ColonNavigate-v0", f"env.options.actions={kind}",
                  "--runs", tmp_path)
    assert said.returncode == 1 and "policies give continuous ones" in said.stderr and not list(tmp_path.iterdir())


def test_a_killed_run_goes_on_where_it_stopped(surgrl, tmp_path):
    command = [sys.executable, "-m", "surgrl", "train", "reach-demo", "name=killed", *TINY, "demos.updates=250",
               "checkpoint_every=0", "steps=0", "--runs", str(tmp_path)]
    folder = tmp_path / "killed"
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not len(rows_or_none(folder / "metrics.csv")) >= 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder / ".memory-2-0-100-left.npz").touch()        # what a kill while saving leaves behind
    before = rows(folder / "metrics.csv")
    assert before and not Run(folder).finished()
    done = surgrl("train", "--resume", folder)
    assert done.returncode == 0, done.stderr
    updates = [int(row["update"]) for row in rows(folder / "metrics.csv")]
    assert updates == list(range(50, 251, 50))          # no row is lost, none is there twice
    assert rows(folder / "metrics.csv")[:len(before) - 1] == before[:-1]
    assert Run(folder).finished() and not list(folder.glob("memory-*")) and not list(folder.glob(".*"))


def rows_or_none(path):
    return rows(path) if path.exists() else []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_says_how_to_go_on_and_shows_no_traceback(tmp_path, how):
    process = subprocess.Popen([sys.executable, "-m", "surgrl", "train", "reach-demo", "name=cut", *TINY,
                                "demos.updates=100000", "--runs", str(tmp_path)], env=ENV, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (tmp_path / "cut" / "metrics.csv").exists():
        time.sleep(0.1)
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"surgrl train --resume {tmp_path / 'cut'}" in out and "Traceback" not in err
    config = Run(tmp_path / "cut").config()
    world, agent, memory = make_parts(config)
    assert Run(tmp_path / "cut").restore(agent, memory).updates >= 50 and memory.demo_steps > 0
    world.close()


@pytest.mark.parametrize(("words", "told"), [
    (["train", "no-such"], "no such config"), (["train", "reach-demo", "sede=1"], "unknown key sede"),
    (["train", "reach-demo", "env.id=surgrl/Fly-v0"], "surgrl/Fly-v0"),
    (["train", "reach-demo", "env.options={colour: 3}"], "colour"),
    (["train", "reach-demo", "agent.speed=3"], "speed"), (["train", "reach-demo", "agent.name=sarsa"], "sarsa"),
    (["train", "reach-demo", "agent.lr=fast"], "fast"), (["train", "reach-demo", "objectives=[{name: x}]"], "'x'"),
    (["train", "--resume", "nowhere"], "no run here"), (["eval", "nowhere"], "no such bundle"),
    (["export", "nowhere", "out"], "no run here"), (["eval", "nowhere", "--episodes", "0"], "--episodes is 0"),
    (["train"], "which config")])
def test_a_users_mistake_is_one_line_and_leaves_nothing_behind(surgrl, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    done = surgrl(*words)
    assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("surgrl: error")]) == 1
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_refused_and_left_in_place(surgrl, trained, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(trained, folder)
    data = bytearray((folder / "checkpoint.pt").read_bytes())
    (folder / "checkpoint.pt").write_bytes(data[:len(data) // 2])
    for words in (["train", "--resume", folder], ["export", folder, tmp_path / "out"], ["eval", folder]):
        done = surgrl(*words)
        assert done.returncode == 1 and "checkpoint.pt: damaged" in done.stderr and "Traceback" not in done.stderr
    assert (folder / "checkpoint.pt").stat().st_size == len(data) // 2
    assert not (tmp_path / "out").exists()


def test_a_run_is_never_overwritten(surgrl, trained):
    done = surgrl("train", "reach-demo", "name=tiny", *TINY, "--runs", trained.parent)
    assert done.returncode == 1 and "already holds a run" in done.stderr


def test_export_refuses_a_number_of_episodes_below_0_before_any_work(surgrl, trained, tmp_path):
    said = surgrl("export", trained, tmp_path / "bundle", "--episodes", -1)
    assert said.returncode == 1 and "--episodes is -1; it must be 0" in said.stderr and not list(tmp_path.iterdir())


def test_export_does_not_replace_what_is_no_bundle(surgrl, trained, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    done = surgrl("export", trained, tmp_path / "thesis")
    assert done.returncode == 1 and "left as it is" in done.stderr
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_and_nothing_half_written_stays(surgrl, trained, small_disk):
    for words in (["train", "reach-demo", *TINY, "--runs", small_disk], ["export", trained, small_disk / "bundle"]):
        (small_disk / "filler").write_bytes(bytes(900_000))
        done = surgrl(*words)
        assert done.returncode == 1 and "make room" in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert not (small_disk / "bundle").exists() and not list(small_disk.glob(".bundle*"))


def test_tables_take_new_columns_and_forget_rows_of_lost_work(tmp_path):
    table = Table(tmp_path / "t.csv", "update", 0)
    table.add({"update": 1, "a": 0.5})
    table.add({"update": 2, "a": 0.6, "b": 7})
    assert rows(tmp_path / "t.csv") == [{"update": "1", "a": "0.5", "b": ""}, {"update": "2", "a": "0.6", "b": "7"}]
    Table(tmp_path / "t.csv", "update", 1).add({"update": 2, "b": 8})
    assert [row["b"] for row in rows(tmp_path / "t.csv")] == ["", "8"]


def test_a_checkpoint_of_another_shape_is_refused(trained, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(trained, folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("hidden_dim: 32", "hidden_dim: 48"))
    world, agent, _ = make_parts(Run(folder).config())
    with pytest.raises(UserError, match="damaged, or of another config"):
        Run(folder).restore(agent)
    world.close()
    assert Progress().updates == 0


def test_a_mask_that_the_task_cannot_give_is_refused_at_the_start():
    with pytest.raises(UserError, match="ColonNavigate-v0 shows no instrument, .* leave out the objectives"):
        make_parts(load_config("reach-demo", ["env.id=surgrl/ColonNavigate-v0"]))
    world, *_ = make_parts(load_config("reach-demo", ["env.id=surgrl/ColonNavigate-v0", "objectives=[]"]))
    world.close()


def test_a_memory_too_small_for_the_demonstrations_is_told(tmp_path):
    run = Run(tmp_path / "small")
    run.begin(load_config("reach-demo", [*TINY, "memory.capacity=1000", "demos.episodes=60"]))
    with pytest.raises(UserError, match=r"memory\.capacity: memory of 1000 frames is too small for \d+ frames of demo"):
        train(run, quiet=True)
