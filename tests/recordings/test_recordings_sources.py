"""Sources of every kind: found, opened, read alike; and where their state and action come from."""

import av
import cv2
import numpy as np
import pytest

from surgrl.cli import main
from surgrl.demo_file import read_demo, write_demo
from surgrl.footage import absolute
from surgrl.policy.errors import UserError
from surgrl.recordings import Source, find_recordings, open_recording
from surgrl.view import View
from tests.recordings.samples import bag_of_poses, frames, old_dataset, video


def folder_of(path, count=6, suffix=".png", step=1):
    path.mkdir(parents=True)
    for number, picture in enumerate(frames(count)):
        cv2.imwrite(str(path / f"frame{number * step:d}{suffix}"), picture[..., ::-1])
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg"])
def test_numbered_pictures_are_read_in_the_order_of_their_numbers(tmp_path, suffix):
    path = folder_of(tmp_path / "a", 12, suffix)        # frame10 comes after frame9
    with open_recording(path, view=View(rate=10)) as recording:
        assert (recording.rate, recording.duration) == (10, pytest.approx(1.2)) and recording.state is None
        pictures = list(recording.pictures())
    assert [picture.time for picture in pictures] == pytest.approx(np.arange(12) / 10)
    for picture, expected in zip(pictures, frames(12), strict=True):
        assert np.abs(picture.rgb().astype(int) - expected).mean() < (4 if suffix in (".jpg", ".webp") else 1e-9)


def test_a_missing_number_is_a_time_in_which_the_one_before_is_shown(tmp_path):
    with open_recording(folder_of(tmp_path / "a", 3, step=25), view=View(rate=25)) as recording:
        assert [picture.time for picture in recording.pictures()] == [0, 1, 2]
    with open_recording(tmp_path / "a", view=View(rate=25)) as recording:
        assert [picture.number for picture in recording.pictures(1.5)] == [1, 2]


def test_pictures_take_the_times_that_a_file_tells(tmp_path):
    path = folder_of(tmp_path / "a", 3)
    (path / "timestamps.csv").write_text("frame0.png,10.0\nframe1.png,10.5\nframe2.png,12.0\n")
    with open_recording(path) as recording:
        assert [picture.time for picture in recording.pictures()] == [0, 0.5, 2.0]


@pytest.mark.parametrize(("text", "told"), [
    ("1\n2\n", "2 times for 3 pictures"), ("1\n3\n2\n", "must rise"), ("1\nnan\n3\n", "must rise"),
    ("1\n2\n9999\n", "less than 600 s"), ("a\nb\nc\n", "could not convert"), (None, "--image-rate")])
def test_times_that_cannot_be_are_refused(tmp_path, text, told):
    path = folder_of(tmp_path / "a", 3)
    if text is not None:
        (path / "timestamps.txt").write_text(text)
    with pytest.raises(UserError, match=told):
        open_recording(path)


