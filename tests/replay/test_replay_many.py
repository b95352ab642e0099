"""Several recordings in one command: a folder each, an index, and a fault in one keeps none from the others."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from surgrl.cli import main
from surgrl.recordings import Source, find_recordings
from surgrl.replay import folder_names


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture
def recordings(tmp_path, make_video):
    """A folder with two good videos and one that is cut off."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    make_video(folder / "a.mp4", count=12)
    make_video(folder / "b.avi", count=6, codec="mpeg4")
    cut = make_video(folder / "cut.mkv", count=60, noise=True)
    cut.write_bytes(cut.read_bytes()[:cut.stat().st_size * 6 // 10])
    return folder


def test_a_damaged_one_among_many_is_told_and_the_others_are_done(tmp_path, recordings, bundle, capsys):
    out = tmp_path / "out"
    assert main(["replay", str(bundle), str(recordings), "--out", str(out), "--no-video"]) == 1
    told = capsys.readouterr()
    assert "cut.mkv: damaged or cut off" in told.err and "1 of 3 recordings could not be replayed" in told.err
    assert "Traceback" not in told.err and "[3/3]" in told.out
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "index.html"]
    assert [len(table(out / name / "actions.csv")) for name in ("a", "b")] == [12, 6]
    page = (out / "index.html").read_text()
    assert "href='a/report.html'" in page and "href='b/report.html'" in page and "damaged or cut off" in page
    assert "2 of 3 recordings replayed, 1 could not be" in page


def test_started_again_only_what_is_missing_is_done(tmp_path, recordings, bundle, make_video, capsys):
    words = ["replay", str(bundle), str(recordings / "*.[ma][pv]*"), "--out", str(tmp_path / "out"), "--no-video"]
    assert main(words) == 0
    before = (tmp_path / "out" / "a" / "report.html").stat().st_mtime_ns
    make_video(recordings / "c.mp4", count=3)
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert (tmp_path / "out" / "a" / "report.html").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "out" / "c" / "summary.json").read_text())["ticks"] == 3


def test_in_the_folder_of_the_recordings_results_are_taken_for_no_recordings(recordings, bundle, monkeypatch, capsys):
    (recordings / "cut.mkv").unlink()
    monkeypatch.chdir(recordings)
    assert main(["replay", str(bundle), "a.mp4"]) == 0
    (recordings / "a-replay" / "c.mp4").write_bytes((recordings / "a.mp4").read_bytes())     # of the user's own
    own = [Source(Path("a-replay/c.mp4")), Source(Path("a.mp4")), Source(Path("b.avi"))]
    assert main(["replay", str(bundle), "."]) == 0
    assert find_recordings(["."]) == own and find_recordings(["**/*.[am][vp]*"]) == own
    (recordings / "replays" / "a" / "summary.json").unlink()
    (recordings / "replays" / "a" / ".parts").mkdir()       # as after a kill while results take their place
    capsys.readouterr()
    assert main(["replay", str(bundle), "."]) == 0
    told = capsys.readouterr().out
    assert told.count("done before") == 2 and "3 of 3 recordings" in told
    assert find_recordings(["a-replay/replay.mp4"]) == [Source(Path("a-replay/replay.mp4"))]


def test_from_within_a_folder_of_pictures_results_lie_beside_it(tmp_path, bundle, monkeypatch, capsys):
    folder = tmp_path / "frames.1"
    (folder / "more").mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 90, np.uint8))
    before = sorted(folder.rglob("*"))
    for place, source in ((folder, "."), (folder / "more", "..")):
        monkeypatch.chdir(place)
        assert main(["replay", str(bundle), source, "--image-rate", "25", "--no-video"]) == 0
        told = capsys.readouterr().out
        assert str(tmp_path / "frames.1-replay" / "report.html") in told
    assert "done before" in told and sorted(folder.rglob("*")) == before


def test_two_of_one_name_get_folders_of_their_own():
    paths = ["x/a.mp4", "y/a.mp4", "y/b.mp4", "y/b.mkv", "c.mp4"]
    assert folder_names([Source(Path(path)) for path in paths]) == ["x-a", "y-a", "y-b-1", "y-b-2", "c"]
    paths = ["x/a/clip.mp4", "y/a/clip.mp4", "a-clip-1.mp4"]
    assert folder_names([Source(Path(path)) for path in paths]) == ["a-clip-2", "a-clip-3", "a-clip-1"]


def test_a_folder_has_its_whole_name(tmp_path, monkeypatch):
    (tmp_path / "op.01" / "set").mkdir(parents=True)
    (tmp_path / "link.d").symlink_to(tmp_path / "op.01")
    monkeypatch.chdir(tmp_path / "op.01" / "set")
    assert [Source(Path(path)).name for path in ("..", "../../link.d", ".")] == ["op.01", "link.d", "set"]
    assert Source(Path(".."), 3).name == "op.01-000003"


