"""Weights from a file of one's own: only tensors are read, and only if hash and licence are what the config says."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn


def read_weights(path: str, *, sha256: str, licence: str) -> dict[str, Tensor]:
    """The state_dict in a file. ValueError for another hash, no licence, or one that the card beside it denies.

    A card is a YAML file of the same name, `weights.yaml` beside `weights.pt`; its `sha256` and `licence`, where it
    has them, must be the config's.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"weights {path}: no such file; give the path of a state_dict that torch.save wrote")
    if not licence.strip():
        raise ValueError(f"weights {path}: name the licence that you may use them under, e.g. licence: Apache-2.0 "
                         "(their source tells it; an SPDX identifier says it best)")
    data = file.read_bytes()        # once: what was hashed is what is read
    found = hashlib.sha256(data).hexdigest()
    if sha256.lower() != found:
        told = f"the config says sha256 {sha256}" if sha256 else "the config names no sha256"
        raise ValueError(f"weights {path}: their sha256 is {found}, {told}; compare it with what their source "
                         "publishes, and fetch the file anew or mend the config")
    card = file.with_suffix(".yaml")
    told = yaml.safe_load(card.read_text()) if card.is_file() else {}
    for key, value in (("sha256", sha256.lower()), ("licence", licence)):
        if key in told and told[key] != value:
            raise ValueError(f"weights {path}: the config says {key} {value}, their card {card.name} says {told[key]}")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:      # whatever a file that is no state_dict makes torch, pickle and zip raise
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"weights {path}: torch cannot read them as tensors alone ({reason})") from error
    if not (isinstance(state, Mapping) and state and all(isinstance(value, Tensor) for value in state.values())):
        raise ValueError(f"weights {path}: no plain state_dict (name -> tensor); save model.state_dict()")
    return dict(state)


def fill(network: nn.Module, state: Mapping[str, Tensor], *, path: str, name: str, spare: tuple[str, ...]) -> None:
    """Put the weights into the network. ValueError where they are of another one; `spare`: heads that may be left."""
    wanted = network.state_dict()
    given = {key: value for key, value in state.items() if not key.startswith(spare)}
    for key, value in wanted.items():
        if key not in given:
            raise ValueError(f"weights {path} are of no {name}: {key} is missing; they begin with "
                             f"{', '.join(list(state)[:3])}")
        if given[key].shape != value.shape:
            raise ValueError(f"weights {path} are of no {name}: {key} is {tuple(given[key].shape)}, "
                             f"not {tuple(value.shape)}")
    extra = next((key for key in given if key not in wanted and not key.endswith("num_batches_tracked")), None)
    if extra is not None:
        raise ValueError(f"weights {path} are of no {name}: it has no {extra}")
    network.load_state_dict({key: given[key] for key in wanted})
