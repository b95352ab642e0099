"""`surgical`: a frozen encoder of the project's own, learnt on simulated surgery; its card tells how."""

from pathlib import Path

import yaml

from .frozen import Frozen

FOLDER = Path(__file__).parents[1] / "pretrained" / "encoders" / "surgical"


def surgical(channels: int, size: tuple[int, int], *, layers: str = "4", pool: int = 4, latent_dim: int | None = None,
             cached: bool = False) -> Frozen:
    """Frozen convolutions that come with surgrl, learnt on simulated surgery by DEAR (Pore et al. 2024).

    layers and pool are those that the probe in their card was made with; options as Frozen's.
    """
    told = yaml.safe_load((FOLDER / "weights.yaml").read_text())
    return Frozen(channels, size, network=told["network"], weights=str(FOLDER / "weights.pt"), sha256=told["sha256"],
                  licence=told["licence"], layers=layers, pool=pool, side=told["side"], latent_dim=latent_dim,
                  cached=cached)
