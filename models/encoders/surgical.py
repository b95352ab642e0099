"""`surgical`: a frozen encoder of the project's own, learnt on simulated surgery; its card tells how."""

from pathlib import Path

import yaml

from .frozen import Frozen

FOLDER = Path(__file__).parents[1] / "pretrained" / "encoders" / "surgical"


def surgical(channels: int, size: tuple[int, int], *, layers: str = "4", pool: int = 4, latent_dim: int | None = None,
             cached: bool = False) -> Frozen:
    """DrQ-v2's convolutions as `surgrl freeze` kept them, in the shape that its probe was made in; options as Frozen's.

    (Laskin et al. 2020, arXiv:2004.04136, and Pore et al. 2024, arXiv:2407.00633, are what they were learnt by.)
    """
    told = yaml.safe_load((FOLDER / "weights.yaml").read_text())
    return Frozen(channels, size, network=told["network"], weights=str(FOLDER / "weights.pt"), sha256=told["sha256"],
                  licence=told["licence"], layers=layers, pool=pool, side=told["side"], latent_dim=latent_dim,
                  cached=cached)
