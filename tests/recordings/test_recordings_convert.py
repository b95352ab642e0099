"""`surgrl convert`: there and back again without losing a digit, and without a patient's name."""

import json
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from surgrl.bag_tracks import POSE_NAMES
from surgrl.cli import main
from surgrl.demo_file import read_demo, write_demo
from surgrl.policy.errors import UserError
from surgrl.recordings import Source, find_recordings, open_recording
from surgrl.rows import Rows
from surgrl.view import View
from tests.recordings.samples import bag_of_poses, frames, old_dataset, video

NAME = "Jane Doe 1970"


@pytest.fixture
def convert(tmp_path, capsys):
    """Run the command into a folder of tmp_path: exit code, the folder, what it said."""
    def call(dest, to, *words):
        words = list(map(str, words))
        options = next((k for k, word in enumerate(words) if word.startswith("--")), len(words))
        code = main(["convert", *words[:options], str(tmp_path / dest), "--to", to, *words[options:]])
        told = capsys.readouterr()
        return code, tmp_path / dest, told.out + told.err
    return call


def assert_same(one, two, *, frames_too):
    for name, a, b in zip(one._fields, one, two, strict=True):
        if name == "frames" and not frames_too:
            assert a.shape == b.shape and np.abs(a.astype(int) - b).mean() < 6
        else:
            assert np.array_equal(a, b), name


def tracks(source):
    with open_recording(source) as recording:
        return recording.state, recording.action


@pytest.mark.parametrize("kind", ["mcap", "lerobot"])
@pytest.mark.parametrize("lossless", [False, True])
def test_demonstrations_go_there_and_come_back(convert, demos, kind, lossless):
    if kind == "lerobot":
        pytest.importorskip("pyarrow")
    code, there, said = convert("there", kind, demos, *(["--lossless"] if lossless else []))
    assert code == 0 and "read back and compared" in said, said
    for number, source in enumerate(find_recordings([there])):
        original = demos / f"episode-{number:06d}.npz"
        for given, got in zip(tracks(original), tracks(source), strict=True):
            count = len(got.time)
            assert given.names == got.names and np.array_equal(given.values[:count], got.values)
            assert len(given.time) - count in (0, 1)        # rows of a dataset end with the last action
            assert given.time[:count] == pytest.approx(got.time, abs=1e-8)
    code, back, said = convert("back", "demos", there)
    assert code == 0, said
    for number in range(2):
        name = f"episode-{number:06d}.npz"
        assert_same(read_demo(demos / name), read_demo(back / name), frames_too=lossless)


