"""One frame, one input: whatever the resolution of the camera."""

import numpy as np
import pytest

from surgrl.policy.errors import UserError
from surgrl.policy.image import prepare
from surgrl.policy.spec import ImageSpec


def spec(*, size=(64, 64), crop=(0, 20, 120, 120), colour="rgb") -> ImageSpec:
    return ImageSpec("camera", 160, 120, crop, size, 1, 30.0, colour)


def enlarge(frame: np.ndarray, times: int) -> np.ndarray:
    return frame.repeat(times, axis=0).repeat(times, axis=1)


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def test_a_frame_of_the_size_itself_is_only_cropped(frame):
    got = prepare(frame, spec(size=(60, 50), crop=(10, 30, 60, 50)))
    assert np.array_equal(got, frame[10:70, 30:80])
    assert got.flags.c_contiguous


@pytest.mark.parametrize("times", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(64, 64), (30, 30), (120, 120)])
def test_an_enlarged_frame_gives_what_the_small_one_gives(frame, times, size):
    wanted, got = prepare(frame, spec(size=size)), prepare(enlarge(frame, times), spec(size=size))
    assert np.abs(wanted.astype(int) - got).max() <= 1         # level, of rounding


def test_the_crop_scales_with_the_resolution(frame):
    view = spec(size=(60, 50), crop=(10, 30, 60, 50))
    assert np.array_equal(prepare(enlarge(frame, 4), view), frame[10:70, 30:80])


def test_large_frames_are_averaged_over_areas():
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, (960, 1280, 3), dtype=np.uint8)
    view = spec(size=(30, 40), crop=(0, 0, 120, 160))
    blocks = frame.reshape(30, 32, 40, 32, 3).mean(axis=(1, 3))
    assert np.abs(prepare(frame, view) - blocks).max() <= 2


def test_a_pattern_finer_than_a_pixel_turns_grey_and_does_not_alias():
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[::2] = 255
    assert np.abs(prepare(frame, spec()).astype(int) - 127).max() <= 18     # half of the 7.5 lines of a pixel


def test_the_last_pixel_of_the_crop_counts():
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[-4:, 560 - 4:560] = 255        # the corner of the crop at four times the size
    assert prepare(frame, spec(size=(120, 120)))[-1, -1].min() == 255


def test_a_mask_stays_a_mask_of_one_plane(frame):
    mask = (frame[:, :, 0] > 127).astype(np.uint8)
    assert prepare(mask, spec()).shape == (64, 64)


def test_a_network_that_reads_bgr_gets_bgr(frame):
    assert np.array_equal(prepare(frame, spec(colour="bgr")), prepare(frame, spec())[:, :, ::-1])


def test_another_shape_is_refused_with_both(frame):
    with pytest.raises(UserError, match="160x100 frame has another shape than the 160x120"):
        prepare(frame[:100], spec())


@pytest.mark.parametrize("wrong", [
    np.zeros((120, 160, 3), np.float32), np.zeros((120, 160, 4), np.uint8), np.zeros((120, 160, 1), np.uint8),
    np.zeros((1, 120, 160, 3), np.uint8)])
def test_what_is_not_a_frame_is_refused_with_its_type_and_shape(wrong):
    with pytest.raises(UserError, match=r"a frame is .* must be uint8 \(height, width, 3\)"):
        prepare(wrong, spec())


@pytest.mark.parametrize(("fields", "word"), [
    ({"crop": (0, 60, 120, 120)}, "must lie inside"), ({"crop": (0, 0, 0, 10)}, "must lie inside"),
    ({"size": (4, 64)}, ">= 8 px"), ({"colour": "yuv"}, "one of rgb, bgr")])
def test_a_spec_that_no_frame_can_meet_is_refused(fields, word):
    with pytest.raises(UserError, match=word):
        spec(**fields)


@pytest.mark.parametrize(("camera", "word"), [
    ((480, 640, 480.0), None), ((240, 320, 250.0), None), ((480, 640, 0.0), None),
    ((480, 480, 480.0), "another shape"), ((480, 640, 560.0), "focal length is 1.17"), ((480, 640, 300.0), "0.62"),
    ((480, 640, float("nan")), "focal")])
def test_a_camera_of_another_shape_or_lens_is_foreign(camera, word):
    spec = ImageSpec("camera", 640, 480, (0, 80, 480, 480), (64, 64), 1, 30.0, focal=1.0)
    told = spec.foreign(*camera)
    assert told is None if word is None else word in told
