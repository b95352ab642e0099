"""A folder of numbered pictures as a recording: at a rate that is given, or at the times that a file tells."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from .decoded import BT601, GLIMPSES, LONGEST, TIMESTAMP, Picture
from .policy.errors import UserError
from .policy.spec import Array

if TYPE_CHECKING:
    from .recordings import Track

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
TIMES = ("timestamps.txt", "timestamps.csv")
ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}    # of a file that was not cut off


class PictureReader:
    """Pictures in the order of the numbers in their names. Reads as VideoReader does."""

    colour = BT601
    state: "Track | None" = None        # no robot
    action: "Track | None" = None
    demo: Path | None = None
    task = ""

    def __init__(self, folder: str | Path, rate: float | None = None):
        """rate: Hz of the numbers, where the folder has no file of times. UserError for what is not in order."""
        self.path = Path(folder)
        self._files = picture_files(self.path)
        if not self._files:
            raise UserError(f"{folder}: holds no pictures; read are {', '.join(PICTURES)}")
        numbers = [_number(file) for file in self._files]
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        self._files, numbers = [self._files[k] for k in order], [numbers[k] for k in order]
        twice = next((k for k, (one, two) in enumerate(pairwise(numbers)) if one == two), None)
        if twice is not None:
            raise UserError(f"{folder}: {self._files[twice].name} and {self._files[twice + 1].name} have the same "
                            "number; one folder for each recording")
        told = next((self.path / name for name in TIMES if (self.path / name).is_file()), None)
        self._times = self._counted(numbers, rate) if told is None else _read_times(told, len(numbers))
        steps = np.diff(self._times)
        last = float(np.median(steps)) if len(steps) else 1 / (rate or 30.0)
        self.duration: float | None = float(self._times[-1]) + last
        self.rate = rate if told is None and rate is not None else 1 / last
        self.tags: dict[str, str] = {}
        self.height, self.width = self._read(0).shape[:2]

    def __enter__(self) -> "PictureReader":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Nothing is open."""

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        """Every picture in order of its time, from the one shown at `start` (s) on."""
        ends = [*self._times[1:], self.duration]
        for number, (time, until) in enumerate(zip(self._times, ends, strict=True)):
            if until > start + TIMESTAMP or (number == len(self._times) - 1 and until > start):
                pixels = self._read(number)
                if pixels.shape[:2] != (self.height, self.width):
                    raise UserError(f"{self._files[number]}: {pixels.shape[1]}x{pixels.shape[0]} px, the first one is "
                                    f"{self.width}x{self.height}; a recording has one size")
                yield Picture(number, float(time), float(until), av.VideoFrame.from_ndarray(pixels, format="bgr24"))

    def glimpses(self) -> list[Array]:
        """Some pictures from all over the recording, (H, W, 3) uint8 each."""
        places = np.unique(np.linspace(0, len(self._files) - 1, GLIMPSES).round().astype(int))
        return [self._read(place)[..., ::-1] for place in places]

    def _read(self, number: int) -> Array:
        """(H, W, 3) uint8 BGR."""
        file = self._files[number]
        try:
            data = file.read_bytes()
            # A decoder fills what a cut file lacks with grey and says nothing.
            whole = ENDS.get(file.suffix.lower(), b"") in data[-64:]
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data and whole else None
        except (OSError, cv2.error) as error:
            raise UserError(f"{file}: cannot be read as a picture: {error}") from error
        if pixels is None:
            why = "empty" if not data else "damaged, or no picture" if whole else "cut off, or another kind of file"
            raise UserError(f"{file}: {why}, after {number} pictures that could be read; copy it anew, or take it out "
                            "of the folder")
        return pixels

    def _counted(self, numbers: list[int], rate: float | None) -> Array:
        """(N,) s, ascending from 0: by their numbers. A missing one: the one before is shown longer."""
        if rate is None:
            raise UserError(f"{self.path}: pictures do not say when they were taken; give --image-rate HZ, or "
                            f"write a time (s) for each into {TIMES[0]}, one a line")
        times = np.array([number - numbers[0] for number in numbers], float) / rate
        far = np.flatnonzero(~(np.diff(times) < LONGEST))
        if len(far):
            one, two = self._files[far[0]:far[0] + 2]
            raise UserError(f"{self.path}: {one.name} and {two.name} are {times[far[0] + 1] - times[far[0]]:.0f} s "
                            f"apart at {rate:g} Hz; it must be less than {LONGEST:g} s. If the numbers are times, "
                            f"write those (s) into {TIMES[0]}, one a line")
        return times


def _read_times(path: Path, count: int) -> Array:
    """(N,) s, ascending from 0: of as many pictures, as a file tells them."""
    words = [line.replace(",", " ").split() for line in _text(path).splitlines() if line.strip()]
    try:
        times = np.array([float(line[-1]) for line in words])
    except ValueError as error:
        raise UserError(f"{path}: {error}; give a time (s) for each picture, one a line") from error
    if len(times) != count:
        raise UserError(f"{path}: {len(times)} times for {count} pictures; give one for each")
    if not ((steps := np.diff(times)) > 0).all() or not (steps < LONGEST).all():      # NaN fails too
        raise UserError(f"{path}: times must rise, by less than {LONGEST:g} s")
    return np.asarray(times - times[0])


def picture_files(folder: Path) -> list[Path]:
    """The pictures right in a folder, by name."""
    return sorted(file for file in folder.iterdir()
                  if file.suffix.lower() in PICTURES and not file.name.startswith("."))


def _number(file: Path) -> int:
    found = re.findall(r"\d+", file.stem)
    if not found:
        raise UserError(f"{file}: has no number in its name, which tells the order; name them 000001.png and so on")
    return int(found[-1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text; give a time (s) for each picture, one a line") from error
