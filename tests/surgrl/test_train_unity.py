"""A Unity scene through the whole path: trained, evaluated, exported and run, by the configs of our own tasks."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from surgrl.export import export
from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.spec import ProprioSpec
from surgrl.run import Run
from tests.unity_player import Beside

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "tests" / "unity_player.py")
SMALL = ["image.render=40", "image.size=40", "eval.episodes=1", "threads=1"]
UNTAUGHT = ["demos.episodes=0", "demos.updates=0", "agent.imitation=0", "agent.demo_share=0"]     # no expert is there


def player(*words):
    """The override that names the stand-in as the player."""
    return f"env.options.player=[{', '.join([sys.executable, SCRIPT, '--size', '40', '--max-step', '12', *words])}]"


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def left_behind():
    """Stand-ins of this test run that still live; they notice within moments that their trainer is gone."""
    def living():
        found = subprocess.run(["pgrep", "-f", f"{SCRIPT} --size 40"], capture_output=True, text=True)
        return [pid for pid in found.stdout.split() if int(pid) != os.getpid()]
    deadline = time.monotonic() + 20
    while living() and time.monotonic() < deadline:
        time.sleep(0.2)
    return living()


@pytest.fixture(scope="module")
def colon(tmp_path_factory):
    """DVC on the published [3, 3, 3] of an old package: the config of our own colon, but for the id and the player."""
    runs = tmp_path_factory.mktemp("runs")
    words = ["train", "colon", "name=unity", *SMALL, "env.workers=2", "steps=384", "agent.horizon=64",
             "agent.batch_size=64", "agent.hidden_dim=16", "encoder.width=2", "env.id=surgrl/UnityColon-v0",
             player("--actions", "multi", "--vector", "0", "--package", "1.0.8", "--api", "1.0.0")]
    done = subprocess.run([sys.executable, "-m", "surgrl", *words, "--runs", str(runs)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, timeout=280)
    assert done.returncode == 0, done.stderr
    return runs / "unity"


def test_dvc_trains_on_a_published_scene_and_leaves_no_player(colon):
    found = rows(colon / "metrics.csv")
    assert int(found[-1]["step"]) == 384 and {"policy/loss", "rollout/success"} <= set(found[-1])
    assert Run(colon).finished() and left_behind() == []


def test_its_bundle_is_proved_and_runs(surgrl, colon, tmp_path):
    bundle = export(colon, tmp_path / "bundle", episodes=1)
    assert bundle.task == "surgrl/UnityColon-v0" and bundle.action.names == ("bend_x", "bend_y", "roll")
    assert bundle.image.rate == 25 and bundle.action.frame == "unity_camera" and bundle.profile() is not None
    assert PolicyBundle.load(bundle.folder).origin["scores"]["episodes"] == 1
    said = surgrl("check", bundle.folder)
    assert said.returncode == 0 and "acts as exported" in said.stdout
    action = PolicyRuntime(bundle).act_normalised(np.zeros((480, 640, 3), np.uint8))
    assert action.shape == (3,) and set(np.abs(action)) <= {0.0, 1.0}
    said = surgrl("eval", bundle.folder, "--episodes", 1)
    assert said.returncode == 0 and "random" in said.stdout and "expert" not in said.stdout, said.stderr
    assert left_behind() == []


def test_drqv2_trains_on_continuous_actions_with_proprio_exports_and_runs(surgrl, tmp_path):
    done = surgrl("train", "reach-demo", "name=drq", *SMALL, "env.id=surgrl/UnityColon-v0", "steps=60",
                  "env.options.seed_parameter=seed", "image.proprio=true", "memory.capacity=2000", *UNTAUGHT,
                  "agent.batch_size=16", "agent.hidden_dim=32", "encoder={latent_dim: 16}", "objectives=[]",
                  player("--actions", "continuous", "--vector", "4"), "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = export(tmp_path / "drq", tmp_path / "bundle")
    assert bundle.proprio == ProprioSpec(("bend_x", "bend_y", "inserted", "roll"), "unity_camera")
    assert surgrl("check", bundle.folder).returncode == 0
    action = PolicyRuntime(bundle).act(np.zeros((480, 640, 3), np.uint8), np.zeros(4))
    assert action.shape == (3,) and np.isfinite(action).all()
    said = surgrl("eval", tmp_path / "drq", "--episodes", 1)
    assert said.returncode == 0 and said.stdout.startswith("policy"), said.stderr


@pytest.mark.parametrize("words, told", [
    (["objectives=[{name: dear}]", *UNTAUGHT], "gives no instrument mask"),
    (["objectives=[]", "demos.updates=1"], "has no scripted expert; set demos.episodes and imitation to 0"),
    (["objectives=[]", "env.options.randomise=mild"], "a Unity scene draws itself"),
    (["objectives=[{name: tcn, views: 2}]", *UNTAUGHT], "has no second eye"),
    (["objectives=[]", "env.options.actions=native"], "leave out the option that makes them discrete"),
    (["objectives=[]", "image.proprio=true"], "proprio 'vector_0' is unknown")])
def test_what_a_scene_of_unity_lacks_is_told_as_of_any_task(surgrl, tmp_path, words, told):
    kind = "multi" if "env.options.actions=native" in words else "continuous"
    refused = surgrl("train", "reach-demo", "name=none", *SMALL, "env.id=surgrl/Unity-v0", "memory.capacity=2000",
                     "encoder={latent_dim: 16}", *words, player("--actions", kind), "--runs", tmp_path)
    assert refused.returncode == 1 and told in refused.stderr and "Traceback" not in refused.stderr, refused.stderr


@pytest.mark.parametrize("words, told", [
    (["train", "colon", "env.id=surgrl/Unity-v0", "env.options.player=/none/colon.x86_64"], "/none/colon.x86_64: no"),
    (["train", "colon", "env.id=surgrl/Unity-v0", "env.options={port: 0, start_time: 0.3}"], "press Play"),
    (["demos", "surgrl/Unity-v0", "1", "out", "player=/none/x"], "/none/x: no such file"),
    (["play", "surgrl/UnityColon-v0", "port=0", "start_time=0.3"], "press Play")])
def test_a_player_that_is_not_there_is_told_in_a_line(surgrl, tmp_path, words, told):
    refused = surgrl(*words, *(["--runs", tmp_path] if words[0] == "train" else []))
    assert refused.returncode == 1 and told in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr


@pytest.mark.slow
def test_a_player_that_dies_in_training_is_told_in_a_line(surgrl, tmp_path):
    for config, words in (("reach-demo", [*UNTAUGHT, "objectives=[]"]),
                          ("colon", ["env.workers=1", "agent.horizon=32", "agent.batch_size=32"])):
        refused = surgrl("train", config, "name=dies", *SMALL, *words, "env.id=surgrl/Unity-v0", "steps=500",
                         player("--die-after", "9"), "--runs", tmp_path / config)
        assert refused.returncode == 1 and "exited with code 7" in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr
    assert left_behind() == []


def test_there_is_no_expert_to_record_or_to_play(surgrl, tmp_path):
    for before, after in ((["demos", "surgrl/Unity-v0", 1, tmp_path / "out"], []),
                          (["play", "surgrl/Unity-v0"], ["--expert", "--out", tmp_path / "a.mp4"])):
        beside = Beside("--size", "16")
        refused = surgrl(*before, f"port={beside.port}", *after)
        beside.join(10)
        assert refused.returncode == 1 and "has no scripted expert" in refused.stderr, refused.stderr


def test_the_list_shows_unitys_ids_and_a_missing_package_is_named():
    code = ("import sys; sys.modules['grpc'] = None; from surgrl.cli import main; main(['list']); "
            "sys.exit(main(['demos', 'surgrl/Unity-v0', '1', 'out', 'player=x']))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert all(name in done.stdout for name in ("surgrl/Unity-v0", "surgrl/UnityColon-v0", "surgrl/UnityRetract-v0"))
    assert "a scene that you built with Unity" in done.stdout
    assert done.returncode == 1 and "'grpc'" in done.stderr and "pip install '.[unity]'" in done.stderr
