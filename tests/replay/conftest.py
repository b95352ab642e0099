"""Videos that the tests encode themselves."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")


def encode(path: Path, *, count: int = 30, rate: float = 30, size: tuple[int, int] = (160, 120),
           times: Iterable[float] | None = None, codec: str = "libx264", noise: bool = False,
           movflags: str = "", **options: str) -> Path:
    """`count` frames of size (width, height) px, each a little lighter; times: s, for a VFR video."""
    stamps = list(times) if times is not None else [frame / rate for frame in range(count)]
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as file:
        stream = file.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        stream.codec_context.gop_size = 12
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, stamp in enumerate(stamps):
            level = np.full((size[1], size[0], 3), 20 + 2 * (number % 100), np.uint8)
            if noise:
                level += rng.integers(0, 60, level.shape, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(stamp * 1000), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """`encode`, as a fixture."""
    return encode


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, make_bundle: Callable[..., object]) -> Path:
    """A policy for 160x120 px at 30 Hz that always wants (0.5, 0, 0) of its 0.05 m/s."""
    folder = tmp_path_factory.mktemp("bundles") / "constant"
    make_bundle(folder)
    return folder
