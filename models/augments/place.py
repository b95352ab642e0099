"""Crop and translate (RAD, Laskin et al. 2020, arXiv:2004.14990): what moves the picture's pixels."""

import torch
from torch import Tensor, nn

from ..augment import Augment


class Crop(Augment):
    """Crop: a window of the picture anywhere in it; acting, the agent sees the window in the middle (RAD, CURL).

    The encoder is made for the window: see `see_the_middle`.
    """

    moves = True

    def __init__(self, generator: torch.Generator, *, share: float = 0.84):
        """share: of each side that is left, as in the paper (84 px of 100)."""
        super().__init__(generator)
        if not 0 < share <= 1:
            raise ValueError(f"crop share is {share}; it must be above 0 and at most 1")
        self.share = share

    def draw(self, count: int) -> Tensor:
        """(B, 2) in [0, 1): how far down and right of all places that there are."""
        return torch.rand(count, 2, generator=self.generator)

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, h, w) as `left` says."""
        height, width = self.left(images.shape[2:])
        free = torch.tensor([images.shape[2] - height + 1, images.shape[3] - width + 1])
        cropped = torch.empty(len(images), images.shape[1], height, width, dtype=images.dtype, device=images.device,
                              memory_format=torch.channels_last)
        for target, image, (top, left) in zip(cropped, images, (params * free).long().tolist(), strict=True):
            target.copy_(image[:, top:top + height, left:left + width])
        return cropped

    def left(self, size: tuple[int, int]) -> tuple[int, int]:
        """`share` of each side, rounded."""
        return round(size[0] * self.share), round(size[1] * self.share)


def see_the_middle(encoder: nn.Module) -> None:
    """From now on let the encoder take the middle of pictures that are larger than its own `size`: when it acts, in
    what is exported, and wherever else it is shown a whole picture."""
    encoder.register_forward_pre_hook(_middle)


def _middle(encoder: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (height, width), (rows, columns) = encoder.size, inputs[0].shape[2:]
    top, left = (rows - height) // 2, (columns - width) // 2
    return (inputs[0][:, :, top:top + height, left:left + width], *inputs[1:])


class Translate(Augment):
    """Translate: the picture moves on a black ground; what leaves the frame is lost (RAD).

    Differs from the released code: the frame stays as large as the picture (there: 108 px for 100), so that the policy
    needs no border when it acts.
    """

    moves = True

    def __init__(self, generator: torch.Generator, *, reach: float = 0.04):
        """reach: the farthest move, as a share of each side; the paper's: 4 px of 100 either way."""
        super().__init__(generator)
        if not 0 <= reach < 0.5:
            raise ValueError(f"translate reach is {reach}; it must be at least 0 and below 0.5")
        self.reach = reach

    def draw(self, count: int) -> Tensor:
        """(B, 2) in [0, 1): how far down and right of all places that there are."""
        return torch.rand(count, 2, generator=self.generator)

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """(B, C, H, W) of any dtype."""
        height, width = images.shape[2:]
        reach = torch.tensor([round(self.reach * height), round(self.reach * width)])
        moves = (params * (2 * reach + 1)).long() - reach
        moved = torch.zeros_like(images, memory_format=torch.channels_last)
        for target, image, (down, right) in zip(moved, images, moves.tolist(), strict=True):
            rows, columns = height - abs(down), width - abs(right)
            target[:, max(0, down):max(0, down) + rows, max(0, right):max(0, right) + columns] = \
                image[:, max(0, -down):max(0, -down) + rows, max(0, -right):max(0, -right) + columns]
        return moved
