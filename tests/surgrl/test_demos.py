"""Recorded demonstrations: what is written is read back, what does not fit is refused, training learns from them."""

from pathlib import Path

import numpy as np
import pytest

from surgrl.cli import main
from surgrl.config_file import load_config
from surgrl.demo_file import read_demo, write_demo
from surgrl.demos import record
from surgrl.offpolicy import OffPolicyTrainer
from surgrl.policy.errors import UserError
from surgrl.run import Run
from surgrl.train import make_parts
from surgrl.world import make_env

TASK = "surgrl/Reach-v0"
TINY = ["threads=1", "image.render=32", "image.size=32", "memory.capacity=2000", "demos.episodes=2", "demos.updates=10",
        "steps=10", "eval.episodes=1", "agent.batch_size=16", "agent.hidden_dim=32", "encoder={latent_dim: 16}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two disturbed episodes of Reach, 32 px."""
    out = tmp_path_factory.mktemp("demos")
    assert main(["demos", TASK, "2", str(out), "--size", "32", "--noise", "0.4"]) == 0
    return out


def changed(path, target, **fields):
    """The file with some fields replaced; None takes one out."""
    with np.load(path) as arrays:
        held = dict(arrays) | fields
    np.savez(target, **{name: value for name, value in held.items() if value is not None})
    return target


def refused(capsys, *words):
    """What the command says in its one line."""
    assert main([str(word) for word in words]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("surgrl: error: ")
    return said[-1]


@pytest.mark.parametrize("task", [TASK, "surgrl/Retract-v0", "surgrl/ColonNavigate-v0"])
def test_what_is_recorded_is_read_back_and_is_what_the_simulator_does(task, tmp_path):
    env, options = make_env(task, image_size=(32, 32)), {"size": 32, "noise": 0.2, "randomise": "none"}
    demo = record(env, task, seed=1, k=0, options=options)
    write_demo(tmp_path / "a.npz", demo)
    again = read_demo(tmp_path / "a.npz", task)
    for name, one, other in zip(demo._fields, demo, again, strict=True):
        assert np.array_equal(one, other), name
    assert demo.frames.shape[1:] == (32, 32, 3) and len(demo.frames) == len(demo.actions) + 1
    assert again.rate == pytest.approx(1 / env.unwrapped.dt)
    assert again.channels == tuple(map(tuple, env.unwrapped.channels))
    env.reset(seed=demo.seed)
    assert np.array_equal(env.unwrapped.expert(), again.expert[0])
    obs, reward, *_ = env.step(again.actions[0])
    assert np.array_equal(obs["proprio"], again.proprio[1]) and reward == pytest.approx(again.rewards[0], rel=1e-5)
    env.close()


def test_noise_disturbs_what_is_done_and_not_the_labels(folder):
    demo = read_demo(folder / "episode-000000.npz")
    assert np.abs(demo.actions - demo.expert[:-1]).max() > 0.1 and np.abs(demo.actions).max() <= 1


def test_episodes_that_are_there_are_kept_and_missing_ones_recorded(folder, tmp_path, capsys):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "episode-000000.npz").unlink()
    kept = (tmp_path / "episode-000001.npz").stat().st_mtime_ns
    assert main(["demos", TASK, "3", str(tmp_path), "--size", "32", "--noise", "0.4"]) == 0
    assert "3 episodes of surgrl/Reach-v0, success 100.0%" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"episode-{k:06d}.npz" for k in range(3)]
    assert (tmp_path / "episode-000001.npz").stat().st_mtime_ns == kept
    anew, first = (read_demo(place / "episode-000000.npz") for place in (tmp_path, folder))
    assert np.array_equal(anew.actions, first.actions) and np.array_equal(anew.proprio, first.proprio)


def test_a_folder_of_other_demonstrations_is_not_added_to(folder, capsys):
    assert "choose another folder" in refused(capsys, "demos", TASK, 3, folder, "--size", 48, "--noise", 0.4)
    assert "choose another folder" in refused(capsys, "demos", TASK, 3, folder, "--size", 32, "--noise", 0.4,
                                              "--seed", 2)
    assert "of surgrl/Reach-v0, not of surgrl/Retract-v0" in refused(capsys, "demos", "surgrl/Retract-v0", 1, folder)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(("words", "told"), [
    (["surgrl/Fly-v0", "1", "out"], "surgrl/Fly-v0"), ([TASK, "0", "out"], "N is 0"),
    ([TASK, "1", "file"], "file is a file"), ([TASK, "1", "file/below"], "file is a file"),
    ([TASK, "1", "out", "--size", "4"], "image_size"), ([TASK, "1", "out", "--noise", "nan"], "--noise is nan"),
    ([TASK, "1", "out", "randomise=wild"], "'wild'"), ([TASK, "1", "out", "colour=1"], "'colour' is unknown"),
    ([TASK, "1", "out", "observation=state"], "set by the command"), ([TASK, "1", "out", "colour"], "key=value"),
    (["surgrl/ColonNavigate-v0", "1", "out", "actions=dvc"], "demonstrations hold continuous ones"),
    ([TASK, "1", "out", "--seed", "-1"], "--seed is -1")])
