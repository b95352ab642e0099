"""Noise that a batch brings with it: the same batch has the same noise, so a resumed training needs no state for it."""

import torch
from torch import Generator, Tensor

from .batch import Batch


def random_of(batch: Batch) -> Generator:
    """A generator on the CPU, seeded by the batch's actions and some of its pixels: recordings have no actions."""
    bits = batch.action.contiguous().view(torch.int32)
    pixels = batch.obs[..., ::7, ::7].sum(dtype=torch.int64)
    return Generator().manual_seed((int(bits.sum()) * 1_000_003 + int(pixels)) % (1 << 63))


def normal(batch: Batch, like: Tensor) -> Tensor:
    """Standard normal noise of the shape and on the device of `like`."""
    return torch.randn(like.shape, generator=random_of(batch)).to(like.device)