def test_the_replay_of_another_recording_of_the_same_name_stays(tmp_path, make_video, bundle, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("d1", "d2"):
        (tmp_path / name).mkdir()
    videos = [make_video(tmp_path / name / "clip.mp4", count=count) for name, count in (("d1", 3), ("d2", 6))]
    words = [["replay", str(bundle), str(video), "--no-video"] for video in videos]
    assert main(words[0]) == 0
    before = {path.name: path.read_bytes() for path in Path("clip-replay").iterdir()}
    assert main(words[1]) == 1
    told = capsys.readouterr().err
    assert "clip-replay: holds the replay of another recording, clip, " in told and "name another folder" in told
    assert {path.name: path.read_bytes() for path in Path("clip-replay").iterdir()} == before
    assert main([*words[1], "--out", "two"]) == 0
    assert main(["replay", str(bundle), "d1", "--no-video"]) == 0 == main([*words[0], "--rate", "10"])
    capsys.readouterr()
    assert main(["replay", str(bundle), "d2", "--no-video"]) == 1       # replays/clip is d1's
    assert "another recording" in capsys.readouterr().err
    assert json.loads(Path("replays/clip/summary.json").read_text())["ticks"] == 3


def test_a_moved_recording_is_known_again_and_a_changed_one_done_anew(tmp_path, make_video, bundle, capsys):
    video, words = make_video(tmp_path / "a.mp4", count=3), ["--no-video", "--out", str(tmp_path / "out")]
    assert main(["replay", str(bundle), str(video), *words]) == 0
    (tmp_path / "moved").mkdir()
    moved = video.rename(tmp_path / "moved" / "a.mp4")
    assert main(["replay", str(bundle), str(moved), *words]) == 0 and "done before" in capsys.readouterr().out
    assert main(["replay", str(bundle), str(moved), *words, "--rate", "10"]) == 0
    make_video(moved, count=6)
    assert main(["replay", str(bundle), str(moved), *words]) == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["ticks"] == 6


def test_a_second_policy_is_compared_on_the_same_pictures(tmp_path, make_video, make_bundle, bundle):
    make_bundle(tmp_path / "other", (0.5, 0.5, 0.0))
    out = tmp_path / "out"
    assert main(["replay", str(bundle), str(make_video(tmp_path / "a.mp4", count=150)), "--out", str(out),
                 "--against", str(tmp_path / "other"), "--no-video"]) == 0
    rows = [table(out / name) for name in ("actions.csv", "actions-against.csv")]
    assert [row["frame"] for row in rows[0]] == [row["frame"] for row in rows[1]]
    assert {row["v_y [m/s]"] for row in rows[1]} == {"0.025"}
    told = json.loads((out / "summary.json").read_text())
    assert [policy["name"] for policy in told["policies"]] == ["constant", "other"]
    likeness = told["agreement"][0]
    assert likeness["between"] == "the two policies" and likeness["mean"] == pytest.approx(np.sqrt(0.5), abs=1e-5)
    assert likeness["low"] == pytest.approx(likeness["high"]) and likeness["blocks"] == 3


def test_policies_of_two_rates_need_one_for_both(tmp_path, make_video, make_bundle, bundle, capsys):
    make_bundle(tmp_path / "slow", rate=10.0)
    video = make_video(tmp_path / "a.mp4", count=3)
    assert main(["replay", str(bundle), str(video), "--against", str(tmp_path / "slow")]) == 1
    assert "10 and 30 Hz; --rate picks one" in capsys.readouterr().err


def test_parquet_holds_the_numbers_of_the_table(tmp_path, make_video, bundle):
    parquet = pytest.importorskip("pyarrow.parquet")
    video = make_video(tmp_path / "a.mkv", times=[0.0, 0.4, 0.43])
    assert main(["replay", str(bundle), str(video), "--out", str(tmp_path / "out"), "--no-video", "--parquet"]) == 0
    read = parquet.read_table(tmp_path / "out" / "actions.parquet").to_pydict()
    rows = table(tmp_path / "out" / "actions.csv")
    assert list(read) == list(rows[0])
    assert read["frame"] == [int(row["frame"]) for row in rows]
    assert read["hold"] == [row["hold"] == "1" for row in rows]
    assert read["v_x [m/s]"] == [float(row["v_x [m/s]"]) if row["v_x [m/s]"] else None for row in rows]
    assert None in read["v_x [m/s]"] and any(read["reasons"])


def test_only_one_replay_writes_into_a_folder(tmp_path, make_video, bundle, capsys):
    from surgrl.segments import Segments
    with Segments(tmp_path / "out", {}):
        video = make_video(tmp_path / "a.mp4", count=3)
        assert main(["replay", str(bundle), str(video), "--out", str(tmp_path / "out")]) == 1
    assert "another replay is writing there" in capsys.readouterr().err


def test_an_index_or_a_recording_in_the_way_is_left_in_place(tmp_path, recordings, bundle, capsys):
    (recordings / "index.html").write_text("mine")
    words = ["replay", str(bundle), str(recordings), "--no-video", "--out"]
    assert main([*words, str(recordings)]) == 1
    assert "is no index of replays" in capsys.readouterr().err and (recordings / "index.html").read_text() == "mine"
    (tmp_path / "out").mkdir()
    (recordings / "a.mp4").replace(tmp_path / "out" / "a")
    assert main([*words[:3], str(tmp_path / "out" / "a"), "--out", str(tmp_path / "out")]) == 1
    assert "out/a is a file" in capsys.readouterr().err