WITHOUT = """import sys
sys.modules.update(dict.fromkeys(["gymnasium", "pybullet", "torch"]))
from surgrl.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", ["mcap", "video", "demos"])
def test_demonstrations_are_converted_where_no_simulator_is_installed(demos, tmp_path, kind):
    path = tmp_path / "demos" / "episode-000000.npz"
    channels = tuple((name, "m/s", -0.05, 0.05) for name in ("v_x", "v_y", "v_z"))
    write_demo(path, read_demo(demos / path.name)._replace(rate=20.0, channels=channels))
    done = subprocess.run([sys.executable, "-c", WITHOUT, "convert", path.parent, tmp_path / "out", "--to", kind],
                          cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with open_recording(path) as recording:
        assert recording.rate == 20 and recording.action.names == ("v_x", "v_y", "v_z")
        assert np.abs(recording.action.values).max() <= 0.05


def test_a_demonstration_that_does_not_tell_its_rate_asks_for_the_simulator_in_one_line(demos, tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT, "convert", demos, tmp_path / "out", "--to", "mcap"],
                          cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("surgrl: error: "), done.stderr
    assert "an old file" in done.stderr and "pip install '.[sim]'" in done.stderr and "Traceback" not in done.stderr


def test_a_bag_becomes_a_dataset_and_a_dataset_a_bag(convert, demos):
    pytest.importorskip("pyarrow")
    _, bag, _ = convert("bag", "mcap", demos / "episode-000000.npz")
    code, dataset, _ = convert("set", "lerobot", bag)
    _, again, _ = convert("again", "mcap", dataset)
    assert code == 0
    for given, got in zip(tracks(Source(dataset, 0)), tracks(again / "episode-000000"), strict=True):
        assert np.array_equal(given.values, got.values)
    topics = (again / "episode-000000/metadata.yaml").read_text()
    for topic in ("/endoscope/left/image_raw/compressed", "/PSM1/measured_cp", "/PSM1/jaw/measured_js",
                  "/policy_node/action"):
        assert f"name: {topic}\n" in topics


def test_an_old_dataset_becomes_a_new_one(convert, tmp_path):
    pytest.importorskip("pyarrow")
    old = old_dataset(tmp_path / "old")
    code, new, _ = convert("new", "lerobot", old)
    info = json.loads((new / "meta/info.json").read_text())
    assert code == 0 and (info["codebase_version"], info["total_frames"], info["fps"]) == ("v3.0", 20, 25)
    for number in range(2):
        for given, got in zip(tracks(Source(old, number)), tracks(Source(new, number)), strict=True):
            assert given.names == got.names and np.array_equal(given.values, got.values)
    with open_recording(Source(new, 1)) as recording:
        assert recording.task == "lift the flap"


def test_a_datasets_files_are_as_the_layout_of_version_3_wants_them(convert, demos):
    parquet = pytest.importorskip("pyarrow.parquet")
    _, root, _ = convert("set", "lerobot", demos, "--task", "reach the marker")
    info = json.loads((root / "meta/info.json").read_text())
    stats = json.loads((root / "meta/stats.json").read_text())
    tasks = parquet.read_table(root / "meta/tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0], "__index_level_0__": ["reach the marker"]}
    rows = parquet.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"], row["length"]) for row in rows] == [
        (0, 6, 6), (6, 13, 7)]
    key = "observation.images.endoscope"
    for number, row in enumerate(rows):
        data = parquet.read_table(root / info["data_path"].format(
            chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]))
        told = json.loads(data.schema.metadata[b"huggingface"])["info"]["features"]
        assert set(told) == set(data.column_names) == set(info["features"]) - {key}
        assert told["action"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 3, "_type": "List"}
        assert data["index"].to_pylist() == list(range(row["dataset_from_index"], row["dataset_to_index"]))
        assert data["next.done"].to_pylist() == [False] * (row["length"] - 1) + [True]
        assert data["next.success"].to_pylist()[-1] is bool(number)
        with av.open(str(root / info["video_path"].format(
                video_key=key, chunk_index=row[f"videos/{key}/chunk_index"],
                file_index=row[f"videos/{key}/file_index"]))) as file:
            times = [float(frame.time) for frame in file.decode(video=0)]
        assert times == pytest.approx(data["timestamp"].to_pylist(), abs=1e-4)      # LeRobot's own tolerance
        assert row[f"videos/{key}/to_timestamp"] == pytest.approx(row["length"] / info["fps"])
    assert np.shape(stats[key]["mean"]) == (3, 1, 1) and 0 < stats[key]["mean"][0][0][0] < 1
    assert len(stats["action"]["std"]) == 3 and stats["action"]["count"] == [13]


@pytest.mark.parametrize("kind", ["demos", "mcap", "lerobot"])
def test_rewards_are_those_of_the_rows_or_it_is_refused(convert, demos, kind):
    parquet = pytest.importorskip("pyarrow.parquet")
    source = demos if kind == "demos" else convert("source", kind, demos)[1]
    with open_recording(demos / "episode-000001.npz") as recording:
        own = recording.rate
    for rate in (own / 2, 0.9 * own, 2 * own):
        code, out, said = convert("out", "lerobot", source, "--rate", rate)
        assert code == 1 and f"a demonstration of {own:g} Hz" in said and f"give --rate {own:g}" in said
        assert said.count("\n") == 1 and not out.exists()
    code, out, _ = convert("out", "lerobot", source, "--rate", own)
    data = parquet.read_table(out / "data/chunk-000/file-001.parquet")
    assert code == 0 and data["next.success"].to_pylist() == [False] * 6 + [True]
    assert data["next.reward"].to_pylist() == read_demo(demos / "episode-000001.npz").rewards.tolist()


def test_a_bag_that_lost_steps_of_its_demonstration_becomes_no_dataset(convert, demos):
    pytest.importorskip("pyarrow")
    _, bag, _ = convert("bag", "mcap", demos / "episode-000000.npz")
    _, other, _ = convert("other", "mcap", demos / "episode-000001.npz")
    (other / "episode-000000" / "demo.npz").replace(bag / "episode-000000" / "demo.npz")
    code, out, said = convert("out", "lerobot", bag)
    assert code == 1 and "6 actions do not fit the 7 of its demonstration" in said and not out.exists()


@pytest.mark.parametrize("kind", ["mcap", "lerobot"])
def test_a_measurement_that_was_no_number_is_still_none(convert, tmp_path, kind):
    if kind == "lerobot":
        pytest.importorskip("pyarrow")
    x = [0.0, np.nan, 2.0, np.nan]
    code, out, said = convert("out", kind, bag_of_poses(tmp_path / "bag", {"/PSM1/measured_cp": x}))
    assert code == 0, said
    state, _ = tracks(find_recordings([out])[0])
    assert np.array_equal(state.values[:, 0], x, equal_nan=True)


@pytest.mark.parametrize(("state", "action"), [
    ("/PSM2/measured_cp", "/PSM2/servo_cp"), ("/theatre/ECM/measured_cp", "/gate_node/dry_run/servo_cp")])
def test_the_one_arm_of_a_bag_keeps_its_name(convert, tmp_path, state, action):
    code, out, _ = convert("out", "mcap", bag_of_poses(tmp_path / "bag", {state: range(5), action: range(5)}))
    topics = yaml.safe_load((out / "episode-000000/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    names = {entry["topic_metadata"]["name"] for entry in topics["topics_with_message_count"]}
    assert code == 0 and names == {"/endoscope/left/image_raw/compressed", state, action}
    assert tracks(out / "episode-000000")[0].names == POSE_NAMES


def test_the_one_arm_of_a_bag_needs_no_place_in_a_dataset(convert, tmp_path):
    pytest.importorskip("pyarrow")
    bags = [bag_of_poses(tmp_path / arm, {f"/{arm}/measured_cp": range(5)}) for arm in ("PSM1", "PSM2")]
    code, out, said = convert("out", "lerobot", *bags)
    assert code == 0 and tracks(Source(out, 1))[0].names == POSE_NAMES, said


def with_force(root):
    """A dataset of the older layout, with a feature more."""
    parquet = pytest.importorskip("pyarrow.parquet")
    info = json.loads((old_dataset(root) / "meta/info.json").read_text())
    info["features"]["observation.force"] = {"dtype": "float32", "shape": [1], "names": None}
    (root / "meta/info.json").write_text(json.dumps(info))
    for file in root.glob("data/*/*.parquet"):
        table = parquet.read_table(file)
        parquet.write_table(table.append_column("observation.force", [np.arange(float(table.num_rows))]), file)
    return root


@pytest.mark.parametrize("words", [["lerobot"], ["mcap"], ["mcap", "--crop", "8,8,32,32"]])
def test_what_of_a_dataset_is_left_out_is_told_once(convert, tmp_path, words):
    code, _, said = convert("out", words[0], with_force(tmp_path / "set"), *words[1:])
    assert code == 0 and said.count("left out of the dataset") == 1
    assert "kept: observation.force\n" in said


@pytest.mark.parametrize("kind", ["lerobot", "mcap", "demos"])
def test_of_a_dataset_of_demonstrations_nothing_is_left_out(convert, demos, kind):
    pytest.importorskip("pyarrow")
    _, there, _ = convert("there", "lerobot", demos)
    code, _, said = convert("out", kind, there)
    assert code == 0 and "left out of the dataset" not in said


def secret_video(path):
    return video(path, frames(12), tags={"title": NAME, "comment": NAME, "creation_time": "2021-03-04T05:06:07Z"},
                 qp="8")


@pytest.mark.parametrize("kind", ["lerobot", "mcap", "video"])
def test_nothing_that_is_written_names_the_patient(convert, tmp_path, kind):
    if kind == "lerobot":
        pytest.importorskip("pyarrow")
    code, out, said = convert("out", kind, secret_video(tmp_path / f"{NAME}.mp4"))
    assert code == 0 and "comment" in said and NAME not in said
    for file in out.rglob("*"):
        assert NAME not in file.name
        assert file.is_dir() or not any(word in file.read_bytes() for word in (b"Jane", b"2021-03-04"))
    with open_recording(find_recordings([out])[0]) as recording:
        assert len(list(recording.pictures())) == 12


def test_what_identifies_is_kept_beside_only_where_that_is_asked_for(convert, tmp_path):
    _, out, _ = convert("out", "video", secret_video(tmp_path / "a.mp4"), "--no-strip")
    kept, = json.loads((out / "sources.json").read_text())
    assert kept["source"] == "a" and kept["title"] == NAME


def test_an_overlay_is_masked_and_a_room_is_blanked(convert, tmp_path):
    tissue, room = np.full((48, 64, 3), (170, 80, 70), np.uint8), np.full((48, 64, 3), (120, 130, 140), np.uint8)
    tissue[:10, :30] = 255
    video(tmp_path / "a.mp4", [tissue] * 3 + [room] * 3, qp="6")
    cv2.imwrite(str(tmp_path / "m.png"), np.pad(np.full((10, 30), 255, np.uint8), ((0, 38), (0, 34))))
    code, out, _ = convert("out", "video", tmp_path / "a.mp4", "--mask", tmp_path / "m.png", "--blank-outside")
    assert code == 0
    with open_recording(out / "episode-000000.mp4") as recording:
        shown = [picture.rgb() for picture in recording.pictures()]
    assert max(picture[:8, :28].max() for picture in shown[:3]) < 40 and shown[0][20:].mean() > 80
    assert max(picture.max() for picture in shown[3:]) < 40


def test_a_picture_of_every_time_is_found_for_a_steady_rate(tmp_path):
    (tmp_path / "a").mkdir()
    for number, picture in enumerate(frames(6)):
        cv2.imwrite(str(tmp_path / f"a/{number}.png"), picture)
    (tmp_path / "a/timestamps.txt").write_text("0\n.11\n.12\n.19\n.5\n.6\n")
    with open_recording(tmp_path / "a") as recording:
        rows = Rows(recording, 10)
        times = [row.time for row in rows]
    assert times == pytest.approx([0, 0.11, 0.19, 0.3, 0.4, 0.5, 0.6])
    assert rows.told() == "pictures: 1 left out (faster than the rate), 2 repeated (none at that time)"


def test_damage_leaves_nothing_behind_or_is_left_out_by_name(convert, tmp_path):
    whole, torn = video(tmp_path / "a.mp4", frames(12)), tmp_path / "b.ts"
    torn.write_bytes(b"nothing of a video")
    code, out, said = convert("out", "video", whole, torn)
    assert code == 1 and "b.ts" in said and not out.exists()
    code, out, said = convert("out", "video", whole, torn, "--skip-damaged")
    assert code == 1 and "left out:" in said and len(list(out.glob("*.mp4"))) == 1


@pytest.mark.parametrize(("words", "told"), [
    (["--to", "demos"], "has no masks, rewards"), (["--to", "demos", "--crop", "auto"], "masks for whole pictures"),
    (["--to", "video", "--lossless"], "--lossless is for"), (["--to", "video", "--rate", "0"], "--rate 0 Hz"),
    (["--to", "demos", "--rate", "5"], "demos keeps every picture"), (["--to", "mcap", "--rate", "5"], "mcap keeps"),
    (["--to", "video", "--task", "cut"], "--task is for lerobot"), (["--to", "mcap", "--topic", "/x"], "one camera")])
def test_what_cannot_be_is_refused_in_a_line(tmp_path, capsys, words, told):
    path = video(tmp_path / "a.mp4", frames(3))
    assert main(["convert", str(path), str(tmp_path / "out"), *words]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_destination_that_is_there_is_left_alone(tmp_path, capsys):
    path = video(tmp_path / "a.mp4", frames(3))
    (tmp_path / "out").mkdir()
    assert main(["convert", str(path), str(tmp_path / "out"), "--to", "video"]) == 1
    assert "exists already" in capsys.readouterr().err


def test_poses_are_written_as_poses(demos):
    with open_recording(demos / "episode-000000.npz") as recording:
        assert recording.state.names == (*POSE_NAMES, "jaw")


@pytest.mark.slow
def test_the_lerobot_package_opens_what_is_written(convert, demos):
    """Opt in with SURGRL_LEROBOT=<python of an environment with lerobot, and FFmpeg's libraries for its decoder>.

    lerobot 0.4.4 opens it beside torch 2.13 and torchcodec 0.17, too, where pip is told to leave its own pins be.
    """
    import os
    python = os.environ.get("SURGRL_LEROBOT")
    if not python:
        pytest.skip("SURGRL_LEROBOT names no python that has lerobot")
    _, root, _ = convert("set", "lerobot", demos)
    code = """if True:
        import sys
        from lerobot.datasets.lerobot_dataset import LeRobotDataset
        data = LeRobotDataset("surgrl/test", root=sys.argv[1],
                              delta_timestamps={"action": [0.0, 1 / 30]})
        assert (data.num_frames, data.num_episodes) == (13, 2), data
        item = data[7]
        assert (int(item["episode_index"]), int(item["frame_index"])) == (1, 1) and item["task"] == "surgrl/Reach-v0"
        print(*item["action"][0].tolist(), item["action"].shape, item["observation.images.endoscope"].shape)
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, "-c", code, str(root)], env=environment, capture_output=True, text=True,
                          timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    _, action = tracks(Source(root, 1))
    assert [float(word) for word in done.stdout.split()[:3]] == list(np.float32(action.values[1]))
    assert "torch.Size([2, 3])" in done.stdout and "torch.Size([3, 48, 64])" in done.stdout


def test_an_unknown_view_is_the_same_error_everywhere():
    with pytest.raises(UserError, match="eye"):
        View(eye="third")
