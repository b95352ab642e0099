"""The demo, from nothing to its report, with a training too short to learn; and once more on what it left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = ["demos.episodes=4", "demos.updates=60", "steps=30", "eval.episodes=1"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_makes_its_report_and_runs_a_second_time(tmp_path):
    out = tmp_path / "a folder"
    for repeat in range(2):
        done = subprocess.run([sys.executable, "-m", "surgrl", "demo", "--out", str(out), "--episodes", "2", *SHORT],
                              env={**os.environ, "PYTHONPATH": str(ROOT), "ROS_DOMAIN_ID": "83"}, timeout=420,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        report = Path(done.stdout.strip().splitlines()[-1])
        assert report == (out / "report.html").resolve() and report.stat().st_size > 100_000
        assert ("training is finished" in done.stdout) == (repeat == 1)
    assert {path.name for path in out.iterdir()} == {"reach-demo", "bundle", "scores.json", "serve.json", "replay",
                                                     "recording.mp4", "report.html"}


@pytest.mark.parametrize("count", [0, -1])
def test_too_few_episodes_are_refused_before_any_work(surgrl, tmp_path, count):
    done = surgrl("demo", "--out", tmp_path / "out", "--episodes", count)
    assert done.returncode == 1 and f"--episodes is {count}; it must be at least 1" in done.stderr
    assert not done.stdout and not list(tmp_path.iterdir())
