"""What of a recorded picture counts: one eye of a stereo pair, without black borders, overlays blanked."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .policy.errors import UserError
from .policy.image import parse_crop
from .policy.spec import Array

LAYOUTS = ("side-by-side", "over-under")    # of two eyes in one picture; left or upper first
AUTOMATIC = ("auto", "inside")              # crops that are found: see borders.py
DEINTERLACE = ("flagged", "always", "never")
Box = tuple[int, int, int, int]             # top, left, height, width, px


@dataclass(frozen=True)
class View:
    """How recordings are looked at; the same for all that read them. Applied in the order of the fields."""

    deinterlace: str = "flagged"    # DEINTERLACE; of a video: those frames that the file flags as interlaced
    mask: Path | None = None        # picture of a whole recorded one's size: what is not black in it is blanked
    layout: str = LAYOUTS[0]        # LAYOUTS, where an eye is chosen
    eye: str | None = None          # "left" (or upper), "right" (or lower); None: pictures are of one eye
    crop: str | None = None         # "top,left,height,width" px of the eye's picture, or AUTOMATIC; None: all of it
    blank_outside: bool = False     # black out pictures that show no inside of a body: see outside.py
    rate: float | None = None       # Hz of what does not say its own: numbered pictures, old demonstrations

    def __post_init__(self) -> None:
        """UserError for a value that is not allowed."""
        for name, value, allowed in (("layout", self.layout, LAYOUTS), ("eye", self.eye, (None, "left", "right")),
                                     ("deinterlace", self.deinterlace, DEINTERLACE)):
            if value not in allowed:
                raise UserError(f"{name} {value}; allowed are {', '.join(filter(None, allowed))}")
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise UserError(f"image rate {self.rate:g} Hz; it must be above 0 and at most 1000")

    @property
    def edits(self) -> bool:
        """Whether pictures are changed at all."""
        return bool(self.mask or self.eye or self.crop or self.blank_outside)


def add_view_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that `view_of` reads; the same words for every command that reads recordings."""
    group = parser.add_argument_group("what is looked at")
    add = group.add_argument
    add("--crop", metavar="auto|inside|T,L,H,W", help="part of the picture: auto, without its black borders; inside, "
        "the largest rectangle with nothing black in it (in an endoscope's circle); or top,left,height,width in px")
    add("--mask", type=Path, metavar="PNG", help="picture as large as the recorded ones; what is not black in it "
        "is blanked: names, clocks, menus")
    add("--eye", choices=("left", "right"), help="of a stereo recording, both eyes in each picture: the one to take")
    add("--layout", choices=LAYOUTS, default=LAYOUTS[0], help="where the eyes are; left or upper is the left one "
        f"(default: {LAYOUTS[0]})")
    add("--deinterlace", choices=DEINTERLACE, default=DEINTERLACE[0], help="of a video: the frames that the file "
        "flags as interlaced (default), all, none")
    add("--blank-outside", action="store_true", help="black out pictures that show no inside of a body")
    add("--image-rate", type=float, metavar="HZ", help="of what does not say its own: numbered pictures without "
        "a file of times, old demonstrations")


def view_of(args: argparse.Namespace) -> View:
    """What `add_view_arguments` has read. UserError for a value that is not allowed."""
    return View(args.deinterlace, args.mask, args.layout, args.eye, args.crop, args.blank_outside, args.image_rate)


def eye_box(view: View, height: int, width: int) -> Box:
    """Where the eye's picture is in a recorded one of height x width px."""
    if view.eye is None:
        return 0, 0, height, width
    second = view.eye == "right"
    if view.layout == "side-by-side":
        return 0, width - width // 2 if second else 0, height, width // 2
    return height - height // 2 if second else 0, 0, height // 2, width


def crop_box(view: View, height: int, width: int) -> Box:
    """The given crop in an eye's picture of height x width px; all of it where none is given."""
    return parse_crop("crop", view.crop, height, width) if view.crop else (0, 0, height, width)


def read_mask(path: Path, height: int, width: int) -> Array:
    """(height, width) bool: what is to be blanked."""
    try:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (OSError, cv2.error):
        pixels = None
    if pixels is None:
        raise UserError(f"--mask {path}: no picture that can be read; give a png")
    if pixels.shape != (height, width):
        raise UserError(f"--mask {path}: {pixels.shape[1]}x{pixels.shape[0]} px, the recorded pictures are "
                        f"{width}x{height}; draw it on one of them")
    return pixels > 0
