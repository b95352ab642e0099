"""What a policy looks at: how much its action changes when a patch of the picture is covered. No gradients, no torch.

Zeiler and Fergus 2014 (arXiv:1311.2901), sec. 4.2. Differs from theirs: a patch takes the picture's mean colour, not
grey, and it is covered in all stacked pictures at once.
"""

import cv2
import numpy as np

from .policy.runtime import PolicyRuntime
from .policy.spec import Array

STEPS = 11          # places of the patch along either edge
PATCH = 6           # of the edge: a sixth
BATCH = 64          # places at once, which bounds the memory


def occlusion(runtime: PolicyRuntime, inputs: dict[str, Array]) -> Array:
    """Inputs of the network, one row each -> (h, w): change of the action, as a share of its range, by what is covered.

    Where patches overlap, their mean; the change is the root of the mean square over the action's entries.
    """
    images = inputs["images"]                                           # (1, 3 * stack, h, w)
    height, width = images.shape[2:]
    rows, columns = max(1, height // PATCH), max(1, width // PATCH)
    places = [(top, left) for top in np.linspace(0, height - rows, STEPS).astype(int)
              for left in np.linspace(0, width - columns, STEPS).astype(int)]
    mean = images.mean(axis=(2, 3), keepdims=True).astype(np.uint8)     # (1, 3 * stack, 1, 1)
    covered = np.repeat(images, len(places) + 1, axis=0)                # the last one is left as it is
    for row, (top, left) in zip(covered, places, strict=False):
        row[:, top:top + rows, left:left + columns] = mean[0]
    actions = _act(runtime, inputs, covered)
    changes = np.sqrt(((actions[:-1] - actions[-1]) ** 2).mean(axis=1)) / 2         # -1..1 is a range of 2
    total, times = np.zeros((height, width)), np.zeros((height, width))
    for (top, left), change in zip(places, changes, strict=True):
        total[top:top + rows, left:left + columns] += change
        times[top:top + rows, left:left + columns] += 1
    return np.asarray(total / times)


def _act(runtime: PolicyRuntime, inputs: dict[str, Array], images: Array) -> Array:
    """(n, ...) pictures -> (n, A) in -1..1, all else being as it was."""
    fixed = isinstance(runtime.session.get_inputs()[0].shape[0], int)       # a network for one picture at a time
    size, actions = 1 if fixed else BATCH, []
    for begin in range(0, len(images), size):
        part = images[begin:begin + size]
        others = {name: np.repeat(value, len(part), axis=0) for name, value in inputs.items() if name != "images"}
        actions.append(runtime.session.run(None, {"images": part, **others})[0])
    return np.asarray(np.clip(np.concatenate(actions), -1, 1))


def overlay(picture: Array, heat: Array) -> Array:
    """(H, W, 3) uint8 RGB, greyed, with the map (h, w) of its own largest value in colour over it."""
    size = picture.shape[1], picture.shape[0]
    level = np.asarray(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR))
    smooth = cv2.GaussianBlur(level, (0, 0), size[0] / 32)      # the edges of the patches mean nothing
    level = np.asarray(smooth / max(float(smooth.max()), 1e-9))
    colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = (0.15 + 0.65 * level)[:, :, None]
    return np.asarray(grey * (1 - share) + colours * share).astype(np.uint8)
