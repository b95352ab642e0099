"""`surgrl replay` as a user runs it, on videos that are really encoded and decoded."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from surgrl.cli import main
from surgrl.video import VideoReader

RESULTS = ("actions.csv", "replay.mp4", "report.html", "latency.json", "summary.json", "thumbnail.jpg")


@pytest.fixture
def replay(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """Run the command: exit code, rows of actions.csv, and what it wrote to stderr."""
    def call(video: Path, *options: str, policy: Path = bundle) -> tuple[int, list[dict[str, str]], str]:
        code = main(["replay", str(policy), str(video), "--out", str(tmp_path / "out"), *options])
        table = tmp_path / "out" / "actions.csv"
        rows = list(csv.DictReader(table.read_text().splitlines())) if table.is_file() else []
        return code, rows, capsys.readouterr().err
    return call


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libx264")])
def test_every_frame_at_the_rate_of_the_policy_is_acted_on(tmp_path, make_video, replay, name, codec):
    code, rows, _ = replay(make_video(tmp_path / name, codec=codec))
    assert code == 0
    assert [row["frame"] for row in rows] == [str(number) for number in range(30)]
    assert [float(row["time_s"]) for row in rows] == pytest.approx(np.arange(30) / 30, abs=1e-3)
    assert {float(row["v_x [m/s]"]) for row in rows} == {0.025}
    assert all(float(row["age_ms"]) <= 1.0 and row["hold"] == "0" for row in rows)


def test_the_annotated_video_has_one_frame_for_each_action_and_a_legible_size(tmp_path, make_video, replay):
    _, rows, _ = replay(make_video(tmp_path / "a.mp4"))
    with VideoReader(tmp_path / "out" / "replay.mp4") as video:
        assert (video.width, video.height) == (640, 480)
        assert len(list(video.pictures())) == len(rows)


def test_no_video_writes_all_but_the_video(tmp_path, make_video, replay):
    replay(make_video(tmp_path / "a.mp4"), "--no-video")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted({*RESULTS} - {"replay.mp4"})


def test_the_folder_is_named_after_the_video_and_lies_where_the_user_is(tmp_path, make_video, bundle,
                                                                        monkeypatch):
    video = make_video(tmp_path / "opération 1.mp4", count=3)
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    assert main(["replay", str(bundle), str(video)]) == 0
    assert sorted(path.name for path in Path("opération 1-replay").iterdir()) == sorted(RESULTS)


def test_a_name_with_a_colon_is_read_and_written_where_the_user_is(tmp_path, make_video, bundle, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "2024-01-01T10:00:00.mp4", count=3)
    assert main(["replay", str(bundle), "2024-01-01T10:00:00.mp4", "--out", "a:b"]) == 0
    assert sorted(path.name for path in Path("a:b").iterdir()) == sorted(RESULTS)
    assert main(["convert", "2024-01-01T10:00:00.mp4", "c:d", "--to", "video"]) == 0


def test_a_60_fps_video_feeds_a_30_hz_policy_every_other_frame(tmp_path, make_video, replay):
    _, rows, _ = replay(make_video(tmp_path / "a.mp4", rate=60, count=60), "--no-video")
    assert [int(row["frame"]) for row in rows] == list(range(0, 60, 2))


def test_a_25_fps_video_repeats_some_frames_for_a_30_hz_policy_and_tells_age(tmp_path, make_video, replay):
    _, rows, _ = replay(make_video(tmp_path / "a.mp4", rate=25, count=50), "--no-video")
    assert len(rows) == 60
    assert {int(row["frame"]) for row in rows} == set(range(50))
    assert max(float(row["age_ms"]) for row in rows) == pytest.approx(33.3, abs=0.1)


def test_an_image_older_than_the_limit_holds(tmp_path, make_video, replay):
    times = [*np.arange(10) / 30, 0.3 + 0.5, *(0.8 + np.arange(1, 5) / 30)]     # 0.5 s without a picture
    _, rows, _ = replay(make_video(tmp_path / "a.mkv", times=times), "--no-video")
    held = [row for row in rows if row["hold"] == "1"]
    assert [float(row["age_ms"]) > 100 for row in rows] == [row["hold"] == "1" for row in rows]
    assert 10 <= len(held) <= 12
    assert held[0]["reasons"].startswith("image is 133 ms old") and held[0]["v_x [m/s]"] == ""
    sent = [float(row["sent_speed [m/s]"]) for row in held]      # it brakes within its limits, then stands
    assert 0 < sent[0] < 0.025 and max(sent[3:]) < 1e-6


def test_the_gate_brakes_a_start_that_is_too_sudden(tmp_path, make_video, replay):
    _, rows, _ = replay(make_video(tmp_path / "a.mp4"), "--no-video", "--acceleration", "0.15")
    sent = [float(row["sent_speed [m/s]"]) for row in rows]
    steps = np.diff([0.0, *sent])
    assert (steps >= -1e-9).all() and steps.max() == pytest.approx(0.15 / 30, rel=1e-3)
    assert sent[0] < 0.003 and sent[7:] == pytest.approx([0.025] * len(sent[7:]))           # jerk rounds the start off
    assert rows[0]["reasons"].startswith("acceleration") and rows[8]["reasons"] == ""


def test_an_action_that_is_no_number_holds(tmp_path, make_video, make_bundle, replay):
    make_bundle(tmp_path / "nan", "nan")
    code, rows, _ = replay(make_video(tmp_path / "a.mp4", count=3), policy=tmp_path / "nan")
    assert code == 0 and all(row["hold"] == "1" and row["v_x [m/s]"] == "nan" for row in rows)


def test_start_and_duration_pick_a_part_by_presentation_time(tmp_path, make_video, replay):
    video = make_video(tmp_path / "a.mp4", count=90)
    _, whole, _ = replay(video, "--no-video")
    _, part, _ = replay(video, "--no-video", "--start", "1.5", "--duration", "0.5")
    assert [row["frame"] for row in part] == [str(number) for number in range(45, 60)]
    assert [row["time_s"] for row in part] == [row["time_s"] for row in whole[45:60]]


def test_rate_overrides_the_policy(tmp_path, make_video, replay):
    _, rows, _ = replay(make_video(tmp_path / "a.mp4"), "--no-video", "--rate", "10")
    assert [int(row["frame"]) for row in rows] == list(range(0, 30, 3))


def test_another_shape_takes_the_middle_and_says_so_in_one_line(tmp_path, make_video, replay):
    code, rows, told = replay(make_video(tmp_path / "a.mp4", size=(320, 180)), "--no-video")
    assert code == 0 and len(rows) == 30
    assert "its middle 240x180 is used" in told and told.count("\n") == 1


def test_another_resolution_of_the_same_shape_says_nothing(tmp_path, make_video, replay):
    code, _, told = replay(make_video(tmp_path / "a.mp4", size=(320, 240)), "--no-video")
    assert code == 0 and told == ""


def test_crop_picks_the_part_that_is_the_picture_of_the_camera(tmp_path, make_video, replay):
    video = make_video(tmp_path / "a.mp4", size=(320, 180))
    code, _, told = replay(video, "--no-video", "--crop", "10,20,120,160")
    assert code == 0 and told == ""


def _truncate(path: Path, part: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[:int(len(whole) * part)])
    return path


def _damage(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 2000] = bytes(byte ^ 0x5A for byte in data[middle:middle + 2000])
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("name", "codec", "flags"), [
    ("a.mp4", "libx264", "faststart"), ("a.avi", "mpeg4", ""), ("a.mkv", "libx264", "")])
@pytest.mark.parametrize("hurt", [lambda path: _truncate(path, 0.6), _damage], ids=["cut", "damaged"])
def test_a_broken_video_is_refused_with_a_mend(tmp_path, make_video, replay, name, codec, flags, hurt):
    video = hurt(make_video(tmp_path / name, count=60, codec=codec, movflags=flags, noise=True))
    code, _, told = replay(video)
    assert code == 1 and told.count("\n") == 1
    assert "frames could be read" in told and "of 2.00 s" in told and "ffmpeg -err_detect" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [name], "something half-written was left"


@pytest.mark.parametrize(("name", "codec", "flags", "options"), [
    ("a.mov", "libx264", "faststart", ()), ("a.mp4", "libx264", "frag_keyframe+empty_moov", ()),
    ("a.mkv", "libx264", "", ()), ("a.avi", "mpeg4", "", ()), ("a.ts", "libx264", "", ()),
    ("a.mpg", "mpeg2video", "", ()), ("a.wmv", "wmv2", "", ()), ("a.webm", "libvpx", "", ()),
    ("a.mkv", "libx264", "", ("--start", "0.31")), ("a.mkv", "libx264", "", ("--rate", "7")),
    ("a.mkv", "libx264", "", ("--deinterlace", "always"))])
def test_the_part_before_the_damage_can_be_replayed_as_the_message_says(tmp_path, make_video, replay, name, codec,
                                                                        flags, options):
    video = _truncate(make_video(tmp_path / name, count=60, codec=codec, movflags=flags, noise=True), 0.7)
    code, _, told = replay(video, "--no-video", *options)
    read = re.search(r"(\d+) frames could be read", told)
    words = re.search(r"--duration [\d.]+\n$", told)
    assert code == 1 and told.count("\n") == 1 and read and words, told
    code, rows, told = replay(video, "--no-video", *options, *words[0].split())
    assert code == 0 and told == ""
    lost = int(read[1]) - 1 - int(rows[-1]["frame"])     # 5: of 7 Hz on 30; bwdif holds one back
    assert 0 <= lost <= (5 if "--rate" in options else 2)


def test_a_broken_video_leaves_the_result_of_an_earlier_run(tmp_path, make_video, replay):
    video = make_video(tmp_path / "a.mkv", count=60, noise=True)
    replay(video)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    code, _, _ = replay(_truncate(video, 0.6))
    assert code == 1 and {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_an_mp4_whose_recording_was_cut_off_has_no_index(tmp_path, make_video, replay):
    code, _, told = replay(_truncate(make_video(tmp_path / "a.mp4"), 0.6))
    assert code == 1 and "without its index" in told and told.count("\n") == 1


@pytest.mark.parametrize(("options", "word"), [
    (("--crop", "0,0,130,160"), "must lie inside"), (("--crop", "1,2,3"), "four whole numbers"),
    (("--crop", "-1,0,50,50"), "must lie inside"), (("--start", "5"), "lasts 1.00 s"),
    (("--start", "-1"), "start must be 0 or more"), (("--duration", "0"), "duration above 0"),
    (("--duration", "nan"), "duration above 0"), (("--rate", "0"), "above 0 and at most 1000"),
    (("--speed", "-1"), "limits.speed"), (("--acceleration", "nan"), "limits.acceleration")])
def test_a_wrong_option_is_refused_in_one_line(tmp_path, make_video, replay, options, word):
    code, _, told = replay(make_video(tmp_path / "a.mp4"), *(f"{options[0]}={options[1]}",))
    assert code == 1 and word in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_such_file_no_video_and_sound_alone_are_told_apart(tmp_path, replay):
    import av
    assert "names no recording" in replay(tmp_path / "none.mp4")[2]
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "not a video" in replay(tmp_path / "garbage.mp4")[2]
    (tmp_path / "empty.mp4").touch()
    assert "not a video" in replay(tmp_path / "empty.mp4")[2]
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=48000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 48000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    assert "no video stream" in replay(tmp_path / "sound.mp4")[2]
    assert not (tmp_path / "out").exists()


def test_a_policy_that_reads_the_robot_cannot_be_replayed(tmp_path, make_video, make_bundle, replay):
    make_bundle(tmp_path / "proprio", proprio=("x", "y"))
    code, _, told = replay(make_video(tmp_path / "a.mp4"), policy=tmp_path / "proprio")
    assert code == 1 and "reads the state of the robot too (x, y)" in told


def test_out_that_is_a_file_is_refused(tmp_path, make_video, replay):
    (tmp_path / "out").write_text("mine")
    code, _, told = replay(make_video(tmp_path / "a.mp4"))
    assert code == 1 and "is a file" in told and (tmp_path / "out").read_text() == "mine"
    code, _, told = replay(tmp_path / "a.mp4", "--out", str(tmp_path / "a.mp4" / "out"))
    assert code == 1 and "is a file" in told and told.count("\n") == 1


def all_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", [(), ("--no-video",)])
@pytest.mark.parametrize("linked", [False, True])
def test_results_never_take_the_place_of_the_recording(tmp_path, make_video, replay, options, linked):
    (tmp_path / "out").mkdir()
    video = make_video((tmp_path if linked else tmp_path / "out") / "replay.mp4", count=3)
    if linked:
        (tmp_path / "out" / "replay.mp4").symlink_to(video)
    before = all_of(tmp_path)
    code, _, told = replay(video, *options)
    assert code == 1 and "would replace the recording" in told and told.count("\n") == 1
    assert all_of(tmp_path) == before


@pytest.mark.parametrize("inner", [".", "results"])
def test_results_do_not_get_among_the_pictures_of_a_recording(tmp_path, replay, inner):
    (tmp_path / "out").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"out/{number}.png"), np.full((48, 64, 3), 90, np.uint8))
    before = all_of(tmp_path)
    code, _, told = replay(tmp_path / "out", "--image-rate", "25", "--out", str(tmp_path / "out" / inner))
    assert code == 1 and "lies in the recording" in told and told.count("\n") == 1 and all_of(tmp_path) == before


@pytest.mark.parametrize(("name", "text"), [
    ("summary.json", '{"mean": 1}'), ("summary.json", "[]"), ("summary.json", "text"), ("summary.json", '{"key": 3}'),
    ("summary.json", "\udcff"), ("actions.csv", "mine"), ("report.html", "mine"), ("replay-against.mp4", "mine")])
def test_a_file_that_is_no_replays_is_left_in_place(tmp_path, make_video, replay, name, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(text, errors="surrogateescape")
    before = all_of(tmp_path / "out")
    code, _, told = replay(make_video(tmp_path / "a.mp4", count=3))
    assert code == 1 and f"{tmp_path / 'out' / name}: " in told and "name another --out" in told
    assert told.count("\n") == 1 and all_of(tmp_path / "out") == before


def test_files_of_the_users_own_beside_the_results_stay(tmp_path, make_video, replay):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    video = make_video(tmp_path / "out" / "a.mp4", count=3)
    assert replay(video)[0] == replay(video, "--no-video")[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*RESULTS, "notes.txt", "a.mp4"} - {"replay.mp4"}
