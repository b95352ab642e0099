"""Writes the table of formats in docs/recordings.md: each codec is encoded, read back, and listed where that went well.

    python docs/formats.py
"""

import argparse
import os
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from surgrl.bags import ENCODINGS
from surgrl.lerobot import VERSIONS
from surgrl.pictures import PICTURES, TIMES
from surgrl.policy.errors import UserError
from surgrl.recordings import VIDEOS
from surgrl.video import VideoReader

PAGE = Path(__file__).parent / "recordings.md"
BEGIN, END = "<!-- formats: python docs/formats.py -->", "<!-- /formats -->"
CODECS = {          # what it is called -> FFmpeg's encoder, pixel format
    "H.264": ("libx264", "yuv420p"), "H.264, 10 bit": ("libx264", "yuv420p10le"), "HEVC": ("libx265", "yuv420p"),
    "AV1": ("libsvtav1", "yuv420p"), "VP8": ("libvpx", "yuv420p"), "VP9": ("libvpx-vp9", "yuv420p"),
    "Motion JPEG": ("mjpeg", "yuvj420p"), "MPEG-4": ("mpeg4", "yuv420p"), "MPEG-2": ("mpeg2video", "yuv420p"),
    "MPEG-1": ("mpeg1video", "yuv420p"), "WMV 8": ("wmv2", "yuv420p"), "ProRes": ("prores_ks", "yuv422p10le"),
    "DNxHR": ("dnxhd", "yuv422p"), "FFV1": ("ffv1", "bgr0"), "HuffYUV": ("huffyuv", "rgb24")}
SPEED = {"libsvtav1": {"preset": "12"}, "libx265": {"preset": "ultrafast", "x265-params": "log-level=error"},
         "libx264": {"preset": "ultrafast"}, "libvpx": {"deadline": "realtime"}, "dnxhd": {"profile": "dnxhr_sq"},
         "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"}}
CONTAINERS = tuple(suffix for suffix in VIDEOS if suffix not in (".m4v", ".mpeg"))      # the same as others by name
os.environ.setdefault("SVT_LOG", "1")      # errors only
SIZE, COUNT, RATE = (256, 128), 8, 25       # DNxHR takes no narrower one


def encode(path: Path, codec: str, pixels: str) -> None:
    """COUNT frames, each lighter than the one before. Raises what FFmpeg does where the two do not go together."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE, options=SPEED.get(codec, {}))
        (stream.width, stream.height), stream.pix_fmt, stream.bit_rate = SIZE, pixels, 2_000_000
        stream.codec_context.thread_count = 1
        for number in range(COUNT):
            level = np.full((SIZE[1], SIZE[0], 3), (60 + 10 * number, 50, 40), np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def is_read(path: Path) -> bool:
    """Whether every frame comes back, at its time and in its colours."""
    try:
        with VideoReader(path) as video:
            pictures = [(picture.time, picture.rgb().mean(axis=(0, 1))) for picture in video.pictures()]
    except UserError:
        return False
    times = np.array([time for time, _ in pictures])
    expected = [(60 + 10 * number, 50, 40) for number in range(COUNT)]
    return (len(pictures) == COUNT and np.abs(times - times[0] - np.arange(COUNT) / RATE).max() < 2e-3
            and np.abs(np.array([colour for _, colour in pictures]) - expected).max() < 8)


def containers(name: str) -> list[str]:
    """In which containers a codec is read."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix in CONTAINERS:
            path = Path(folder) / f"a{suffix}"
            try:
                encode(path, *CODECS[name])
            except (av.FFmpegError, ValueError):
                continue
            if is_read(path):
                found.append(suffix[1:])
    return found


def table() -> str:
    """The table, as the page has it."""
    videos = [(f"video: {name}", ", ".join(found)) for name in CODECS if (found := containers(name))]
    others = [("pictures in a folder", f"{', '.join(suffix[1:] for suffix in PICTURES)}; `--image-rate` or a "
               f"file `{'`, `'.join(TIMES)}`"),
              ("ROS 2 bag", "rosbag2 folder (MCAP, sqlite3), .mcap, .db3: CompressedImage as JPEG or PNG; Image as "
               f"{', '.join(ENCODINGS)}; poses and joints as state and action"),
              ("ROS 1 bag", ".bag, the same messages"),
              ("LeRobot dataset", f"{', '.join(VERSIONS)}: cameras as video or pictures; `observation.state` and "
               "`action`"),
              ("demonstrations", "episodes of `surgrl demos` (.npz)")]
    lines = [f"| {name} | {told} |" for name, told in videos + others]
    return "\n".join(["| what | read |", "|---|---|", *lines])


def main() -> None:
    """Write the table into the page."""
    argparse.ArgumentParser(description="writes the table of formats in docs/recordings.md").parse_args()
    text = PAGE.read_text(encoding="utf-8")
    before, after = text[:text.index(BEGIN) + len(BEGIN)], text[text.index(END):]
    PAGE.write_text(f"{before}\n{table()}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
