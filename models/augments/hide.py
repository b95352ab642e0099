"""Window, cutout and cutout in colour (RAD, Laskin et al. 2020, arXiv:2004.14990): a part of the picture is hidden.

The pixels stay where they are, and so does a mask: it tells where the instrument is, hidden or not.
"""

import torch
from torch import Tensor

from ..augment import Augment


class Window(Augment):
    """Window: all but a window anywhere in the picture is black (RAD)."""

    def __init__(self, generator: torch.Generator, *, share: float = 0.84):
        """share: of each side that is seen, as in the paper (84 px of 100)."""
        super().__init__(generator)
        if not 0 < share <= 1:
            raise ValueError(f"window share is {share}; it must be above 0 and at most 1")
        self.share = share

    def draw(self, count: int) -> Tensor:
        """(B, 2) in [0, 1): how far down and right of all places that there are."""
        return torch.rand(count, 2, generator=self.generator)

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """Black around the window."""
        height, width = (round(side * self.share) for side in images.shape[2:])
        free = torch.tensor([images.shape[2] - height + 1, images.shape[3] - width + 1])
        seen = torch.zeros_like(images, memory_format=torch.channels_last)
        for target, image, (top, left) in zip(seen, images, (params * free).long().tolist(), strict=True):
            target[:, top:top + height, left:left + width] = image[:, top:top + height, left:left + width]
        return seen


class Cutout(Augment):
    """Cutout: a black rectangle anywhere in the picture (RAD; DeVries & Taylor 2017).

    Differs from RAD's code: size and place are drawn apart (there one number is both), and the rectangle lies inside.
    """

    def __init__(self, generator: torch.Generator, *, least: float = 0.1, most: float = 0.3):
        """least, most: the rectangle's sides as shares of the picture's; the paper's: 10 to 30 px of 100."""
        super().__init__(generator)
        self.least, self.most = checked_shares("cutout", least, most)

    def draw(self, count: int) -> Tensor:
        """(B, 4) in [0, 1): height, width, how far down and right of all places that there are."""
        return torch.rand(count, 4, generator=self.generator)

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """Black in it."""
        hidden = images.clone()
        for image, (top, left, rows, columns) in zip(hidden, rectangles(params, images, self.least, self.most),
                                                     strict=True):
            image[:, top:top + rows, left:left + columns] = 0
        return hidden


class CutoutColour(Augment):
    """Cutout in colour: a rectangle of any colour anywhere in the picture, the same in all frames (RAD).

    Differs from RAD's code: as Cutout does.
    """

    def __init__(self, generator: torch.Generator, *, least: float = 0.1, most: float = 0.3):
        """least, most: the rectangle's sides as shares of the picture's; the paper's: 10 to 30 px of 100."""
        super().__init__(generator)
        self.least, self.most = checked_shares("cutout_colour", least, most)

    def draw(self, count: int) -> Tensor:
        """(B, 7) in [0, 1): as Cutout's, then red, green, blue."""
        return torch.rand(count, 7, generator=self.generator)

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """Its colour in it."""
        hidden = images.clone()
        colours = (256 * params[:, 4:]).to(torch.uint8).repeat(1, images.shape[1] // 3).to(images.device)
        for image, colour, (top, left, rows, columns) in zip(
                hidden, colours, rectangles(params, images, self.least, self.most), strict=True):
            image[:, top:top + rows, left:left + columns] = colour[:, None, None]
        return hidden


def checked_shares(name: str, least: float, most: float) -> tuple[float, float]:
    """Both; ValueError for shares that no rectangle can have."""
    if not 0 <= least <= most <= 1:
        raise ValueError(f"{name} least is {least} and most {most}; they must be in [0, 1], the least first")
    return least, most


def rectangles(params: Tensor, images: Tensor, least: float, most: float) -> list[list[int]]:
    """Of params (B, 4 or more) in [0, 1): top, left, rows, columns in px, each rectangle inside its picture."""
    sides = torch.tensor(images.shape[2:])
    spans = ((least + (most - least) * params[:, :2]) * sides).round().clamp(min=1)     # (B, 2)
    corners = (params[:, 2:4] * (sides - spans + 1)).floor()
    return torch.cat([corners, spans], dim=1).long().tolist()
