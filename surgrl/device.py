"""The device that torch learns on, as a config names it."""

import torch

from .policy.errors import UserError


def require_device(name: str) -> None:
    """UserError for one that is not there."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:     # the latter from a torch that was built without CUDA
        told = str(error).splitlines()[0]
        raise UserError(f"config: device {name!r} cannot be used ({told}); cpu always can") from error
