"""A recording through a View: the same pictures, cut and blanked, for whoever reads it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from .borders import find_crop
from .decoded import BT601, Picture
from .outside import is_outside
from .policy.errors import UserError
from .policy.spec import Array
from .view import AUTOMATIC, View, crop_box, eye_box, read_mask

if TYPE_CHECKING:
    from .recordings import Recording


class Viewed:
    """Reads as the recording within does. Pictures are edited when they are converted, not before."""

    colour = BT601

    def __init__(self, within: "Recording", view: View):
        """Look for borders where the view asks for it. UserError where it does not fit the pictures."""
        self._within, self._blank = within, view.blank_outside
        self.path, self.rate, self.duration = within.path, within.rate, within.duration
        self.state, self.action, self.tags, self.task = within.state, within.action, within.tags, within.task
        self.demo: Path | None = None       # its masks are for whole pictures
        top, left, height, width = eye_box(view, within.height, within.width)
        self._mask = None if view.mask is None else read_mask(view.mask, within.height, within.width)
        if view.crop in AUTOMATIC:
            seen = [self._blanked(pixels)[top:top + height, left:left + width] for pixels in within.glimpses()]
            inner = find_crop(seen, inside=view.crop == "inside")
        else:
            inner = crop_box(view, height, width)
        self.box = top + inner[0], left + inner[1], *inner[2:]      # of the whole picture, px
        self.height, self.width = self.box[2:]

    def __enter__(self) -> "Viewed":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the recording."""
        self._within.__exit__(kind, error, trace)

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        """Every picture from the one shown at `start` (s) on."""
        for picture in self._within.pictures(start):
            yield picture._replace(edit=self._after(picture.edit))

    def glimpses(self) -> list[Array]:
        """Some pictures from all over the recording, (H, W, 3) uint8 each."""
        return [self._edited(pixels) for pixels in self._within.glimpses()]

    def _after(self, edit: Callable[[Array], Array] | None) -> Callable[[Array], Array]:
        return self._edited if edit is None else lambda pixels: self._edited(edit(pixels))

    def _edited(self, pixels: Array) -> Array:
        top, left, height, width = self.box
        part = self._blanked(pixels)[top:top + height, left:left + width]
        return part * 0 if self._blank and is_outside(part) else part

    def _blanked(self, pixels: Array) -> Array:
        height, width = self._within.height, self._within.width
        if pixels.shape[:2] != (height, width):     # also of glimpses, which readers do not compare
            raise UserError(f"{self.path}: one of its pictures is {pixels.shape[1]}x{pixels.shape[0]} px, the first "
                            f"{width}x{height}; a recording has one size")
        if self._mask is not None:
            pixels = pixels.copy()      # what a decoder or a dataset gave may be somebody else's
            pixels[self._mask] = 0
        return pixels