def test_a_users_mistake_is_one_line_and_leaves_nothing_behind(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert told in refused(capsys, "demos", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_options_of_the_task_are_taken_and_written_down(tmp_path, capsys):
    words = ["demos", TASK, 1, tmp_path, "tolerance=0.002", "image_size=[32,48]", "randomise=mild"]
    assert main([str(word) for word in words]) == 0
    demo = read_demo(tmp_path / "episode-000000.npz")
    assert demo.options == {"noise": 0.0, "randomise": "mild", "tolerance": 0.002, "image_size": [32, 48]}
    assert demo.frames.shape[1:3] == (32, 48)
    assert "choose another folder" in refused(capsys, *words[:4])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused_by_name(folder, tmp_path, share):
    data = (folder / "episode-000000.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[:int(share * len(data))])
    with pytest.raises(UserError, match=r"cut\.npz: damaged"):
        read_demo(tmp_path / "cut.npz")


def test_a_changed_byte_anywhere_is_refused_or_changes_nothing(folder, tmp_path):
    data = (folder / "episode-000000.npz").read_bytes()
    whole, rng = read_demo(folder / "episode-000000.npz"), np.random.default_rng(0)
    for place in rng.integers(len(data), size=60):
        broken = bytearray(data)
        broken[place] ^= 0x55
        (tmp_path / "broken.npz").write_bytes(broken)
        try:
            demo = read_demo(tmp_path / "broken.npz")
        except UserError as error:
            assert "broken.npz: damaged" in str(error)
        else:       # a time stamp or an attribute of the archive
            assert all(np.array_equal(a, b) for a, b in zip(whole, demo, strict=True))


@pytest.mark.parametrize(("fields", "told"), [
    ({"format": 7}, "format 7, this surgrl reads 1"), ({"rewards": None}, "damaged"),
    ({"rewards": np.zeros(3)}, "rewards do not fit"), ({"mask_shape": [3, 4]}, "do not fit"),
    ({"actions": np.zeros((0, 3)), "frames": np.zeros((1, 32, 32, 3), np.uint8)}, "do not fit"),
    ({"options": "{"}, "damaged"), ({"frames": 0}, "damaged"), ({"rate": np.nan}, "rate and channels are not finite")])
def test_what_does_not_fit_together_is_refused(folder, tmp_path, fields, told):
    path = changed(folder / "episode-000000.npz", tmp_path / "a.npz", **fields)
    with pytest.raises(UserError, match=told):
        read_demo(path)


def test_a_file_of_another_task_is_refused(folder):
    with pytest.raises(UserError, match="not of surgrl/Retract-v0"):
        read_demo(folder / "episode-000000.npz", "surgrl/Retract-v0")


def remembered(tmp_path, name, *overrides):
    """The memory after the demonstrations of a config."""
    run = Run(tmp_path / name)
    run.begin(load_config("reach-demo", [f"name={name}", *TINY, "image.proprio=true", *overrides]))
    world, agent, memory = make_parts(run.config())
    trainer = OffPolicyTrainer(run, run.config(), world, agent, memory, quiet=True)
    trainer._demonstrate()
    trainer.close()
    return memory


def test_recorded_and_asked_for_demonstrations_are_remembered_alike(folder, tmp_path):
    recorded = remembered(tmp_path, "recorded", f"demos.folder={folder}").state_dict()
    asked = remembered(tmp_path, "asked", "demos.noise=0.4").state_dict()
    assert recorded.keys() == asked.keys()
    for name, values in recorded.items():
        if name == "field_frame":       # the renderer normalises its normals in place: a brightness step or two
            assert np.abs(values.astype(int) - asked[name]).max() <= 2
        else:
            assert np.array_equal(values, asked[name]), name


def test_training_learns_from_a_folder(surgrl, folder, tmp_path):
    done = surgrl("train", "reach-demo", "name=tiny", *TINY, f"demos.folder={folder}", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    assert Run(tmp_path / "tiny").finished()


@pytest.mark.parametrize(("overrides", "told"), [
    (["demos.episodes=3"], "2 demonstrations, but 3 are wanted"), (["demos.folder=nowhere"], "no such folder"),
    (["env.id=surgrl/Retract-v0"], "not of surgrl/Retract-v0"),
    (["image.size=48", "image.render=48"], "32x32 px"),
    (["env.reward={success: 0}"], "files tell the rewards of the task as it is"),
    (["env.options.tolerance=0.001"], "recorded with tolerance as it is by default"),
    (["demos.episodes=0", "demos.updates=0"], "demos.episodes is 0")])
def test_a_folder_that_does_not_fit_is_refused_and_no_run_left_behind(folder, tmp_path, capsys, overrides, told):
    assert told in refused(capsys, "train", "reach-demo", *TINY, f"demos.folder={folder}", *overrides,
                           "--runs", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("fields", "overrides", "told"), [
    ({"proprio_names": ["x", "y"], "proprio": 2}, ["image.proprio=true"], "'z' too"),
    ({"actions": 4, "expert": 4}, [], "actions of 4 entries")])
def test_another_robots_demonstrations_are_refused(folder, tmp_path, capsys, fields, overrides, told):
    (tmp_path / "demos").mkdir()
    with np.load(folder / "episode-000000.npz") as arrays:
        steps = len(arrays["actions"])
    fields = {name: np.zeros((steps + (name != "actions"), value), np.float32) if isinstance(value, int) else value
              for name, value in fields.items()}
    changed(folder / "episode-000000.npz", tmp_path / "demos" / "episode-000000.npz", **fields)
    assert told in refused(capsys, "train", "reach-demo", *TINY, "demos.episodes=1", *overrides,
                           f"demos.folder={tmp_path / 'demos'}", "--runs", tmp_path / "runs")
