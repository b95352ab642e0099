"""One frame of a recording, and what is known of all recordings' frames."""

from collections.abc import Callable
from typing import NamedTuple

import av
import numpy as np

from .policy.spec import Array

GLIMPSES = 16       # pictures that tell what all of a recording looks like
BT601 = (5, 1)      # FFmpeg's numbers: matrix of standard definition, limited range
TIMESTAMP = 1e-3    # s, coarsest rounding of a presentation time (Matroska's)
LONGEST = 600.0     # s between two pictures: beyond, a time stamp is damaged, and readers would wait for ever


class Picture(NamedTuple):
    """One decoded frame; converting it costs, so that is left to whoever needs it."""

    number: int             # of the frame in the file, from 0
    time: float             # s of presentation, since the first frame
    until: float            # s, when it has been shown for as long as the file says
    frame: av.VideoFrame
    edit: Callable[[Array], Array] | None = None        # of its (H, W, 3) pixels, before anybody sees them

    def rgb(self) -> Array:
        """(H, W, 3) uint8, by the colour matrix and range that the file names."""
        pixels = self.frame.to_ndarray(format="rgb24")
        return pixels if self.edit is None else self.edit(pixels)

    def yuv(self, width: int, height: int) -> Array:
        """(height * 3 // 2, width) uint8, the planes of yuv420p one below the other; both even.

        In the reader's `colour`; that of an edited picture is BT601.
        """
        frame = self.frame
        if self.edit is not None:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(self.rgb()), format="rgb24")
        return frame.to_ndarray(format="yuv420p", width=width, height=height)
