"""Triplets (FaceNet, Schroff et al. 2015, arXiv:1503.03832, eq. 3), of moments in place of faces."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from ..batch import Batch
from ..encoder import Encoder
from ..objective import Encode, Objective
from ..rows import Rows


class Triplet(Objective):
    """Triplets: a moment lies closer to one just before or after it than to far ones, those of other episodes too.

    Differs from the paper: what belongs together is not one person's pictures but moments of an episode at most
    `near` steps apart; the negatives are mined among those drawn `far` from each moment. To encode near and far ones
    is what it costs, so they are drawn for a share of the batch.
    """

    def __init__(self, encoder: Encoder, action_dim: int, *, features: int = 128, margin: float = 0.2,
                 near: int = 2, far: int = 8, share: float = 0.25):
        """features: numbers that are compared, on the unit sphere; margin: of squared distance; near, far: steps.

        share: of the batch that is compared.
        """
        super().__init__(encoder, action_dim)
        self.margin, self.rows = margin, Rows("triplet", share)
        self.needs = self.near, self.far = windows("triplet", near, far)
        self.project = nn.Linear(encoder.latent_dim, features)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Hinge of each moment over its near one and the negative that is mined for it."""
        rows = self.rows(z)
        anchor, near, far = (normalize(self.project(seen), dim=1) for seen in (
            z[rows], encode(batch.extra[self.near][rows]), encode(batch.extra[self.far][rows])))    # (N, F) each
        together = (anchor - near).square().sum(1)                                  # (N,)
        apart = 2 - 2 * anchor @ far.T                                              # (N, N), as ||.|| = 1
        loss = hinge(together, semi_hard(together, apart), self.margin)
        return loss, {"loss": loss, "accuracy": (together[:, None] < apart).float().mean()}


def windows(name: str, near: int, far: int) -> tuple[str, str]:
    """What the memory is asked for: a moment at most `near` steps away, and one more than `far` steps away."""
    if not 1 <= near <= far:
        raise ValueError(f"{name} near {near} and far {far} are steps; 1 <= near <= far is needed")
    return f"near:{near}", f"far:{far}"


def hinge(together: Tensor, apart: Tensor, margin: float) -> Tensor:
    """Mean of what (B,) squared distances lack of the margin."""
    return relu(together - apart + margin).mean()


def semi_hard(together: Tensor, apart: Tensor) -> Tensor:
    """(B,) and (B, N) squared distances -> (B,): of the negatives that lie farther than the positive the closest.

    Where none does, the farthest negative.
    """
    farther = apart > together[:, None]
    closest = torch.where(farther, apart, torch.inf).amin(1)
    return torch.where(farther.any(1), closest, apart.amax(1))
