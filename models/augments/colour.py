"""Grayscale and colour jitter (RAD, Laskin et al. 2020, arXiv:2004.14990): pixels keep places, but not colours."""

from math import cos, pi, sin

import torch
from torch import Tensor

from ..augment import Augment
from ..encoder import LUMA


class Grayscale(Augment):
    """Grayscale: some pictures lose their colours (RAD)."""

    def __init__(self, generator: torch.Generator, *, p: float = 0.3):
        """p: share of the pictures, as in the paper."""
        super().__init__(generator)
        self.p = checked_share("grayscale", p)

    def draw(self, count: int) -> Tensor:
        """(B,) bool: which."""
        return torch.rand(count, generator=self.generator) < self.p

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """All three planes of a frame become its brightness."""
        images, which = images.clone(), params.to(images.device)
        # In 1/256, so that a grey stays the grey it is, to the last bit.
        red, green, blue = (planes.to(torch.int32) for planes in images[which].unflatten(1, (-1, 3)).unbind(2))
        weights = [round(256 * weight) for weight in LUMA]
        grey = (weights[0] * red + weights[1] * green + (256 - sum(weights[:2])) * blue + 128) >> 8
        images[which] = grey.to(torch.uint8).repeat_interleave(3, 1)                    # (n, C, H, W)
        return images


class Jitter(Augment):
    """Colour jitter: brightness, contrast, saturation and hue of every picture, in all frames alike (RAD).

    Differs from the released code: hue turns about the grey axis in YIQ (there in HSV), which makes all four one 3x3
    matrix and an offset, several times as fast; they follow in that order (there in one of two, at random); contrast is
    about the mean of all stacked frames (there of each).
    """

    def __init__(self, generator: torch.Generator, *, brightness: float = 0.4, contrast: float = 0.4,
                 saturation: float = 0.4, hue: float = 0.5):
        """Each: how far from 1 its factor may be; hue: turns, at most 0.5. As in the paper."""
        super().__init__(generator)
        self.reach = torch.tensor([brightness, contrast, saturation, hue])
        if not ((self.reach >= 0).all() and (self.reach[:3] <= 1).all() and hue <= 0.5):
            raise ValueError(f"jitter brightness {brightness}, contrast {contrast} and saturation {saturation} must be "
                             f"in [0, 1], hue {hue} in [0, 0.5] turns")

    def draw(self, count: int) -> Tensor:
        """(B, 4): three factors around 1, and turns of the hue around 0."""
        away = (2 * torch.rand(count, 4, generator=self.generator) - 1) * self.reach
        return away + torch.tensor([1.0, 1.0, 1.0, 0.0])

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """Cut to 0..255 once all is done."""
        planes = images.permute(0, 2, 3, 1).contiguous()
        pixels = planes.view(len(images), -1, 3)                        # (B, H W stack, 3)
        luma = torch.tensor(LUMA)
        grey = torch.stack([image.sum(0) for image in pixels]).cpu() / pixels.shape[1] @ luma       # (B,)
        # Row vectors times matrices. Saturation: grey + s (colour - grey). Contrast: mean + c (colour - mean).
        brightness, contrast, saturation, hue = params.T[..., None, None]               # (B, 1, 1) each
        to_grey = luma[:, None].expand(3, 3)
        colours = torch.eye(3) * saturation + to_grey * (1 - saturation)
        matrices = brightness * contrast * colours @ _hues(hue[:, 0, 0])                # (B, 3, 3)
        offsets = (brightness * (1 - contrast))[:, 0] * grey[:, None]                # (B, 1), without hue
        turned = torch.empty_like(pixels)
        for target, image, matrix, offset in zip(turned, pixels, matrices.to(images.device),
                                                 (offsets + 0.5).to(images.device), strict=True):
            target.copy_(torch.addmm(offset, image.float(), matrix).clamp_(0, 255))     # one by one: it stays cached
        return turned.view_as(planes).permute(0, 3, 1, 2)


def checked_share(name: str, p: float) -> float:
    """p; ValueError for one that is no share."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name} p is {p}; it must be in [0, 1]")
    return p


def _hues(turns: Tensor) -> Tensor:
    """(B,) turns -> (B, 3, 3), for row vectors of red, green, blue: a rotation about the grey axis of YIQ."""
    yiq = torch.tensor([[LUMA[0], 0.596, 0.211], [LUMA[1], -0.274, -0.523], [LUMA[2], -0.322, 0.312]])    # NTSC 1953
    back = torch.linalg.inv(yiq)
    rotations = torch.stack([torch.tensor([[1.0, 0, 0], [0, cos(2 * pi * turn), sin(2 * pi * turn)],
                                           [0, -sin(2 * pi * turn), cos(2 * pi * turn)]]) for turn in turns.tolist()])
    return yiq @ rotations @ back
