"""Damaged recordings of every kind: none hangs, none ends in a traceback, each is named with its reason."""

import shutil
import time
from collections import Counter

import cv2
import numpy as np
import pytest

from surgrl.cli import main
from surgrl.policy.errors import UserError
from surgrl.recordings import Source, find_recordings, open_recording
from surgrl.video import VideoReader
from surgrl.view import View
from tests.recordings.damage import damage, make_whole
from tests.recordings.samples import of_two_sizes

LONGEST = 10.0      # s of CPU time that a file of some kB may take


@pytest.fixture(scope="module")
def whole(tmp_path_factory, demos):
    return make_whole(tmp_path_factory.mktemp("whole"), demos)


def read(path):
    """Pictures that could be read."""
    count = 0
    for source in find_recordings([path]):
        with open_recording(source, view=View(rate=25)) as recording:
            for picture in recording.pictures():
                picture.rgb()
                count += 1
            for track in (recording.state, recording.action):
                assert track is None or len(track.time) == len(track.values)
    return count


def ordeal(whole, folder, seeds):
    """Damage and read; what came of each kind."""
    ends = Counter()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        kind = whole[seed % len(whole)]
        place = folder / str(seed)
        place.mkdir()
        path, done = damage(kind, place, rng)
        began = time.process_time()
        try:
            read(path)
            ends["read"] += 1
        except UserError as error:
            text = str(error)
            assert path.name in text or path.stem in text, f"seed {seed}, {done}: does not name the file: {text}"
            assert len(text) > len(str(path)) + 15, f"seed {seed}, {done}: gives no reason: {text}"
            ends["refused"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, {done}: {type(error).__name__}: {error}") from error
        assert time.process_time() - began < LONGEST, f"seed {seed}, {done}: took too long"
        shutil.rmtree(place)
    return ends


def test_all_of_them_are_read_while_they_are_whole(whole):
    assert all(read(path) >= 3 for path in whole)


def test_forty_damaged_recordings_are_named_with_their_reasons(tmp_path, whole):
    ends = ordeal(whole, tmp_path, range(40))
    assert ends["refused"] > 20, ends


@pytest.mark.parametrize(("name", "codec", "pixels"), [
    ("a.ts", "libx264", "yuv420p"), ("a.mkv", "mjpeg", "yuvj420p"), ("a.webm", "libvpx", "yuv420p")])
@pytest.mark.parametrize("deinterlace", ["flagged", "always"])
def test_a_video_whose_picture_changes_its_size_is_read_to_there(tmp_path, name, codec, pixels, deinterlace):
    path, read = of_two_sizes(tmp_path / name, codec, pixels), []
    with VideoReader(path, deinterlace=deinterlace) as recording:
        assert (recording.width, recording.height) == (64, 48)
        with pytest.raises(UserError, match=r"picture at 0.48 s is 96x64 px, the first 64x48"):
            for picture in recording.pictures():
                read.append(picture.rgb().shape)
    assert read == [(48, 64, 3)] * (12 if deinterlace == "flagged" else 11)     # bwdif holds one back


def test_a_dataset_whose_stored_picture_changes_its_size_is_read_to_there(tmp_path, demos):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    words = [str(demos / "episode-000000.npz"), str(tmp_path / "set")]
    assert main(["convert", *words, "--to", "lerobot", "--lossless"]) == 0
    file, = (tmp_path / "set/data").rglob("*.parquet")
    table = parquet.read_table(file)
    key, column = next((name, table[name].to_pylist()) for name in table.column_names if "images" in name)
    column[3]["bytes"] = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    field = table.field(key)
    changed = table.set_column(table.column_names.index(key), field, arrow.array(column, field.type))
    parquet.write_table(changed, file)
    with open_recording(Source(tmp_path / "set", 0)) as recording:
        pictures = recording.pictures()
        assert [next(pictures).number for _ in range(3)] == [0, 1, 2]
        with pytest.raises(UserError, match="picture 3 is 30x20 px, the first 64x48"):
            next(pictures)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_five_hundred_damaged_recordings_are_named_with_their_reasons(tmp_path, whole):
    ends = ordeal(whole, tmp_path, range(1000, 1500))
    print(ends)
    assert ends["refused"] > 250, ends
