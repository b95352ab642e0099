"""Pictures turned and mirrored, and their pixels made square, as the flags in a video's file say."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import av
import cv2
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


def squared(width: int, aspect: Fraction | None) -> tuple[Turn | None, int]:
    """What makes (H, W, 3) pixels square, None for nothing; the width then, even. aspect: a pixel's width over height.

    PAL and NTSC recorders write such files; players stretch them, and what a policy sees must not be squeezed.
    ValueError for an aspect that no recorder gives.
    """
    if not aspect or abs(aspect - 1) < 0.01:
        return None, width
    if not 0.25 <= aspect <= 4:
        raise ValueError(f"has pixels {float(aspect):g} times as wide as high")
    wide = max(2, round(width * aspect / 2) * 2)
    how = cv2.INTER_AREA if wide < width else cv2.INTER_LINEAR
    return lambda pixels: cv2.resize(pixels, (wide, pixels.shape[0]), interpolation=how), wide
