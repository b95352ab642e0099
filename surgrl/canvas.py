"""Drawing on a yuv420p picture as it was decoded, so that no picture is converted to RGB and back."""

from collections.abc import Callable, Iterable
from functools import cache

import cv2
import numpy as np

from .policy.spec import Array

Colour = tuple[int, int, int]           # RGB, 0..255
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Canvas:
    """Draws RGB colours on the three planes of one picture; places are (x, y) in px."""

    def __init__(self, yuv: Array):
        """yuv: (height * 3 // 2, width) uint8, drawn on in place."""
        self.height, self.width = yuv.shape[0] * 2 // 3, yuv.shape[1]
        luma, half = self.height * self.width, (self.height // 2, self.width // 2)
        flat = yuv.reshape(-1)
        self.planes = (flat[:luma].reshape(self.height, self.width),
                       flat[luma:luma * 5 // 4].reshape(half), flat[luma * 5 // 4:].reshape(half))

    def shade(self, top: int, left: int, bottom: int, right: int) -> None:
        """Darken a box to a quarter and take its colour away: white is legible on any tissue."""
        luma, *chroma = self.planes
        box = luma[top:bottom, left:right]
        np.right_shift(box, 2, out=box)
        for plane in chroma:
            plane[top // 2:bottom // 2, left // 2:right // 2] = 128

    def box(self, top: float, left: float, bottom: float, right: float, colour: Colour) -> None:
        """Fill a box."""
        for plane, level, shrink in self._levels(colour):
            rows = slice(round(top / shrink), round(bottom / shrink))
            plane[rows, round(left / shrink):round(right / shrink)] = level

    def line(self, start: Array, end: Array, colour: Colour, thickness: int) -> None:
        """A straight line."""
        self._each(colour, lambda plane, level, shrink: cv2.line(
            plane, _px(start, shrink), _px(end, shrink), level, -(-thickness // shrink), cv2.LINE_AA))

    def polygon(self, corners: Array, colour: Colour) -> None:
        """A filled convex polygon of corners (n, 2)."""
        self._each(colour, lambda plane, level, shrink: cv2.fillConvexPoly(
            plane, np.rint(corners / shrink).astype(np.int32), level, cv2.LINE_AA))

    def disc(self, centre: Array, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self._each(colour, lambda plane, level, shrink: cv2.circle(
            plane, _px(centre, shrink), max(1, round(radius / shrink)), level, cv2.FILLED, cv2.LINE_AA))

    def text(self, words: str, x: float, y: float, size: float, colour: Colour) -> None:
        """Words on a base line from (x, y); their colour shows in full on a shade or box of that colour."""
        cv2.putText(self.planes[0], words, (round(x), round(y)), FONT, size, _yuv(colour)[0], _weight(size),
                    cv2.LINE_AA)

    def _levels(self, colour: Colour) -> Iterable[tuple[Array, int, int]]:
        return zip(self.planes, _yuv(colour), (1, 2, 2), strict=True)

    def _each(self, colour: Colour, draw: Callable[[Array, int, int], object]) -> None:
        for plane, level, shrink in self._levels(colour):
            draw(plane, level, shrink)


def text_width(words: str, size: float) -> int:
    """px that `words` take at this size."""
    return int(cv2.getTextSize(words, FONT, size, _weight(size))[0][0])


def _weight(size: float) -> int:
    return max(1, round(1.6 * size))


def _px(point: Array, shrink: int) -> tuple[int, int]:
    return round(float(point[0]) / shrink), round(float(point[1]) / shrink)


@cache
def _yuv(colour: Colour) -> tuple[int, int, int]:
    """BT.601, limited range; in another matrix the hue of a mark shifts by a little, which does no harm."""
    red, green, blue = (level / 255 for level in colour)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (round(16 + 219 * luma), round(128 + 224 * (blue - luma) / 1.772),
            round(128 + 224 * (red - luma) / 1.402))
