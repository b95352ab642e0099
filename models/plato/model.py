"""PLATO (Piloto et al. 2022, doi 10.1038/s41562-022-01394-8): what a film of objects is expected to show next.

Perception gives every object a code, dynamics foretells the next ones; surprise is the squared error of that. Objects
come as labels of pixels: PLATO does not find them.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .dynamics import Dynamics
from .perception import CODE, SIDE, Perception

Array = NDArray[Any]
FORMAT = 1
SLOTS = 8               # at most, Piloto et al. 2022


def masked(images: Array, masks: Array) -> Tensor:
    """(N, H, W, 3) uint8 and (N, H, W) bool -> (N, 4, H, W) float32 in [0, 1]: the object's picture, and its mask."""
    own = torch.as_tensor(np.ascontiguousarray(masks))[:, None].float()
    return torch.cat([torch.as_tensor(np.ascontiguousarray(images)).permute(0, 3, 1, 2) / 255 * own, own], dim=1)


class Plato(nn.Module):
    """One slot for each label. An object that is not seen has an empty mask and the code of nothing."""

    def __init__(self, labels: Sequence[int], *, seed: int = 0):
        """labels: what pixels of each object are marked with. The same seed gives the same weights, bit for bit."""
        super().__init__()
        if not 1 <= len(set(labels)) == len(labels) <= SLOTS:
            raise ValueError(f"labels are {list(labels)}; PLATO takes 1 to {SLOTS} different ones, a slot for each")
        self.labels = tuple(int(label) for label in labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.perception, self.dynamics = Perception(), Dynamics(CODE)

    @torch.no_grad()
    def encode(self, images: Array, labels: Array) -> Tensor:
        """(T, H, W, 3) uint8 RGB and (T, H, W) uint8 -> codes (T, K, CODE)."""
        if images.shape[1:] != (SIDE, SIDE, 3) or labels.shape != images.shape[:3]:
            raise ValueError(f"images are {images.shape}, labels {labels.shape}; they must be (T, {SIDE}, {SIDE}, 3) "
                             f"and (T, {SIDE}, {SIDE}): render or scale them to {SIDE} px")
        return torch.stack([self.perception(masked(images, labels == label)) for label in self.labels], dim=1)

    @torch.no_grad()
    def surprise(self, codes: Tensor) -> Tensor:
        """(B, T, K, CODE) -> (B, T - 1, K): of the frames 1..T - 1, object by object."""
        return self.dynamics.errors(codes)

    def save(self, path: str | Path, **extras: Any) -> None:
        """Weights and labels, and tensors, texts or numbers beside them; `load` gives all back exactly."""
        buffer = io.BytesIO()       # torch tells a full disk as a failure of its own; this way it is an OSError
        torch.save({"format": FORMAT, "labels": list(self.labels), "weights": self.state_dict(), "extras": extras},
                   buffer)
        Path(path).write_bytes(buffer.getbuffer())

    @classmethod
    def load(cls, path: str | Path) -> tuple["Plato", dict[str, Any]]:
        """The model, and what was saved beside it. ValueError for a file that is not one of ours."""
        try:
            saved = torch.load(path, weights_only=True)
            known = saved["format"] == FORMAT
            if known:
                model = cls(saved["labels"])
                model.load_state_dict(saved["weights"])
        except FileNotFoundError:
            raise
        except Exception as error:      # whatever a damaged file makes torch, pickle or zip raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{path}: damaged, or no PLATO model ({reason}); make one with `surgrl expect`") from error
        if not known:
            raise ValueError(f"{path}: format {saved['format']}, this code reads {FORMAT}; train anew")
        return model, saved["extras"]
