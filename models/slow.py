"""Slow copies: twins of a network that follow it by a moving average and never receive a gradient."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def slow_copy(module: M) -> M:
    """A twin with the same weights that asks for no gradient."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    """slow <- (1 - tau) slow + tau fast."""
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), tau)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Gradients pass through the module within this block, but its weights receive none."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
