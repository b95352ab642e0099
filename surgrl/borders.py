"""Black borders of endoscopic video: the circle or box that the picture fills."""

from collections.abc import Sequence

import cv2
import numpy as np

from .policy.errors import UserError
from .policy.spec import Array

DARK = 24           # of 255: nothing darker is picture; borders of compressed video are noisy
SHARE = 0.08        # of the fullest row or column: less is a letter that touches the picture, or noise
LEAST = 0.2         # of the whole width and height: less is a dark recording, no border


def find_crop(pictures: Sequence[Array], *, inside: bool) -> tuple[int, int, int, int]:
    """top, left, height, width px of what is picture in (H, W, 3) uint8 pictures, looked at together.

    inside: the largest rectangle without a black corner, instead of the box around all. UserError where all is dark.
    """
    height, width = pictures[0].shape[:2] if len(pictures) else (0, 0)
    lightest = np.max([picture.max(axis=2) for picture in pictures], axis=0) if len(pictures) else np.zeros((1, 1))
    # A closing fills what was dark in every picture amid the tissue: a vessel, a shadow, an instrument's shaft.
    filled = cv2.morphologyEx((lightest > DARK).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    count, places, stats, _ = cv2.connectedComponentsWithStats(
        cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)))
    # The largest piece: letters in the border are pieces of their own.
    clean = places == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]) if count > 1 else np.zeros_like(places, bool)
    counts = clean.sum(axis=1), clean.sum(axis=0)
    rows, columns = (np.flatnonzero(count > SHARE * count.max()) for count in counts)
    if not len(rows) or len(rows) < LEAST * height or len(columns) < LEAST * width:
        raise UserError("crop auto: the pictures looked at are dark all over, so no border can be told from them; "
                        "give the crop as top,left,height,width")
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if inside:
        inner = _largest(clean[top:bottom, left:right])
        return int(top) + inner[0], int(left) + inner[1], *inner[2:]
    return int(top), int(left), int(bottom - top), int(right - left)


def _largest(free: Array) -> tuple[int, int, int, int]:
    """top, left, height, width of the largest rectangle of (H, W) bool that holds only True."""
    best, found = 0, (0, 0, 0, 0)
    above = np.zeros(free.shape[1], int)                # True entries in a column, from this row upwards
    for row, line in enumerate(free):
        above = np.where(line, above + 1, 0)
        stack: list[tuple[int, int]] = []               # left edge, height; heights ascend
        for column, high in enumerate([*above.tolist(), 0]):
            left = column
            while stack and stack[-1][1] >= high:
                left, tall = stack.pop()
                if tall * (column - left) > best:
                    best, found = tall * (column - left), (row - tall + 1, left, tall, column - left)
            stack.append((left, high))
    return found
