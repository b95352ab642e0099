"""The only place where a camera frame is cropped and resized: training, replay and robot all call it."""

import cv2
import numpy as np

from .errors import UserError
from .spec import Array, ImageSpec


def prepare(frame: Array, spec: ImageSpec) -> Array:
    """(H, W, 3) or (H, W) uint8 -> (h, w, 3) or (h, w) uint8, by area averaging (no aliasing).

    H x W may be any resolution of the shape that `spec` was made for; UserError otherwise.
    """
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or frame.shape[2:] not in ((), (3,)):
        raise UserError(f"a frame is {frame.dtype} of shape {frame.shape}; "
                        "it must be uint8 (height, width, 3)")
    top, left, rows, columns = spec.crop_in(*frame.shape[:2])
    view = frame[top:top + rows, left:left + columns]
    if view.shape[:2] == spec.size:
        return np.ascontiguousarray(view)
    return cv2.resize(view, spec.size[::-1], interpolation=cv2.INTER_AREA)
