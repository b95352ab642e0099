"""The moments at which a policy is asked about a recording: the newest picture at a constant rate."""

import sys
from collections.abc import Iterator
from math import floor, gcd
from typing import NamedTuple

from .annotate import Box
from .decoded import TIMESTAMP, Picture
from .policy.errors import UserError
from .policy.spec import Array, ImageSpec


class Tick(NamedTuple):
    """One moment at which the policy is asked."""

    time: float             # s of presentation
    picture: Picture        # the newest one by then
    rgb: Array              # (H, W, 3) uint8
    yuv: Array | None       # (height * 3 // 2, width) uint8 to draw on; None when no video is written


class Place(NamedTuple):
    """Where a replay stands in its source: what is needed to go on from there."""

    began: float            # s, of the first tick; ticks are at began + number / rate
    number: int             # ticks that are done


def sample(pictures: Iterator[Picture], rate: float, place: Place, duration: float,
           size: tuple[int, int] | None) -> Iterator[Tick]:
    """The newest picture every 1 / rate s, for as long as there is one; size: width, height px to draw on.

    pictures: from the one shown at the next tick on, or from earlier. A replay begins at its first picture, where that
    is later than `place.began`. A UserError of the pictures tells how to replay what comes before it.
    """
    newest, (start, number) = None, place
    try:
        for picture in pictures:
            if newest is None and not number:
                start = max(start, picture.time)
            while newest is not None and start + number / rate < picture.time - TIMESTAMP:
                yield _tick(start + number / rate, newest, size)
                number += 1
                if not number / rate < duration - TIMESTAMP:
                    return
            newest = picture
        while newest is not None and number / rate < duration - TIMESTAMP and (
                start + number / rate < max(newest.until, newest.time + TIMESTAMP) - TIMESTAMP):
            yield _tick(start + number / rate, newest, size)
            number += 1
    except UserError as error:
        # To where the newest picture begins: how long that one was shown, only the next would have told.
        sound = 0.0 if newest is None else floor((newest.time - start) * 100) / 100
        if sound <= 0:
            raise
        raise UserError(f"{error}; the part before can be replayed with --duration {sound:.2f}") from error


def _tick(time: float, picture: Picture, size: tuple[int, int] | None) -> Tick:
    return Tick(time, picture, picture.rgb(), None if size is None else picture.yuv(*size))


def find_region(height: int, width: int, image: ImageSpec) -> Box:
    """The part of a height x width picture that has the shape of the policy's frame."""
    if height * image.width == width * image.height:
        return 0, 0, height, width
    shape = gcd(image.width, image.height)
    times = min(height * shape // image.height, width * shape // image.width)
    inner = times * image.height // shape, times * image.width // shape
    if not times:
        raise UserError(f"no part of a {width}x{height} picture has the shape of the policy's frame, "
                        f"{image.width}x{image.height}; scale the video to that")
    print(f"the {width}x{height} picture has not the shape of the policy's {image.width}x{image.height} "
          f"frame: its middle {inner[1]}x{inner[0]} is used; --crop picks another part", file=sys.stderr)
    return (height - inner[0]) // 2, (width - inner[1]) // 2, *inner
