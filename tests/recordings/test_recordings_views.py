"""How recorded pictures are looked at: turned, deinterlaced, cropped, masked, one eye, no people."""

from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from surgrl.outside import is_outside
from surgrl.policy.errors import UserError
from surgrl.recordings import open_recording
from surgrl.video import VideoReader
from surgrl.view import View
from tests.recordings.samples import frames, of_two_sizes, video

SHARP = {"qp": "6"}


def first(path, **view):
    with open_recording(path, view=View(**view)) as recording:
        picture = next(iter(recording.pictures()))
        assert picture.rgb().shape == (recording.height, recording.width, 3)
        planes = picture.yuv(recording.width // 2 * 2, recording.height // 2 * 2)
        assert planes.shape == (recording.height // 2 * 3, recording.width // 2 * 2)
        return picture.rgb().astype(int)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return video(tmp_path_factory.mktemp("plain") / "a.mp4", frames(), **SHARP)


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_a_flag_that_turns_the_picture_is_obeyed(tmp_path, degrees):
    got = first(video(tmp_path / "a.mp4", frames(3), turned=degrees, **SHARP))
    expected = np.rot90(frames(1)[0], degrees // 90).astype(int)
    assert got.shape == expected.shape and np.abs(got - expected).mean() < 3


def test_a_turn_that_is_no_quarter_is_refused(tmp_path):
    with pytest.raises(UserError, match="turned by 45 degrees"), VideoReader(
            video(tmp_path / "a.mp4", frames(3), turned=45)):
        pass


@pytest.mark.parametrize(("aspect", "width"), [
    (Fraction(16, 11), 94), (Fraction(10, 11), 58), (Fraction(200, 201), 64)])
def test_pixels_that_are_not_square_are_made_so(tmp_path, aspect, width):
    got = first(video(tmp_path / "a.mp4", frames(3), aspect=aspect, **SHARP))
    expected = cv2.resize(frames(1)[0], (width, 48), interpolation=cv2.INTER_LINEAR).astype(int)
    assert got.shape == expected.shape and np.abs(got - expected).mean() < 3
    turned = first(video(tmp_path / "b.mp4", frames(3), aspect=aspect, turned=90, **SHARP))
    assert np.abs(turned - np.rot90(expected)).mean() < 3


def test_pixels_of_a_shape_that_no_recorder_gives_are_refused(tmp_path):
    with pytest.raises(UserError, match="pixels 9 times as wide as high"), VideoReader(
            video(tmp_path / "a.mp4", frames(3), aspect=Fraction(9))):
        pass


def fields(count):
    """A box that moves from each field to the next."""
    pictures = [np.full((48, 64, 3), 40, np.uint8) for _ in range(count)]
    for number, picture in enumerate(pictures):
        for parity in (0, 1):
            picture[parity::2, 4 + 4 * number + 2 * parity:16 + 4 * number + 2 * parity] = 220
    return pictures


def test_interlaced_frames_lose_their_combs_and_keep_their_times(tmp_path):
    path = video(tmp_path / "a.mp4", fields(8), flags="+ildct+ilme", qp="6",
                 **{"x264-params": "interlaced=1:tff=1"})
    with VideoReader(path) as mended, VideoReader(path, deinterlace="never") as combed:
        pairs = list(zip(mended.pictures(), combed.pictures(), strict=True))
    assert [one.time for one, _ in pairs] == [two.time for _, two in pairs]
    assert [one.until for one, _ in pairs] == pytest.approx([two.until for _, two in pairs])
    rough = [np.abs(np.diff(picture.rgb()[..., 0].astype(int), axis=0)).mean() for picture in pairs[4]]
    assert rough[0] < 0.2 * rough[1]


def test_a_progressive_video_is_left_as_it_is_unless_told_otherwise(plain):
    with VideoReader(plain) as one, VideoReader(plain, deinterlace="never") as two:
        assert all((a.rgb() == b.rgb()).all() for a, b in zip(one.pictures(), two.pictures(), strict=True))
    with VideoReader(plain, deinterlace="always") as always:
        assert len(list(always.pictures())) == 12


def test_a_high_picture_that_names_no_matrix_is_taken_for_bt709(tmp_path):
    red = [np.full((720, 64, 3), (180, 60, 50), np.uint8)] * 2
    plain, told = (video(tmp_path / name, red, matrix=matrix, **SHARP) for name, matrix in (("a.mp4", None),
                                                                                            ("b.mp4", 1)))
    assert np.abs(first(told).mean(axis=(0, 1)) - (180, 60, 50)).max() < 4
    with VideoReader(plain) as video_:      # PyAV writes BT.601 planes where no matrix is named
        assert video_.colour[0] == 1
        assert np.abs(next(video_.pictures()).rgb().mean(axis=(0, 1)) - (189, 69, 47)).max() < 4


def test_no_view_gives_the_decoders_own_pictures(plain):
    with open_recording(plain, view=View()) as recording:
        assert isinstance(recording, VideoReader)
        assert next(recording.pictures()).edit is None


def test_a_crop_is_cut_to_the_pixel(plain):
    whole = first(plain)
    assert (first(plain, crop="5,7,21,33") == whole[5:26, 7:40]).all()


@pytest.mark.parametrize("crop", ["0,0,49,64", "a", "1,2,3"])
def test_a_crop_that_does_not_fit_is_refused(plain, crop):
    with pytest.raises(UserError, match="crop"):
        first(plain, crop=crop)


def test_a_mask_blanks_what_it_marks(tmp_path, plain):
    mask = np.zeros((48, 64), np.uint8)
    mask[40:, :20] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    got = first(plain, mask=tmp_path / "m.png")
    assert (got[40:, :20] == 0).all() and (got[:40] == first(plain)[:40]).all()


def test_a_mask_of_another_size_or_none_at_all_is_refused(tmp_path, plain):
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((10, 10), np.uint8))
    with pytest.raises(UserError, match="10x10 px, the recorded pictures are 64x48"):
        first(plain, mask=tmp_path / "m.png")
    with pytest.raises(UserError, match="no picture that can be read"):
        first(plain, mask=plain)


@pytest.mark.parametrize(("layout", "axis"), [("side-by-side", 1), ("over-under", 0)])
def test_an_eye_is_taken_from_either_layout(tmp_path, layout, axis):
    left, right = frames(1)[0], frames(1)[0][:, ::-1]
    path = video(tmp_path / "a.mp4", [np.concatenate([left, right], axis=axis)] * 2, **SHARP)
    for eye, expected in (("left", left), ("right", right)):
        assert np.abs(first(path, eye=eye, layout=layout) - expected.astype(int)).mean() < 3


def bordered(circle):
    """160 px wide, 120 high; picture in 100..., or within a circle of radius 50 around (80, 60)."""
    rows, columns = np.mgrid[:120, :160]
    shown = (rows - 60) ** 2 + (columns - 80) ** 2 < 50 ** 2 if circle else (columns >= 20) & (columns < 140)
    rng = np.random.default_rng(0)
    for number in range(8):
        picture = np.where(shown[..., None], (150, 70, 60), 0) + rng.integers(0, 12, (120, 160, 3))
        picture[2:9, 2:12] = 200                    # a letter in the border
        picture[50:60, 60 + number:70 + number] = 0      # a shaft
        yield picture.astype(np.uint8)


def test_black_borders_are_found(tmp_path):
    height, width, _ = first(video(tmp_path / "a.mp4", bordered(False), **SHARP), crop="auto").shape
    assert height == pytest.approx(120, abs=2) and width == pytest.approx(120, abs=6)


def test_an_endoscopes_circle_is_boxed_or_its_inside_taken(tmp_path):
    path = video(tmp_path / "a.mp4", bordered(True), **SHARP)
    height, width, _ = first(path, crop="auto").shape
    assert height == pytest.approx(100, abs=8) and width == pytest.approx(100, abs=8)
    inside = first(path, crop="inside")
    assert inside.shape[0] * inside.shape[1] == pytest.approx(5000, rel=0.15)      # the square in the circle
    assert (inside.max(axis=2) > 24).mean() > 0.95


def opened(count=200):
    """A light circle in the dark, small at first, and whole after a fifth of the time."""
    rows, columns = np.mgrid[:120, :160]
    for number in range(count):
        radius = 20 + 36 * min(1, number / (count / 5))
        lit = np.hypot(rows - 60, columns - 80) < radius
        yield np.where(lit[..., None], (150, 70, 60), 0).astype(np.uint8)


@pytest.mark.parametrize(("name", "group"), [
    ("few.mp4", 250), ("many.mp4", 12), ("piped.mkv", 250), ("piped.mkv", 12)])
def test_borders_are_those_of_all_of_it_whatever_its_key_frames_and_length(tmp_path, name, group):
    path = video(tmp_path / "a.mp4", opened(), g=str(group))
    if name == "piped.mkv":         # a pipe cannot go back to write how long it was
        with open(tmp_path / name, "wb") as pipe, av.open(str(path)) as source:
            unseekable = SimpleNamespace(write=pipe.write)
            with av.open(unseekable, "w", format="matroska") as file:
                stream = file.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = stream
                        file.mux(packet)
        path = tmp_path / name
        with VideoReader(path) as recording:
            assert recording.duration is None
    height, width, _ = first(path, crop="auto").shape
    assert height == pytest.approx(112, abs=8) and width == pytest.approx(112, abs=8)


def test_a_part_of_a_video_is_glimpsed_at_alone(tmp_path):
    shades = [np.full((48, 64, 3), 40 + number, np.uint8) for number in range(150)]
    with VideoReader(video(tmp_path / "a.mp4", shades, g="250")) as recording:     # 25 Hz
        for start, end in ((0.0, 2.0), (2.0, 4.0), (4.0, 6.0)):
            seen = [float(picture.mean()) for picture in recording.glimpses(start, end)]
            assert len(seen) >= 8 and 40 + 25 * start - 3 < min(seen) and max(seen) < 40 + 25 * end + 3
            assert max(seen) - min(seen) > 40


def test_a_recording_that_is_dark_all_over_has_no_border(tmp_path):
    with pytest.raises(UserError, match="dark all over"):
        first(video(tmp_path / "a.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3), crop="auto")


@pytest.mark.parametrize("view", [{"crop": "auto"}, {"crop": "inside", "mask": "m.png"}, {"mask": "m.png"},
                                  {"eye": "left"}, {"blank_outside": True}])
def test_pictures_of_mixed_sizes_are_refused_in_a_line_however_they_are_looked_at(tmp_path, view):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, size in enumerate([(64, 48)] * 3 + [(96, 64)] * 3):
        cv2.imwrite(str(mixed / f"{number}.png"), frames(1, size)[0])
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((48, 64), np.uint8))
    if "mask" in view:
        view = view | {"mask": tmp_path / view["mask"]}
    for path in (mixed, of_two_sizes(tmp_path / "a.ts", "libx264")):
        with pytest.raises(UserError, match="96x64 px, the first (one is )?64x48"), open_recording(
                path, view=View(rate=25, **view)) as recording:
            for picture in recording.pictures():
                picture.rgb()
        with pytest.raises(UserError, match="96x64 px, the first 64x48"), open_recording(
                path, view=View(rate=25, **view)) as recording:
            recording.glimpses()


def test_a_room_is_blanked_and_tissue_is_not(tmp_path):
    tissue, room = np.full((48, 64, 3), (170, 80, 70), np.uint8), np.full((48, 64, 3), (120, 130, 140), np.uint8)
    assert is_outside(room) and not is_outside(tissue) and not is_outside(tissue * 0)
    path = video(tmp_path / "a.mp4", [tissue, tissue, room, room], **SHARP)
    with open_recording(path, view=View(blank_outside=True)) as recording:
        light = [picture.rgb().mean() for picture in recording.pictures()]
    assert min(light[:2]) > 90 and max(light[2:]) == 0


@pytest.mark.parametrize("options", [{"eye": "middle"}, {"layout": "round"}, {"deinterlace": "no"}, {"rate": 0.0},
                                     {"rate": float("nan")}])
def test_options_that_are_not_allowed_are_refused(options):
    with pytest.raises(UserError, match=f"{next(iter(options))}.*(allowed are|at most 1000)"):
        View(**options)
