"""Reading and writing video: times, colours, odd sizes, threads."""

from pathlib import Path

import numpy as np
import pytest

import surgrl.ahead
from surgrl.ahead import ahead
from surgrl.policy.errors import UserError
from surgrl.video import VideoReader
from surgrl.video_writer import write_video


def test_a_written_video_is_h264_yuv420p_at_its_rate_and_shows_what_was_given(tmp_path):
    frames = [np.full((120, 160, 3), (40 + number, 90, 200 - number), np.uint8) for number in range(30)]
    write_video(tmp_path / "a.mp4", frames, 25)
    with VideoReader(tmp_path / "a.mp4") as video:
        stream = video._stream
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.rate == pytest.approx(25) and video.duration == pytest.approx(1.2)
        shown = [picture.rgb() for picture in video.pictures()]
    assert len(shown) == 30
    for given, got in zip(frames, shown, strict=True):
        assert np.abs(given.astype(int) - got).max() <= 6


def test_the_index_of_a_written_video_stands_first_so_that_a_browser_can_begin(tmp_path):
    write_video(tmp_path / "a.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, 30)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_an_odd_size_loses_one_row_and_column(tmp_path):
    write_video(tmp_path / "a.mp4", [np.zeros((65, 67, 3), np.uint8)] * 2, 30)
    with VideoReader(tmp_path / "a.mp4") as video:
        assert (video.height, video.width) == (64, 66)


def test_an_error_among_the_frames_leaves_no_file(tmp_path):
    def frames():
        yield np.zeros((64, 64, 3), np.uint8)
        raise RuntimeError("the simulation fell over")
    with pytest.raises(RuntimeError, match="fell over"):
        write_video(tmp_path / "a.mp4", frames(), 30)
    assert not list(tmp_path.iterdir())


def test_no_frames_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least one"):
        write_video(tmp_path / "a.mp4", [], 30)


@pytest.mark.parametrize(("matrix", "limited"), [("601", True), ("709", True), ("601", False)])
def test_colours_follow_the_matrix_and_range_that_the_file_names(tmp_path, make_video, matrix, limited):
    """A red of 180, 60, 50 in the given matrix, written plane by plane."""
    import av
    red, green, blue = 180 / 255, 60 / 255, 50 / 255
    k_red, k_blue = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}[matrix]
    luma = k_red * red + (1 - k_red - k_blue) * green + k_blue * blue
    chroma = (blue - luma) / (2 - 2 * k_blue), (red - luma) / (2 - 2 * k_red)
    base, span, width = (16, 219, 224) if limited else (0, 255, 255)
    levels = [base + span * luma, *(128 + width * part for part in chroma)]
    planes = np.concatenate([np.full(size, round(level), np.uint8) for size, level in
                             zip((120 * 160, 60 * 80, 60 * 80), levels, strict=True)]).reshape(180, 160)
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.colorspace = {"601": 5, "709": 1}[matrix]
        stream.codec_context.color_range = 1 if limited else 2
        file.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        file.mux(stream.encode())
    with VideoReader(tmp_path / "a.mp4") as video:
        rgb = next(video.pictures()).rgb()
    assert np.abs(rgb.reshape(-1, 3).mean(axis=0) - (180, 60, 50)).max() <= 3


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("a.mp4", "libx264", {}), ("a.mkv", "libx264", {}), ("a.avi", "mpeg4", {}),
    ("open.mp4", "libx264", {"x264-params": "open-gop=1:bframes=3:b-adapt=0"})])
@pytest.mark.parametrize("start", [0.0, 0.31, 0.5, 1.0, 1.9])
def test_reading_from_the_middle_gives_the_same_frames(tmp_path, make_video, name, codec, options, start):
    path = make_video(tmp_path / name, count=60, codec=codec, noise=True, **options)
    with VideoReader(path) as video:
        whole = [(picture.number, picture.time, picture.rgb().mean()) for picture in video.pictures()]
    with VideoReader(path) as video:
        part = [(picture.number, picture.time, picture.rgb().mean()) for picture in video.pictures(start)]
    assert part == whole[-len(part):]
    assert part[0][1] <= start + 1e-3 < part[1][1]


def test_the_error_of_a_thread_that_runs_ahead_is_raised_where_its_items_are_used():
    def items():
        yield 1
        raise ValueError("from the thread")
    running = ahead(items())
    assert next(running) == 1
    with pytest.raises(ValueError, match="from the thread"):
        next(running)


def test_a_thread_runs_no_further_ahead_than_told(monkeypatch):
    monkeypatch.setattr(surgrl.ahead, "DEPTH", 3)
    made = []
    running = ahead(number for number in range(100) if made.append(number) is None)
    assert next(running) == 0
    running.close()
    assert len(made) <= 4


def test_a_path_with_spaces_and_other_letters(tmp_path, make_video):
    path = make_video(tmp_path / "vidéo 手術 1.mp4", count=3)
    with VideoReader(Path(path)) as video:
        assert len(list(video.pictures())) == 3
