"""Damaged recordings of every kind: none hangs, none ends in a traceback, each is named with its reason."""

import shutil
import time
from collections import Counter

import numpy as np
import pytest

from surgrl.policy.errors import UserError
from surgrl.recordings import find_recordings, open_recording
from surgrl.view import View
from tests.recordings.damage import damage, make_whole

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


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_five_hundred_damaged_recordings_are_named_with_their_reasons(tmp_path, whole):
    ends = ordeal(whole, tmp_path, range(1000, 1500))
    print(ends)
    assert ends["refused"] > 250, ends
