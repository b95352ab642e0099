"""What an environment's observation shows of a scene: one endoscope or two, depth, segmentation."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import gymnasium
import numpy as np

from .camera import Camera
from .geometry import Array
from .scene import LABELS, Picture, Stage

BASELINE = 0.0052       # m, between the two lenses of a da Vinci stereo endoscope


class Eye(NamedTuple):
    """One entry of the observation."""

    key: str
    text: str


# What may be asked for by name; `image` is always there.
EYES = {"image": Eye("image", "(H, W, 3) uint8 RGB, of the left or only endoscope"),
        "right": Eye("image_right", "(H, W, 3) uint8 RGB, of the right endoscope"),
        "depth": Eye("depth", "(H, W) float32 m, along the left optical axis"),
        "segmentation": Eye("segmentation", f"(H, W) uint8: {', '.join(f'{k} {v}' for k, v in LABELS.items())}")}


def right_of(camera: Camera) -> Camera:
    """The right lens of a stereo endoscope whose left one is `camera`: same directions, BASELINE to its right."""
    aside = camera.rotation[:, 0] * BASELINE
    return replace(camera, frame=camera.frame.replace("left", "right"), eye=tuple((camera.eye + aside).tolist()),
                   target=tuple((camera.target + aside).tolist()))


class Eyes:
    """The visual part of an observation."""

    def __init__(self, names: Iterable[str], size: tuple[int, int]):
        """names: out of EYES. size: (height, width) px of all."""
        unknown = [name for name in names if name not in EYES]
        if unknown:
            raise ValueError(f"eyes {unknown[0]!r} is unknown; allowed: {', '.join(EYES)}")
        self._names, self._size = ("image", *(name for name in EYES if name in names and name != "image")), size

    def spaces(self, far: float) -> dict[str, gymnasium.Space]:
        """Spaces of the entries; far: m, the farthest that depth can be."""
        box = gymnasium.spaces.Box
        kinds = {"image": box(0, 255, (*self._size, 3), np.uint8), "right": box(0, 255, (*self._size, 3), np.uint8),
                 "depth": box(0.0, far * 1.001, self._size, np.float32),
                 "segmentation": box(0, max(LABELS), self._size, np.uint8)}
        return {EYES[name].key: kinds[name] for name in self._names}

    def see(self, scene: Stage, left: Picture, show: Callable[[Array], Array]) -> dict[str, Array]:
        """The entries. left: the picture of now. show: what comes between the tissue and the screen."""
        seen = {"image": left.image, "depth": left.depth, "segmentation": left.labels}
        if "right" in self._names:
            seen["right"] = show(scene.picture(*self._size, right_of(scene.camera)).image)
        return {EYES[name].key: seen[name] for name in self._names}
