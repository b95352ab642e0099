"""An encoder that was learnt before, as a file: from which another training begins, or a frame is compared."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .sight import Sight

FORMAT = 1
FILE = "encoder.pt"         # in the folder of the run that made it


@dataclass(frozen=True)
class Learnt:
    """What the file holds."""

    entry: dict[str, Any]               # name and options of the encoder, as a config has them
    image: tuple[int, int, int]         # C, H, W of what it sees
    state: dict[str, Tensor]            # of the encoder
    project: dict[str, Tensor] = field(default_factory=dict)    # of a linear layer behind it; its outputs are compared
    unit: bool = False                  # whether they are brought to length 1 first
    origin: dict[str, Any] = field(default_factory=dict)        # how it was learnt: config, updates, what was measured

    def packed(self) -> bytes:
        """The file's content."""
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "entry": self.entry, "image": list(self.image), "state": self.state,
                    "project": self.project, "unit": self.unit, "origin": self.origin}, buffer)
        return buffer.getvalue()

    def fill(self, encoder: Sight, where: str) -> None:
        """Put the weights into an encoder made by the entry; ValueError where they are of another."""
        try:
            encoder.load_state_dict(self.state)
        except RuntimeError as error:
            raise ValueError(f"encoder init {where}: its weights do not fit its own entry {self.entry} "
                             f"({str(error).splitlines()[-1].strip()}); it was made by another surgrl: "
                             "pretrain anew") from error


def read_learnt(where: str) -> Learnt:
    """From a file, or the folder of the run that wrote it. ValueError where there is none, or it is damaged."""
    path = Path(where) / FILE if Path(where).is_dir() else Path(where)
    if not path.is_file():
        raise ValueError(f"encoder init {where}: no such file; `surgrl pretrain` leaves {FILE} in its run's folder "
                         "when it is done")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        form = held["format"]
        if form == FORMAT:
            return Learnt(held["entry"], tuple(held["image"]), held["state"], held["project"], held["unit"],
                          held["origin"])
    except Exception as error:      # whatever a file that is damaged, or another one, makes torch, pickle and zip raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"encoder init {where}: damaged, or no learnt encoder ({reason}); give the {FILE} of a "
                         "`surgrl pretrain` run") from error
    raise ValueError(f"encoder init {where}: format {form}, this surgrl reads {FORMAT}; pretrain anew")


def entry_of(given: Mapping[str, Any], learnt: Learnt, where: str, image: tuple[int, int, int]) -> dict[str, Any]:
    """The learnt encoder's entry; ValueError where what is given beside `init` contradicts it, or images differ."""
    for key, value in given.items():
        if learnt.entry.get(key, "drqv2" if key == "name" else None) != value:
            raise ValueError(f"encoder {key} is {value!r}, but {where} was learnt with {learnt.entry}; leave {key} out")
    if image != learnt.image:
        (planes, height, width), (channels, rows, columns) = image, learnt.image
        raise ValueError(f"encoder init {where} sees {channels // 3} frames of {columns}x{rows} px, this config's are "
                         f"{planes // 3} of {width}x{height}: set image.size to {rows} and image.stack to "
                         f"{channels // 3}, or pretrain with this config's")
    return dict(learnt.entry)


class Embedding(nn.Module):
    """Pictures to points whose distance tells how unlike their moments are, as a time-contrastive network learnt."""

    def __init__(self, encoder: Sight, learnt: Learnt):
        """encoder: made by the learnt entry."""
        super().__init__()
        weight = learnt.project["weight"]
        self.encoder, self.unit = encoder, learnt.unit
        self.project = nn.Linear(weight.shape[1], weight.shape[0])
        self.project.load_state_dict(learnt.project)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, F)."""
        points = self.project(self.encoder(images))
        return normalize(points, dim=1) if self.unit else points
