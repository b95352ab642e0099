"""Pictures for the pages: tiles with captions, grids of them, clips."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from envs.geometry import Array
from envs.scene import LABELS

TILE = (280, 210)               # px, width and height
CLIP_FRAMES = 80                # at most; a longer episode is shown in larger steps
CLIP_QUALITY, HOLD_MS = 55, 1200
GAP, BAR = 6, 24                # px, between tiles, and of a caption
# RGB of each label of the segmentation, in the order of LABELS
PAINTS = np.array([(25, 25, 25), (190, 105, 95), (150, 165, 190), (60, 175, 95), (240, 200, 110)], np.uint8)


def clip(path: Path, frames: Sequence[Array], dt: float) -> None:
    """An animated WebP of the episode, at its own pace, that rests on its last frame."""
    every = -(-len(frames) // CLIP_FRAMES)
    chosen = [*frames[:-1:every], frames[-1]]
    animation = cv2.Animation()
    animation.frames = [np.ascontiguousarray(frame[:, :, ::-1]) for frame in chosen]
    animation.durations = np.array([*[round(every * dt * 1e3)] * (len(chosen) - 1), HOLD_MS], np.int32)
    if not cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, CLIP_QUALITY]):
        raise RuntimeError(f"{path}: this OpenCV writes no animated WebP; 4.11 or newer does")


def tile(image: Array, text: str) -> Array:
    """The picture at tile size over a bar with its caption."""
    bar = np.full((BAR, TILE[0], 3), 255, np.uint8)
    cv2.putText(bar, text, (2, BAR - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([shrunk(image, TILE), bar])


def legend(image: Array, labels: Iterable[int]) -> Array:
    """The tile, its bar telling what each paint stands for."""
    left = 2
    for label in labels:
        cv2.rectangle(image, (left, TILE[1] + 7), (left + 11, TILE[1] + 18), PAINTS[label].tolist(), cv2.FILLED)
        cv2.putText(image, LABELS[label], (left + 16, TILE[1] + BAR - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40),
                    1, cv2.LINE_AA)
        left += 28 + cv2.getTextSize(LABELS[label], cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
    return image


def grid(rows: Sequence[Sequence[Array]]) -> Array:
    """Tiles with gaps between them, none around."""
    lines = []
    for row in rows:
        gap = np.full((row[0].shape[0], GAP, 3), 255, np.uint8)
        lines.append(np.hstack([part for image in row for part in (image, gap)][:-1]))
    return np.vstack(lines)


def shrunk(image: Array, size: tuple[int, int]) -> Array:
    """The picture at size (w, h)."""
    return image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def write(path: Path, image: Array) -> None:
    """A picture, RGB, as a JPEG."""
    cv2.imwrite(str(path), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
