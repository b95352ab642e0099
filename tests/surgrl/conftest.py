"""Runs as training leaves them behind: written by hand, or trained for a moment."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from surgrl.cli import main
from surgrl.config_file import load_config
from surgrl.intervals import wilson
from surgrl.run import Run

TINY = ["threads=1", "image.render=32", "image.size=32", "memory.capacity=2000", "demos.episodes=2", "demos.updates=50",
        "steps=30", "eval.episodes=1", "agent.batch_size=16", "agent.hidden_dim=32", "encoder={latent_dim: 16}"]
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}


class Swept(NamedTuple):
    """Folder of the runs, the command, how it ended, its environment."""

    runs: Path
    words: list
    done: subprocess.CompletedProcess
    env: dict


def own_process(*words):
    """Run the command in a process of its own, as a user does."""
    return subprocess.run([sys.executable, "-m", "surgrl", *map(str, words)], capture_output=True, text=True, env=ENV,
                          timeout=250, check=False)


@pytest.fixture
def surgrl(capsys):
    """Run the command in this process, which has imported torch already; how it ended, as of a process."""
    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())
    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run that was trained to its (early) end. Tests only read it; one that changes it copies it first."""
    runs = tmp_path_factory.mktemp("runs")
    done = own_process("train", "reach-demo", "name=tiny", *TINY, "demos.updates=40", "--runs", runs)
    assert done.returncode == 0, done.stderr
    return runs / "tiny"


def write_run(runs, name, *overrides, seed=1, success=(0.1, 0.5, 0.9), episodes=20, measured=None):
    """A run's folder with a config, metrics and evaluations at 100, 200, … steps, without a checkpoint.

    measured: name -> what `<name>.json` is to hold.
    """
    folder, rng = runs / f"{name}-s{seed}", np.random.default_rng(seed)
    Run(folder).begin(load_config("reach-demo", [f"name={folder.name}", f"seed={seed}", *overrides]))
    scores = [{"update": 50 * (k + 1), "step": 100 * (k + 1), "seconds": 60.0 * (k + 1) + seed, "success": share,
               **dict(zip(("low", "high"), wilson(share, episodes), strict=True)), "episodes": episodes, "steps": 40.0,
               "distance": 0.01} for k, share in enumerate(success)]
    updates = range(10, 50 * len(success) + 1, 10)
    metrics = [{"update": k, "step": 2 * k, "seconds": 1.2 * k, "critic/loss": 5 / k + 0.02 * rng.random(),
                "imitation/error": "" if k == 10 else 0.4 / k, "actor/loss": -0.01 * k + 0.1 * rng.random(),
                "time/step_s": rng.random()} for k in updates]
    for file, rows in (("eval.csv", scores), ("metrics.csv", metrics)):
        with (folder / file).open("w", newline="") as table:
            writer = csv.DictWriter(table, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    for file, told in (measured or {}).items():
        (folder / f"{file}.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="session")
def make_run():
    """write_run, as a fixture: tests/ is no package to import from."""
    return write_run


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """A sweep of two seeds and two values, one of which no training can use."""
    runs = tmp_path_factory.mktemp("swept")
    words = ["train", "reach-demo", "name=tiny", *TINY, "--seeds", 1, 2, "--grid", "agent.lr=1e-3,fast",
             "--jobs", 2, "--runs", runs]
    return Swept(runs, words, own_process(*words), ENV)


@pytest.fixture
def make_bags():
    """Makes a folder of three bags of a robot: a square that moves as the actions v_x, v_y say, 15 frames at 20 Hz."""
    pytest.importorskip("rosbags")
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS2_JAZZY)
    kinds = store.types

    def make(folder, names=("v_x", "v_y")):
        rng = np.random.default_rng(0)
        for bag in range(3):
            place = rng.uniform(10, 30, 2)
            with Writer(folder / "bags" / f"bag-{bag}", version=9, storage_plugin=StoragePlugin.MCAP) as file:
                eye, told = (file.add_connection(topic, kind, typestore=store) for topic, kind in (
                    ("/eye/image_raw", "sensor_msgs/msg/Image"), ("/policy_node/action", "sensor_msgs/msg/JointState")))
                for k in range(15):
                    action = 0.05 * np.array([np.sin(k / 3 + bag), np.cos(k / 4)])
                    place = place + 20 * action
                    frame = np.full((48, 64, 3), 60, np.uint8)
                    row, column = place[::-1].astype(int)
                    frame[row:row + 10, column:column + 10] = 200
                    stamp = 10 ** 18 + k * 50_000_000
                    header = kinds["std_msgs/msg/Header"](
                        kinds["builtin_interfaces/msg/Time"](stamp // 10 ** 9, stamp % 10 ** 9), "eye")
                    for connection, message in (
                            (eye, kinds["sensor_msgs/msg/Image"](header, 48, 64, "rgb8", 0, 192, frame.ravel())),
                            (told, kinds["sensor_msgs/msg/JointState"](header, list(names), action, np.zeros(0),
                                                                       np.zeros(0)))):
                        file.write(connection, stamp, store.serialize_cdr(message, connection.msgtype))
        return folder / "bags"
    return make