def test_numbers_that_are_time_stamps_are_refused(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    for number, picture in enumerate(frames(3)):
        cv2.imwrite(str(path / f"{1700000000123456789 + number * 40_000_000}.png"), picture)
    with pytest.raises(UserError, match=r"1700000000163456789.png are 1600000 s apart at 25 Hz; .* timestamps.txt"):
        open_recording(path, view=View(rate=25))


def test_a_gap_of_ten_minutes_in_a_dataset_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet
    root = old_dataset(tmp_path / "set", episodes=1, count=3)
    file, = (root / "data").rglob("*.parquet")
    table = parquet.read_table(file)
    place = table.column_names.index("timestamp")
    parquet.write_table(table.set_column(place, "timestamp", [[0.0, 0.04, 700.0]]), file)
    with pytest.raises(UserError, match="must rise, by less than 600 s"):
        open_recording(Source(root, 0))


def test_pictures_that_are_not_one_recording_are_refused(tmp_path):
    path = folder_of(tmp_path / "a", 3)
    (path / "other1.png").write_bytes((path / "frame1.png").read_bytes())
    with pytest.raises(UserError, match="same number"):
        open_recording(path, view=View(rate=1))
    (path / "other1.png").rename(path / "cover.png")
    with pytest.raises(UserError, match="no number in its name"):
        open_recording(path, view=View(rate=1))


def test_all_kinds_are_found_in_a_folder_of_them(tmp_path, demos):
    pytest.importorskip("pyarrow")
    video(tmp_path / "b.MP4", frames(3))
    folder_of(tmp_path / "cases" / "one")
    old_dataset(tmp_path / "set")
    (tmp_path / "demos").symlink_to(demos)
    (tmp_path / "notes.txt").write_text("no recording")
    found = find_recordings([tmp_path])
    assert found == [Source(tmp_path / "b.MP4"), Source(tmp_path / "cases" / "one"),
                     *(Source(tmp_path / "demos" / f"episode-00000{k}.npz") for k in (0, 1)),
                     Source(tmp_path / "set", 0), Source(tmp_path / "set", 1)]
    for source in found:
        with open_recording(source, view=View(rate=25)) as recording:
            assert len(list(recording.pictures())) >= 3 and len(recording.glimpses()) >= 1
            assert isinstance(recording.tags, dict) and recording.width == 64


def test_a_recording_that_several_names_lead_to_is_taken_once(tmp_path):
    (tmp_path / "rec" / "run-1").mkdir(parents=True)
    real = video(tmp_path / "rec" / "run-1" / "a.mp4", frames(3))
    (tmp_path / "rec" / "latest").symlink_to("run-1")
    (tmp_path / "rec" / "run-1" / "up").symlink_to("..")        # leads back
    for words in ([tmp_path / "rec"], [tmp_path / "rec" / "run-1", real, tmp_path / "rec" / ".." / "rec" / "run-1"],
                  [tmp_path / "rec" / "latest", tmp_path / "rec"]):
        assert find_recordings(words) == [Source(real)]
    assert [source.name for source in find_recordings([tmp_path / "rec" / "latest"])] == ["a"]


def test_a_picture_in_a_bags_folder_leaves_it_a_bag(tmp_path):
    bag = bag_of_poses(tmp_path / "bag", {"/PSM1/setpoint_cp": [0.0, 0.01, 0.02]})
    with open_recording(bag) as recording:
        before = recording.duration
    cv2.imwrite(str(bag / "mask1.png"), np.zeros((48, 64, 3), np.uint8))
    for view in (None, View(rate=30)):
        with open_recording(bag, view=view) as recording:
            assert recording.duration == before
    assert find_recordings([tmp_path]) == [Source(bag)]


def test_a_rate_that_is_given_is_for_what_tells_none(tmp_path, demos):
    path = folder_of(tmp_path / "a", 3)
    (path / "timestamps.txt").write_text("0\n0.04\n0.08\n")
    with open_recording(path, view=View(rate=5)) as recording:
        assert recording.rate == pytest.approx(25) and recording.duration == pytest.approx(0.12)
    new = tmp_path / "episode-000000.npz"
    channels = tuple((name, "m/s", -0.05, 0.05) for name in ("v_x", "v_y", "v_z"))
    write_demo(new, read_demo(demos / new.name)._replace(rate=20.0, channels=channels))
    for file, rate in ((new, 20.0), (demos / new.name, 5.0)):
        with open_recording(file, view=View(rate=5)) as recording:
            assert recording.rate == rate and recording.action.time[1] == pytest.approx(1 / rate)


def test_a_name_with_brackets_is_taken_literally_and_a_glob_is_still_one(tmp_path, monkeypatch):
    folder = tmp_path / "br[1]"
    folder.mkdir()
    for name in ("clip[1].mp4", "clip1.mp4"):
        video(folder / name, frames(2))
    for word, names in (("clip[1].mp4", ["clip[1]"]), ("clip[12].mp4", ["clip1"]), ("*.mp4", ["clip1", "clip[1]"])):
        monkeypatch.chdir(folder)
        assert [source.name for source in find_recordings([word])] == names
        told = absolute([word])
        monkeypatch.chdir(tmp_path)
        assert [source.name for source in find_recordings(told)] == names


@pytest.mark.parametrize("cut", [1.0, 0.8])
def test_a_bag_whose_suffix_is_in_capitals_is_a_bag(tmp_path, demos, cut):
    assert main(["convert", str(demos / "episode-000000.npz"), str(tmp_path / "bags"), "--to", "mcap"]) == 0
    whole, = (tmp_path / "bags").rglob("*.mcap")
    loud = tmp_path / "loud" / "X.MCAP"
    loud.parent.mkdir()
    loud.write_bytes(whole.read_bytes()[:int(whole.stat().st_size * cut)])
    assert find_recordings([loud.parent]) == [Source(loud)]
    with open_recording(loud) as recording:
        assert recording.path == loud and recording.state is not None
        assert len(list(recording.pictures())) == 7 or cut < 1


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_tag_that_is_not_utf_8_keeps_no_file_from_being_read(tmp_path, suffix):
    path = video(tmp_path / f"a{suffix}", frames(5), codec="mpeg4", tags={"title": "OpXration"})
    path.write_bytes(path.read_bytes().replace(b"OpXration", "Op\xe9ration".encode("latin-1")))
    with open_recording(path) as recording:
        assert "Op\ufffdration" in recording.tags.values()
        assert len(list(recording.pictures())) == 5 and recording.glimpses()


@pytest.mark.parametrize("sound", [False, True])
def test_a_matroska_file_that_does_not_begin_at_0_is_read_whole_and_a_cut_is_told(tmp_path, sound):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = (64, 48), "yuv420p"
        stream.codec_context.max_b_frames = 0
        if sound:
            track = file.add_stream("pcm_s16le", rate=8000, layout="mono")
            for k in range(6):
                part = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), format="s16", layout="mono")
                part.sample_rate, part.pts = 8000, 4000 * k
                file.mux(track.encode(part))
        for number, picture in enumerate(frames(50)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = 50 + number         # from 2 s on
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with open_recording(path) as recording:
        assert recording.duration == pytest.approx(2.0, abs=0.01)
        times = [picture.time for picture in recording.pictures()]
    assert times == pytest.approx(np.arange(50) / 25, abs=1e-3)
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 3 // 4])
    with open_recording(path) as recording, pytest.raises(UserError, match="damaged or cut off"):
        list(recording.pictures())


def test_a_dataset_of_version_2_1_gives_pictures_state_and_action(tmp_path):
    pytest.importorskip("pyarrow")
    old_dataset(tmp_path / "set")
    with open_recording(Source(tmp_path / "set", 1)) as recording:
        assert (recording.rate, recording.duration, recording.task) == (25, pytest.approx(0.4), "lift the flap")
        assert recording.state.names == ("x", "jaw") and recording.action.names == ("action_0", "action_1")
        assert recording.state.values[3] == pytest.approx([1.6, 1.7]) and recording.state.time[3] == 3 / 25
        pictures = list(recording.pictures())
    assert np.abs(pictures[7].rgb().astype(int) - frames(10)[7]).mean() < 6
    with open_recording(Source(tmp_path / "set", 1)) as recording:
        assert [picture.number for picture in recording.pictures(0.2)] == [5, 6, 7, 8, 9]


def test_a_dataset_wants_its_episode_and_its_camera_named(tmp_path):
    pytest.importorskip("pyarrow")
    old_dataset(tmp_path / "set")
    with pytest.raises(UserError, match="2 episodes, and no episode is named"):
        open_recording(tmp_path / "set")
    with pytest.raises(UserError, match="laparoscope_left"):
        open_recording(Source(tmp_path / "set", 0), "observation.images.right")


def test_a_dataset_that_leads_out_of_its_folder_is_not_followed(tmp_path):
    pytest.importorskip("pyarrow")
    old_dataset(tmp_path / "set")
    info = tmp_path / "set/meta/info.json"
    info.write_text(info.read_text().replace('"data/chunk', '"../../data/chunk'))
    with pytest.raises(UserError, match="leads out of the dataset"):
        open_recording(Source(tmp_path / "set", 0))


def test_a_demonstration_tells_in_si_units_what_was_done(demos):
    with open_recording(demos / "episode-000000.npz") as recording:
        raw = np.load(recording.path)["actions"]
        assert recording.task == "surgrl/Reach-v0" and recording.action.units == ("m/s",) * 3
        assert recording.state.units[:4] == ("m", "m", "m", "1") and recording.state.units[-1] == "rad"
        assert len(recording.state.time) == len(recording.action.time) + 1
        speed = recording.action.values[0, 0] / raw[0, 0]
        assert speed == pytest.approx(0.05) and (np.float32(recording.action.values / 0.05) == raw).all()


def test_what_a_robot_did_is_read_out_of_a_bag(tmp_path):
    numbers = np.arange(5.0)
    bag_of_poses(tmp_path / "bag", {"/PSM1/measured_cp": numbers, "/PSM2/measured_cp": numbers + 0.5,
                                    "/PSM1/servo_cp": -numbers, "/gate_node/dry_run/servo_cp": numbers + 99})
    with open_recording(tmp_path / "bag") as recording:
        state, action = recording.state, recording.action
        assert recording.rate == 25
    assert state.names[0] == "PSM1/x" and state.names[7] == "PSM2/x" and state.values[3, 0] == 3
    assert state.values[3, 7] == 2.5        # PSM2's newest by PSM1's third time
    assert action.names == ("x", "y", "z", "qx", "qy", "qz", "qw") and action.units[0] == "m"
    assert list(action.values[:, 0]) == [0, -1, -2, -3, -4]     # the arm's, not the dry run's
