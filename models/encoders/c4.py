"""An encoder that turns with its image by quarters: lifting and group convolutions (Cohen & Welling 2016,
arXiv:1602.07576, sec. 4), as equivariant SAC uses them (Wang et al. 2022, arXiv:2203.04439, sec. 5)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ..heads import Actor, Critic
from ..sight import Sight
from ..symmetry import SymmetricActor, SymmetricCritic, SymmetricGaussian, Turns


class C4(Sight):
    """DrQ-v2's four convolutions with every filter in four turns: turn the image and the latent is only permuted.

    With `turns`, actor and critics of drqv2, sac and bc follow as well: the entries named there turn with the image,
    all others stay.
    Differs from the paper: heads are ordinary ones, averaged over the four turns; the first filter has 4 px where the
    image's side is even, since 3 px at stride 2 would then miss one edge and not the other; C4 instead of C8.
    """

    def __init__(self, channels: int, size: tuple[int, int], *, width: int = 8, pool: int | None = None,
                 latent_dim: int | None = None, turns: list | None = None):
        """size: (H, W) px, square; width: fields of a layer, four planes each; pool: side of the average pooling, which
        must divide the map; latent_dim: project to so many numbers, a multiple of 4.

        turns: entries of the action that point to the image's right and bottom, two and two, e.g. [0, 1] for v_x, v_y
        in the camera's frame. Left out: agents have ordinary heads.
        """
        super().__init__()
        side = min(size)
        if side < 16 or max(size) != side:
            raise ValueError(f"images are {size} px; the c4 encoder needs squares of 16 px a side or more")
        if latent_dim is not None and latent_dim % 4:
            raise ValueError(f"encoder latent_dim is {latent_dim}; c4 needs a multiple of 4, a number for each turn")
        self.channels, self.size, self.projected, self.pairs = channels, tuple(size), latent_dim is not None, turns
        first = 3 if side % 2 else 4                        # px, so that the stride ends at both edges
        left = (side - first) // 2 + 1 - 3 * 2
        if pool is not None and (pool > left or left % pool):
            good = [k for k in range(2, left + 1) if left % k == 0]
            raise ValueError(f"encoder pool {pool} does not divide the {left}x{left} map that is left of {size} px; "
                             f"c4 can pool by {', '.join(map(str, good))}")
        layers: list[nn.Module] = [TurningConv(channels, width, first, 2, lifting=True), nn.ReLU(inplace=True)]
        for _ in range(3):
            layers += [TurningConv(width, width, 3), nn.ReLU(inplace=True)]
        if pool is not None:
            layers.append(nn.AvgPool2d(pool))
            left //= pool
        if latent_dim is not None:
            layers.append(TurningConv(width, latent_dim // 4, left, gain=1.0))
        self.layers = nn.Sequential(*layers)
        self.fields, self.grid = (width, (left, left)) if latent_dim is None else (latent_dim // 4, (1, 1))
        self.latent_dim = 4 * self.fields * self.grid[0] * self.grid[1]

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, D) float32, D = fields x 4 turns x h x w."""
        return self.layers(images.float() / 255 - 0.5).flatten(1)

    def symmetric(self, head: nn.Module, action_dim: int, proprio_dim: int) -> nn.Module:
        """The head averaged over the four turns, where `turns` was given; ValueError where that cannot be."""
        if self.pairs is None:
            return head
        sound = (all(type(entry) is int and 0 <= entry < action_dim for entry in self.pairs)
                 and len(set(self.pairs)) == len(self.pairs) > 0 == len(self.pairs) % 2)
        if not sound:
            raise ValueError(f"encoder turns are {self.pairs}; c4 wants pairs of different entries of the action, "
                             f"each in 0..{action_dim - 1}, e.g. [0, 1]")
        if proprio_dim:
            raise ValueError(f"encoder c4 with turns cannot read the {proprio_dim} numbers of proprio, whose poses "
                             "would have to turn too: set image.proprio to false, or leave turns out")
        turns = Turns(self.fields, self.grid, action_dim, self.pairs)
        if isinstance(head, Critic):
            return SymmetricCritic(head, turns)
        if isinstance(head, Actor):
            return SymmetricActor(head, turns)
        if hasattr(head, "before_squashing"):
            return SymmetricGaussian(head, turns)
        raise ValueError(f"encoder c4 with turns has no symmetric form of {type(head).__name__}: "
                         "take drqv2, sac or bc, or leave turns out")


class TurningConv(nn.Module):
    """A convolution whose filters come in four turns: (B, I x 4, h, w) -> (B, O x 4, h', w'), no padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, lifting: bool = False,
                 gain: float = 2 ** 0.5):
        """inputs, outputs: fields; lifting: the input is an image of `inputs` plain planes. gain: of first weights."""
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1 if lifting else 4, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.orthogonal_(self.weight, gain)

    def forward(self, planes: Tensor) -> Tensor:
        """Turn k of a filter looks at turn h of its input with its slice h - k, turned by k."""
        filters = torch.stack([torch.rot90(self.weight.roll(k, 2), k, (3, 4)) for k in range(4)], 1)
        return conv2d(planes, filters.flatten(0, 1).flatten(1, 2), self.bias.repeat_interleave(4), self.stride)
