"""Flip and rotate (RAD, Laskin et al. 2020, arXiv:2004.14990): pictures of a mirrored or a turned world.

In such a world one acts otherwise, so the action is turned with the picture. Its entries are rates in the camera's
frame: x to the image's right, y to its bottom, z forward. Velocities (v_x, v_y, v_z; m/s) are a vector; angular
velocities (w_x, w_y, w_z; rad/s) a pseudo-vector, which a mirror reverses but for the component across it; a flexible
scope's bending (bend_x, bend_y; rad/s) is towards the image's right and bottom and turns as a vector does. Insertion
and a jaw are the same in every such world; roll, about the optical axis, is reversed by a mirror only.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ..augment import Augment
from .colour import checked_share

Channel = tuple[str, str, float, float]     # name, unit, and what -1 and 1 stand for: an entry of the action

MIRRORED = {"v_x": -1, "v_y": 1, "v_z": 1, "w_x": 1, "w_y": -1, "w_z": -1, "bend_x": -1, "bend_y": 1, "roll": -1,
            "insertion": 1, "jaw": 1}       # sign of each entry in a world whose left and right are exchanged
PLANES = ("v", "w", "bend")                 # entries _x and _y of these turn with the picture


class Turn(Augment):
    """Whole turns of the world: images, and the actions that belong to them."""

    moves = True
    turns: ClassVar[int]                    # that there are; 0 is none at all

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """(B, ..., H, W) of any dtype; params (B,) in 0..turns-1."""
        images = images.clone()
        for turn in range(1, self.turns):
            which = (params == turn).to(images.device)
            images[which] = self.turned(images[which], turn)
        return images

    @abstractmethod
    def turned(self, images: Tensor, turn: int) -> Tensor:
        """(B, ..., H, W), all by the same turn."""

    @abstractmethod
    def matrices(self, channels: Sequence[Channel]) -> Tensor:
        """(turns, A, A): what each turn makes of an action in [-1, 1]. ValueError where that has no meaning."""


class Flip(Turn):
    """Flip: some pictures are mirrored, left to right, and their actions with them (RAD)."""

    turns = 2

    def __init__(self, generator: torch.Generator, *, p: float = 0.2):
        """p: share of the pictures, as in the paper."""
        super().__init__(generator)
        self.p = checked_share("flip", p)

    def draw(self, count: int) -> Tensor:
        """(B,): 1 = mirrored."""
        return (torch.rand(count, generator=self.generator) < self.p).long()

    def turned(self, images: Tensor, turn: int) -> Tensor:
        """Mirrored."""
        return images.flip(-1)

    def matrices(self, channels: Sequence[Channel]) -> Tensor:
        """A sign for each entry."""
        check_channels("flip", channels)
        for name, _, low, high in channels:
            if MIRRORED[name] < 0 and low != -high:
                raise ValueError(f"augmentation flip: action {name!r} ranges from {low} to {high}; mirrored it would "
                                 "leave that range: leave flip out")
        signs = torch.tensor([float(MIRRORED[name]) for name, *_ in channels])
        return torch.stack([torch.eye(len(signs)), signs.diag()])


class Rotate(Turn):
    """Rotate: some pictures are turned by quarters about the optical axis, and their actions with them (RAD)."""

    turns = 4

    def __init__(self, generator: torch.Generator, *, p: float = 0.3):
        """p: share of the pictures, as in the paper."""
        super().__init__(generator)
        self.p = checked_share("rotate", p)

    def draw(self, count: int) -> Tensor:
        """(B,): quarters, counter-clockwise as one looks at the picture."""
        chosen = torch.rand(count, generator=self.generator) < self.p
        return chosen * torch.randint(1, 4, (count,), generator=self.generator)

    def turned(self, images: Tensor, turn: int) -> Tensor:
        """By so many quarters."""
        return images.rot90(turn, (-2, -1))

    def left(self, size: tuple[int, int]) -> tuple[int, int]:
        """All of it."""
        if size[0] != size[1]:
            raise ValueError(f"augmentation rotate: images are {size} px; it needs squares: leave it out")
        return size

    def matrices(self, channels: Sequence[Channel]) -> Tensor:
        """A quarter makes (x, y) into (y, -x): what moved to the right moves up."""
        check_channels("rotate", channels)
        places = {name: k for k, (name, *_) in enumerate(channels)}
        quarter = torch.eye(len(channels))
        for plane in PLANES:
            x, y = places.get(f"{plane}_x"), places.get(f"{plane}_y")
            if x is None and y is None:
                continue
            if x is None or y is None or not channels[x][3] == channels[y][3] == -channels[x][2] == -channels[y][2]:
                raise ValueError(f"augmentation rotate: {plane}_x and {plane}_y must both be entries of the action, "
                                 "with one range around 0: leave rotate out")
            quarter[[x, y]] = 0.0
            quarter[x, y], quarter[y, x] = 1.0, -1.0
        return torch.stack([torch.linalg.matrix_power(quarter, turn) for turn in range(4)])


def check_channels(turn: str, channels: Sequence[Channel]) -> None:
    """ValueError for actions of which nothing, or not everything, is known to turn with the picture."""
    names = [name for name, *_ in channels]
    unknown = [name for name in names if name not in MIRRORED]
    if unknown:
        raise ValueError(f"augmentation {turn}: nobody knows what becomes of the action's entry {unknown[0]!r}; known "
                         f"are {', '.join(MIRRORED)}: leave {turn} out")
    if not any(name in names for plane in PLANES for name in (f"{plane}_x", f"{plane}_y")):
        listed = f"only of {', '.join(names)}" if names else "of entries without names"
        raise ValueError(f"augmentation {turn}: the action consists {listed}; nothing in it lies in the image's plane "
                         f"and could turn with the picture: leave {turn} out")
