"""Cloning from recordings without a task: it learns, resumes, exports to a bundle that acts alike; what is refused."""

import csv

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("rosbags")

from surgrl.config_file import load_config
from surgrl.export import export
from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.runtime import PolicyRuntime
from surgrl.recorded import camera_of, demonstrations, recorded_world
from surgrl.recordings import find_recordings
from surgrl.video_writer import write_video

ACTION = {"names": ["v_y", "v_x"], "units": ["m/s", "m/s"], "low": [-0.1, -0.1], "high": [0.1, 0.1], "frame": "eye"}
WORDS = ["env.id=''", f"action={ACTION}", "steps=0", "demos.episodes=0", "demos.updates=60", "objectives=[]",
         "image.size=32", "agent.batch_size=16", "agent.hidden_dim=32", "agent.lr=1e-3", "threads=1",
         "encoder={width: 4, latent_dim: 16}", "memory.capacity=1000", "recordings.rate=20", "recordings.held_out=0.3",
         "recordings.units={v_x: m/s, v_y: m/s}"]


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Three bags of a robot."""
    return tmp_path_factory.mktemp("robot")


@pytest.fixture
def config(bags, make_bags):
    """Cloning from them; overrides are added."""
    if not (bags / "bags").exists():
        make_bags(bags)

    def of(*more):
        return load_config("reach-bc", ["name=clone", *WORDS, f"recordings.sources=['{bags / 'bags'}']", *more])
    return of


def test_a_clone_of_recordings_becomes_a_bundle_that_acts_alike(config, bags, surgrl, tmp_path):
    words = [*WORDS, f"recordings.sources=['{bags / 'bags'}']"]
    config()
    done = surgrl("train", "reach-bc", "name=clone", *words, "--runs", tmp_path)
    assert done.returncode == 0 and "no task to try it in" in done.stdout, done.stderr
    with (tmp_path / "clone" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["held_out/error"]) < 0.5 and not (tmp_path / "clone" / "eval.csv").exists()
    bundle = export(tmp_path / "clone", tmp_path / "bundle")        # refuses what onnxruntime computes otherwise
    assert (bundle.task, bundle.action.names, bundle.image.width) == ("recordings", ("v_y", "v_x"), 64)
    assert surgrl("check", tmp_path / "bundle").returncode == 0
    assert "learnt from recordings alone" in (bundle.folder / "CARD.md").read_text()
    action = PolicyRuntime(PolicyBundle.load(bundle.folder)).act(np.zeros((48, 64, 3), np.uint8))
    assert action.shape == (2,) and (np.abs(action) <= 0.1).all()
    assert "no task to score it in" in surgrl("export", tmp_path / "clone", tmp_path / "b", "--episodes", 1).stderr


def test_actions_are_mapped_by_name_and_cut_to_the_policys_range(config):
    told = config()
    world = recorded_world(told)
    source = find_recordings(told.recordings.sources)[0]
    shown = next(demonstrations([source], told, world.action))
    expected = 0.5 * np.stack([np.cos(np.arange(15) / 4), np.sin(np.arange(15) / 3)], 1)       # v_y first, over 0.1 m/s
    assert shown.actions == pytest.approx(expected, abs=1e-6) and shown.beyond == 0
    narrow = world.action.__class__(("v_x",), ("m/s",), (-0.01,), (0.01,), "eye")
    shown = next(demonstrations([source], told, narrow))
    assert np.abs(shown.actions).max() == 1 and 0.5 < shown.beyond <= 1


@pytest.mark.parametrize(("more", "told"), [
    (["recordings.units={}"], "'v_y' without a unit, m/s is wanted; if it is that, say so"),
    (["recordings.units={v_x: m/s, v_y: mm/s}"], "'v_y' in mm/s, m/s is wanted"),
    (["action.names=[v_y, v_z]"], "tells the actions v_x, v_y; 'v_z' [m/s] is not among them"),
    (["action={}"], "must say what the policy does"), (["action.low=[0.2, 0.2]"], "low must be below high"),
    (["image.proprio=true"], "images alone"), (["agent={name: drqv2}"], "tell no rewards"),
    (["objectives=[{name: dbc}]"], "tell no rewards"), (["steps=5"], "nothing to act in"),
    (["objectives=[{name: dear}]"], "mask"), (["demos.episodes=3"], "set it to 0, or name none")])
def test_recordings_that_cannot_teach_the_policy_are_refused_in_one_line(config, bags, surgrl, tmp_path, more, told):
    config()
    done = surgrl("train", "reach-bc", "name=clone", *WORDS, f"recordings.sources=['{bags / 'bags'}']", *more,
                  "--runs", tmp_path)
    assert done.returncode == 1 and told in done.stderr.splitlines()[-1], done.stderr
    assert not (tmp_path / "clone").exists()


def test_a_film_without_a_robot_teaches_no_action(config, surgrl, tmp_path):
    config()
    write_video(tmp_path / "film.mp4", [np.full((48, 64, 3), k, np.uint8) for k in range(10)], 20)
    done = surgrl("train", "reach-bc", *WORDS, f"recordings.sources=['{tmp_path}']", "--runs", tmp_path / "runs")
    assert done.returncode == 1 and "film.mp4: tells no actions, and the policy needs them" in done.stderr


def test_a_tasks_rate_must_be_the_recordings(config, bags, surgrl, tmp_path):
    config()
    words = [word for word in WORDS if not word.startswith(("env.id", "action="))]
    done = surgrl("train", "reach-bc", *words, "env.id=surgrl/Reach-v0", f"recordings.sources=['{bags / 'bags'}']",
                  "--runs", tmp_path)
    assert done.returncode == 1 and "recordings.rate is 20 Hz, the task's is 30" in done.stderr


def test_what_a_view_leaves_is_where_the_bundle_crops(config):
    source = find_recordings(config().recordings.sources)[0]
    whole = camera_of(source, config())
    assert (whole.width, whole.height, whole.crop) == (64, 48, (0, 8, 48, 48))
    inner = camera_of(source, config("recordings.view={crop: '4,10,30,40'}"))
    assert (inner.width, inner.height, inner.crop) == (64, 48, (4, 15, 30, 30))
