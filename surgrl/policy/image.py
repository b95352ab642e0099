"""The only place where a camera frame is cropped and resized: training, replay and robot all call it."""

from collections.abc import Iterable

import cv2
import numpy as np

from .errors import UserError
from .spec import Array, ImageSpec


def prepare(frame: Array, spec: ImageSpec) -> Array:
    """(H, W, 3) RGB or (H, W) uint8 -> (h, w, 3) in spec.colour or (h, w) uint8, by area averaging.

    H x W may be any resolution of the shape that `spec` was made for; UserError otherwise.
    """
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or frame.shape[2:] not in ((), (3,)):
        raise UserError(f"a frame is {frame.dtype} of shape {frame.shape}; "
                        "it must be uint8 (height, width, 3)")
    top, left, rows, columns = spec.crop_in(*frame.shape[:2])
    view = frame[top:top + rows, left:left + columns]
    if view.shape[:2] != spec.size:
        view = cv2.resize(view, spec.size[::-1], interpolation=cv2.INTER_AREA)
    if spec.colour == "bgr" and view.ndim == 3:
        view = view[:, :, ::-1]
    return np.array(view, order="C")    # a copy: cameras reuse buffers, the runtime keeps frames


def stacked(frames: Iterable[Array]) -> Array:
    """Prepared frames (h, w, 3), newest last -> the network's input (3 * stack, h, w), contiguous."""
    return np.ascontiguousarray(np.concatenate(list(frames), axis=2).transpose(2, 0, 1))


def parse_crop(name: str, crop: str, height: int, width: int) -> tuple[int, int, int, int]:
    """ "top,left,height,width" -> px inside a picture of height x width. UserError tells it by `name`."""
    try:
        top, left, rows, columns = (int(edge) for edge in crop.split(","))
    except ValueError as error:
        raise UserError(f"{name} {crop}: give four whole numbers of px, top,left,height,width") from error
    if not (0 <= top < top + rows <= height and 0 <= left < left + columns <= width):
        raise UserError(f"{name} {crop} (top,left,height,width) leaves the {width}x{height} picture; "
                        "it must lie inside it")
    return top, left, rows, columns
