"""Several trainings from one command: named, run side by side, stopped, gone on with."""

import fcntl
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from surgrl import sweep as module
from surgrl.config_file import load_config
from surgrl.policy.errors import UserError
from surgrl.records import columns, standing
from surgrl.run import Run
from surgrl.sweep import Job, last_line, locked, sweep, variants


def test_the_product_of_grid_and_seeds_is_named_after_what_is_varied():
    found = variants("reach-demo", ["name=r", "steps=30"], [1, 2], ["agent.lr=1e-4,3e-4", "image.size=64,84"])
    assert [config.name for config in found][:3] == ["r-lr1e-4-size64-s1", "r-lr1e-4-size64-s2", "r-lr1e-4-size84-s1"]
    assert len(found) == 8 and found[2].image.size == 84 and found[2].agent["lr"] == "1e-4" and found[1].seed == 2
    assert all(config.steps == 30 for config in found)


def test_lists_are_values_too_and_keys_of_one_last_word_are_told_apart():
    found = variants("reach-demo", [], None, ["objectives=[],[{name: dear}]", "demos.episodes=5", "eval.episodes=7"])
    assert [config.objectives for config in found] == [[], [{"name": "dear"}]]
    assert found[0].name == "reach-demo-objectivesnone-demos.episodes5-eval.episodes7-s1"


@pytest.mark.parametrize(("seeds", "grid", "told"), [
    ([1, 1], [], "two runs would be named"), ([1], ["agent.lr"], "not of the form"), ([1], ["seed=1,2"], "--seeds"),
    ([1], ["name=a,b"], "named after"), ([1], ["image.sise=64"], "unknown key image.sise"), ([1], ["a=[1"], "YAML"),
    ([-1], [], "seed is -1"), ([1], ["image.size=8"], "image.size is 8")])
def test_a_mistake_is_told_before_any_run_begins(seeds, grid, told):
    with pytest.raises(UserError, match=told):
        variants("reach-demo", [], seeds, grid)


def test_a_sweep_trains_all_it_can_and_says_which_failed_and_why(swept):
    runs, done = swept.runs, swept.done
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert sorted(path.name for path in runs.iterdir()) == [
        "tiny-lr1e-3-s1", "tiny-lr1e-3-s2", "tiny-lrfast-s1", "tiny-lrfast-s2"]
    assert all(Run(runs / f"tiny-lr1e-3-s{seed}").finished() for seed in (1, 2))
    failures = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failures) == 2 and all("fast" in line and "log.txt" in line for line in failures)
    assert "2 of 4 runs are finished; compare them: surgrl report" in done.stdout


def test_the_same_command_leaves_out_what_is_finished_and_refuses_another_config(swept, monkeypatch, capsys):
    runs = swept.runs
    config = Run(runs / "tiny-lr1e-3-s1").config()
    began = []
    monkeypatch.setattr(module, "variants", lambda *_: [config])
    monkeypatch.setattr(module, "train_all", lambda configs, *_: began.append(configs) or set())
    args = SimpleNamespace(config="x", overrides=[], seeds=[1], grid=[], jobs=1, runs=str(runs))
    assert sweep(args) == 0 and began == [[]] and "1 of them finished before" in capsys.readouterr().out
    longer = load_config(str(runs / config.name / "config.yaml"), ["steps=31"])
    monkeypatch.setattr(module, "variants", lambda *_: [longer])
    with pytest.raises(UserError, match="begun with steps 30, now it is 31"):
        sweep(args)


def test_a_run_that_another_process_trains_is_left_alone(tmp_path):
    config = load_config("reach-demo", ["name=busy"])
    (tmp_path / "busy").mkdir()
    with (tmp_path / "busy" / "log.txt").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process trains"):
            Job(config, tmp_path, tmp_path)
    with locked(tmp_path / "busy" / "log.txt"):
        pass


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_every_run_saves_and_the_same_command_goes_on(tmp_path, swept, how):
    words = [word for word in swept.words if word != "agent.lr=1e-3,fast"]
    words = [str(word) for word in words if word != "--grid"]
    words[words.index("--runs") + 1] = str(tmp_path)
    words[words.index("demos.updates=50")] = "demos.updates=100000"
    process = subprocess.Popen([sys.executable, "-m", "surgrl", *words], env=swept.env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    folders = [tmp_path / f"tiny-s{seed}" for seed in (1, 2)]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not all(columns(folder / "metrics.csv") for folder in folders):
        time.sleep(0.1)
    process.send_signal(how)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130 and "the same command goes on" in err and "Traceback" not in err
    for folder in folders:
        assert (folder / "checkpoint.pt").is_file() and not Run(folder).finished()
        assert f"surgrl train --resume {folder}" in (folder / "log.txt").read_text()
        with locked(folder / "log.txt"):        # nobody is left who trains it
            pass


def test_how_far_a_training_is_comes_from_its_files(tmp_path, make_run):
    folder = make_run(tmp_path, "half", "demos.updates=50", "steps=400", "update_every=2", "minutes=0")
    share, left = standing(folder, Run(folder).config())
    assert share == pytest.approx(200 / 250)        # 50 learning steps first, then 300 of 400 steps
    assert np.isfinite(left) and left > 0
    assert np.isnan(standing(tmp_path / "none", Run(folder).config()).seconds_left)


def test_the_last_line_of_a_log_is_not_a_bar_that_was_overwritten(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"a: 10%|#\ra: 20%|##\r\nsurgrl: error: out of cheese\n\n")
    assert last_line(tmp_path / "log.txt") == "out of cheese"
