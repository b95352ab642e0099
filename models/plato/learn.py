"""How PLATO learns (Piloto et al. 2022): perception from single objects, then, with that frozen, dynamics from films.

Differs from the paper: one cycle of the learning rate (Smith & Topin 2017, arXiv:1708.07120), so that few steps do;
objects are drawn label by label, not frame by frame, since small ones are seen seldom.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from .model import Array, Plato, masked
from .perception import CODE

RATE = 2e-3             # highest learning rate
LONGEST = 1.0           # gradient norm of the dynamics: one film with a long error is not to undo the rest
Progress = Callable[[Iterable[int]], Iterable[int]]


def learn_perception(plato: Plato, images: Array, labels: Array, *, steps: int, batch: int = 32, seed: int = 0,
                     progress: Progress = iter) -> float:
    """Frames (N, H, W, 3) uint8 and (N, H, W) uint8; the last tenth's mean loss. progress: shows how far it is."""
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    seen = [np.flatnonzero((labels == label).any((1, 2))) for label in plato.labels]
    slots = [k for k, frames in enumerate(seen) if len(frames)]

    def loss() -> Tensor:
        which = rng.choice(slots, size=batch)
        frames = np.array([rng.choice(seen[k]) for k in which])
        frames[0] = rng.integers(len(images))       # whether it is seen or not: nothing has a code, too
        own = labels[frames] == np.array(plato.labels, labels.dtype)[which, None, None]
        return plato.perception.loss(masked(images[frames], own), torch.randn(batch, CODE, generator=noise))
    return _descend(plato.perception, loss, steps, None, progress)


def learn_dynamics(plato: Plato, codes: Tensor, *, steps: int, batch: int = 32, seed: int = 0,
                   progress: Progress = iter) -> float:
    """Codes of possible films (N, T, K, CODE); the last tenth's mean loss. Perception is left as it is."""
    rng = np.random.default_rng(seed)
    return _descend(plato.dynamics, lambda: plato.dynamics.loss(codes[rng.integers(len(codes), size=batch)]), steps,
                    LONGEST, progress)


def _descend(module: nn.Module, loss: Callable[[], Tensor], steps: int, longest: float | None,
             progress: Progress) -> float:
    if steps < 10:
        raise ValueError(f"{steps} steps; at least 10 are needed")
    optimiser = torch.optim.Adam(module.parameters(), lr=RATE)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    told = []
    for _ in progress(range(steps)):
        value = loss()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        if longest is not None:
            nn.utils.clip_grad_norm_(module.parameters(), longest)
        optimiser.step()
        cycle.step()
        told.append(float(value.detach()))
    return float(np.mean(told[-max(1, steps // 10):]))
