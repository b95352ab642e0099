"""What travels beside the steps, as bytes: Unity's side channels, what they mean, and what a scene told through them.

Framing: 16 bytes of a GUID in .NET's order, int32 length, payload; as often as wanted. Text is int32 length and ASCII.
All little-endian.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

ENGINE = UUID("e951342c-4f7e-11ea-b238-784f4387d1f7")           # to Unity
PARAMETERS = UUID("534c891e-810f-11ea-a9d0-822485860400")       # to Unity
PROPERTIES = UUID("60ccf7d0-4f7e-11ea-b238-784f4387d1f7")       # both ways
STATISTICS = UUID("a1d8f7b7-cec8-50f9-b78b-d3e165a78520")       # from Unity
# setting -> its number on the channel, how its values are packed, what they are. In the order of the official package.
SETTINGS = {"resolution": (0, "<iii", "[width, height] px"), "quality": (1, "<ii", "a level of the project's"),
            "time_scale": (2, "<if", "times real time, from 1"), "target_frame_rate": (3, "<ii", "Hz, -1 for any"),
            "capture_frame_rate": (4, "<ii", "Hz of simulated time")}
SAMPLERS = {"uniform": 0, "gaussian": 1, "multirange": 2}
AGGREGATIONS = ("average", "most_recent", "sum", "histogram")


class Statistic(NamedTuple):
    """A number that the scene recorded."""

    value: float
    aggregation: str        # how a log is to sum it up: out of AGGREGATIONS


class Heard(NamedTuple):
    """What one message told beside the step."""

    statistics: dict[str, list[Statistic]]
    properties: dict[str, float]
    other: tuple[tuple[UUID, bytes], ...]       # of channels that we do not know: a scene's own


class SideChannels:
    """What waits to be sent with the next reply."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting = bytearray()

    def send(self, channel: UUID, payload: bytes) -> None:
        """Any bytes to any channel, e.g. one of the scene's own."""
        self._waiting += channel.bytes_le + struct.pack("<i", len(payload)) + payload

    def set_engine(self, settings: Mapping[str, Any]) -> None:
        """Settings of the engine, by the names in SETTINGS. ValueError for any other."""
        for name in settings:
            if name not in SETTINGS:
                raise ValueError(f"engine setting {name!r} is unknown; allowed: "
                                 + ", ".join(f"{key} ({told})" for key, (*_, told) in SETTINGS.items()))
        for name in (name for name in SETTINGS if name in settings):
            number, form, told = SETTINGS[name]
            values = settings[name] if name == "resolution" else (settings[name],)
            try:
                packed = struct.pack(form, number, *values)
            except (struct.error, TypeError) as error:
                raise ValueError(f"engine setting {name} is {settings[name]!r}; it must be {told}") from error
            self.send(ENGINE, packed)

    def set_parameters(self, parameters: Mapping[str, Any], seed: int = 0) -> None:
        """Environment parameters: a number each, or {uniform: [low, high]}, {gaussian: [mean, deviation]},
        {multirange: [[low, high], ...]}, from which Unity draws anew for each episode; seed: of those draws.
        ValueError for any other value; then none of them is sent."""
        for payload in [_text(name) + _parameter(name, value, seed) for name, value in parameters.items()]:
            self.send(PARAMETERS, payload)

    def set_property(self, name: str, value: float) -> None:
        """A float property, the channel of Unity's own older scenes."""
        self.send(PROPERTIES, _text(name) + _packed(name, [value]))

    def flush(self) -> bytes:
        """All that waits; then nothing does."""
        waiting = bytes(self._waiting)
        self._waiting.clear()
        return waiting


def heard(data: bytes) -> Heard:
    """What a message's side channel says. ValueError where it is cut off or damaged."""
    statistics: dict[str, list[Statistic]] = {}
    properties: dict[str, float] = {}
    other, at = [], 0
    while at < len(data):
        if at + 20 > len(data):
            raise ValueError("side channel: a header is cut off")
        channel, length = UUID(bytes_le=bytes(data[at:at + 16])), struct.unpack_from("<i", data, at + 16)[0]
        payload = data[at + 20:at + 20 + length] if length >= 0 else b""
        if length != len(payload):
            raise ValueError(f"side channel {channel}: {length} bytes are announced, {len(data) - at - 20} are there")
        if channel in (STATISTICS, PROPERTIES):
            name, rest = _read_text(payload)
            if len(rest) != (8 if channel == STATISTICS else 4):
                raise ValueError(f"side channel {channel}: {name!r} comes with {len(rest)} bytes")
            value = struct.unpack_from("<f", rest)[0]
            if channel == PROPERTIES:
                properties[name] = value
            else:
                how = struct.unpack_from("<i", rest, 4)[0]
                statistics.setdefault(name, []).append(
                    Statistic(value, AGGREGATIONS[how] if 0 <= how < len(AGGREGATIONS) else f"unknown {how}"))
        else:
            other.append((channel, payload))
        at += 20 + length
    return Heard(statistics, properties, tuple(other))


def _parameter(name: str, value: Any, seed: int) -> bytes:
    if not isinstance(value, Mapping):
        return struct.pack("<i", 0) + _packed(name, [value])
    kind = next(iter(value), None)
    if len(value) != 1 or kind not in SAMPLERS:
        raise ValueError(f"parameter {name} is {value!r}; it must be a number, or one of "
                         "{uniform: [low, high]}, {gaussian: [mean, deviation]}, {multirange: [[low, high], ...]}")
    head = struct.pack("<iii", 1, seed, SAMPLERS[kind])
    try:
        numbers = np.asarray(value[kind], dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameter {name}: {kind} is {value[kind]!r}; it must hold numbers") from error
    if kind == "multirange":
        if numbers.ndim != 2 or numbers.shape[1] != 2:
            raise ValueError(f"parameter {name}: multirange is {value[kind]!r}; it must be a list of [low, high]")
        return head + struct.pack("<i", numbers.size) + _packed(name, numbers.ravel())
    if numbers.shape != (2,):
        raise ValueError(f"parameter {name}: {kind} is {value[kind]!r}; it must be two numbers")
    return head + _packed(name, numbers)


def _packed(name: str, values: Sequence[Any]) -> bytes:
    try:
        packed = np.asarray(values, dtype="<f4")
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameter {name} is {values[0]!r}; it must be a number") from error
    if not np.isfinite(packed).all():
        raise ValueError(f"parameter {name} is {list(values)}; it must be finite in float32")
    return packed.tobytes()


def _text(text: str) -> bytes:
    if not (isinstance(text, str) and text.isascii()):
        raise ValueError(f"parameter's name {text!r} must be ASCII text: Unity reads no other")
    return struct.pack("<i", len(text)) + text.encode("ascii")


def _read_text(payload: bytes) -> tuple[str, bytes]:
    length = struct.unpack_from("<i", payload)[0] if len(payload) >= 4 else -1
    if not 0 <= length <= len(payload) - 4:
        raise ValueError("side channel: a name is cut off")
    return payload[4:4 + length].decode("ascii", errors="replace"), payload[4 + length:]
