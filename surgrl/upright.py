"""Pictures turned and mirrored as the flag in a video's file says."""

from collections.abc import Callable, Iterable
from typing import Any

import av
import numpy as np

from .policy.spec import Array

Turn = Callable[[Array], Array]


def turn_of(frame: av.VideoFrame) -> tuple[Turn | None, bool]:
    """What makes its (H, W, 3) pixels upright, None for nothing; whether height and width change places.

    ValueError for a turn by anything but quarters.
    """
    parts: Iterable[Any] = frame.side_data      # PyAV's stubs take the container for one of names
    told = next((part for part in parts if part.type.name == "DISPLAYMATRIX"), None)
    if told is None:
        return None, False
    # ISO/IEC 14496-12, 6.2.2: x' = a x + c y, y' = b x + d y, in 1 / 65536.
    a, b, _, c, d = np.frombuffer(bytes(told), np.int32)[:5] / 65536
    swaps = abs(a) < abs(b)
    whole = (b, c, a, d) if swaps else (a, d, b, c)
    if not (np.abs(np.abs(whole[:2]) - 1) < 0.01).all() or not (np.abs(whole[2:]) < 0.01).all():
        raise ValueError(f"is turned by {frame.rotation} degrees")
    rows, columns = (b, c) if swaps else (d, a)
    if not swaps and rows > 0 and columns > 0:
        return None, False

    def turn(pixels: Array) -> Array:
        upright = pixels.swapaxes(0, 1) if swaps else pixels
        return np.ascontiguousarray(upright[::1 if rows > 0 else -1, ::1 if columns > 0 else -1])
    return turn, swaps
