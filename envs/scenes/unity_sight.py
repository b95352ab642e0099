"""What Unity's agents observe, as arrays: PNG, several PNGs in a row, floats; rows and columns first, colours last."""

import re
import struct
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..geometry import Array
from .unity_wire import PNG

SIGNATURE = b"\x89PNG\r\n\x1a\n"
STACKING = re.compile(r"StackingSensor_size(\d+)_")     # how the C# names the sensor of a stack
LARGEST = 64 * 2 ** 20      # numbers in one observation; more is a damaged message


class Observed(NamedTuple):
    """One of the things that a behaviour's agents observe, the same in every step."""

    name: str                   # the sensor's; empty before API 1.5
    shape: tuple[int, ...]      # as arrays come: (H, W, C) of a picture, (N,) of a vector
    sent: tuple[int, ...]       # as it travels
    numbers: int                # in all
    channels_first: bool        # whether a picture travels so
    kind: str = "default"       # or "goal"

    @property
    def picture(self) -> bool:
        """Whether it is one."""
        return len(self.shape) == 3

    @property
    def frames(self) -> int:
        """How many frames its name says that it stacks; 1 where it tells of none."""
        told = STACKING.match(self.name)
        return int(told[1]) if told else 1


def observed(message: Any, channels_first: bool) -> Observed:
    """What an Observation message is of. ValueError for a shape that nothing can have."""
    sent = shape = tuple(message.shape)
    if not (1 <= len(sent) <= 4 and all(side >= 1 for side in sent) and prod(sent) <= LARGEST):
        raise ValueError(f"observation {message.name!r} has the shape {sent}")
    if channels_first and len(sent) == 3:
        shape = (sent[1], sent[2], sent[0])
    return Observed(message.name, shape, sent, prod(sent), channels_first, "goal" if message.kind == 1 else "default")


def decode(message: Any, spec: Observed) -> Array:
    """An Observation message -> uint8 where it travelled as PNG, float32 otherwise; (H, W, C) or (N,) or as it is.

    ValueError where it is not what the spec says: another shape, a damaged PNG, numbers that are not finite.
    """
    if tuple(message.shape) != spec.sent:
        raise ValueError(f"observation {spec.name!r} changed its shape from {spec.sent} to {tuple(message.shape)}")
    if message.compression == PNG:
        return _from_pngs(message.png, spec, message.mapping)
    if message.compression:
        raise ValueError(f"observation {spec.name!r} is compressed in an unknown way, {message.compression}")
    numbers = np.array(message.floats.data, dtype=np.float32)
    if numbers.size != spec.numbers:
        raise ValueError(f"observation {spec.name!r} holds {numbers.size} numbers; its shape {spec.sent} "
                         f"has {spec.numbers}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"observation {spec.name!r} holds numbers that are not finite")
    if spec.picture and spec.channels_first:
        height, width, channels = spec.shape
        return np.ascontiguousarray(numbers.reshape(channels, height, width).transpose(1, 2, 0))
    return numbers.reshape(spec.shape)


def as_bytes(picture: Array) -> Array:
    """A picture's numbers as uint8: floats run from 0 to 1."""
    if picture.dtype == np.uint8:
        return picture
    return cv2.convertScaleAbs(np.clip(picture, 0.0, 1.0), alpha=255.0).reshape(picture.shape)


def newest_rgb(picture: Array, mapping: Sequence[int] = (), frames: int = 1) -> Array:
    """(H, W, C) uint8 of one camera, stacked or not, grey or not -> (H, W, 3) uint8: its newest frame in RGB.

    mapping: how the colours travelled; a grey frame's plane is told three times there. frames: in the stack, where
    its name tells: three grey ones sent as floats look like one in colour otherwise.
    """
    channels = picture.shape[2]
    grey = channels % 3 != 0 or channels == frames or (len(mapping) >= 3 and mapping[0] == mapping[1])
    return np.repeat(picture[:, :, -1:], 3, axis=2) if grey else np.ascontiguousarray(picture[:, :, -3:])


def fit(picture: Array, size: tuple[int, int] | None) -> Array:
    """(h, w, 3) -> (H, W, 3): scaled to the height, its middle kept or black put beside it.

    So the vertical field of view stays, and the middle square is the same at any width, as in our own scenes.
    """
    if size is None or picture.shape[:2] == size:
        return picture
    height, width = size
    scaled = max(1, round(picture.shape[1] * height / picture.shape[0]))
    if picture.shape[:2] != (height, scaled):
        shrinks = height < picture.shape[0]
        picture = cv2.resize(picture, (scaled, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if scaled >= width:
        left = (scaled - width) // 2
        return np.ascontiguousarray(picture[:, left:left + width])
    fitted = np.zeros((height, width, 3), np.uint8)
    left = (width - scaled) // 2
    fitted[:, left:left + scaled] = picture
    return fitted


def split(data: bytes) -> list[bytes]:
    """The PNGs that follow one another in the bytes. ValueError where one is cut off."""
    found, at = [], 0
    while at < len(data):
        start, kind = at, b""
        if data[at:at + 8] != SIGNATURE:
            raise ValueError("a picture is no PNG")
        at += 8
        while kind != b"IEND":
            if at + 12 > len(data):
                raise ValueError("a PNG is cut off")
            length, kind = struct.unpack_from(">I4s", data, at)
            at += 12 + length
        if at > len(data):
            raise ValueError("a PNG is cut off")
        found.append(data[start:at])
    return found


def _from_pngs(data: bytes, spec: Observed, mapping: Sequence[int]) -> Array:
    """Three colours in each PNG. mapping: which of the observation's channels each is of, -1 for none; several of one
    are averaged. Without one, the first are taken, or for a single channel the mean."""
    height, width, channels = spec.shape if spec.picture else (0, 0, 0)
    planes = [_decoded(png, height, width) for png in split(data)]
    if not planes:
        raise ValueError(f"observation {spec.name!r} holds no picture")
    mapping = list(mapping)
    if not mapping:
        mapping = [0, 0, 0] if channels == 1 and len(planes) == 1 else list(range(channels))
    if not (set(mapping) - {-1} == set(range(channels)) and len(mapping) <= 3 * len(planes)):
        raise ValueError(f"observation {spec.name!r}: {len(planes)} PNGs and the mapping {mapping[:32]} do not make "
                         f"{channels} channels")
    whole = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
    if mapping[:channels] == list(range(channels)) and not any(channel >= 0 for channel in mapping[channels:]):
        return whole if whole.shape[2] == channels else np.ascontiguousarray(whole[:, :, :channels])
    sources = [[k for k, channel in enumerate(mapping) if channel == wanted] for wanted in range(channels)]
    return np.stack([whole[:, :, places[0]] if len(places) == 1 else
                     whole[:, :, places].mean(axis=2).astype(np.uint8) for places in sources], axis=2)


def _decoded(png: bytes, height: int, width: int) -> Array:
    """(H, W, 3) uint8 RGB. Its size is looked at first: a damaged head could ask for any amount of memory."""
    if png[12:16] != b"IHDR" or struct.unpack_from(">II", png, 16) != (width, height):
        raise ValueError(f"a PNG is not {width}x{height} px, as the observation's shape says")
    try:
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"a PNG cannot be read: {error}") from error
    if picture is None:
        raise ValueError("a PNG cannot be read")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
