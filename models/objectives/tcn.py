"""TCN (Sermanet et al. 2018, arXiv:1704.06888): what is shown at one time belongs together, whoever looks."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ..batch import Batch
from ..encoder import Encoder
from ..objective import Encode, Objective
from ..rows import Rows
from .triplet import hinge, windows


class Tcn(Objective):
    """Time-contrastive network: of one eye, near moments against far ones; of two, what both see at one time.

    views=1: triplets within an episode. views=2: n-pairs (Sohn 2016) between the left and the right eye.
    Differs from the paper: the agent's own encoder learns all of it, where there a frozen Inception and a spatial
    softmax see; each moment has one negative of its own episode, none is mined. To encode the others is what it
    costs, so a share of the batch is compared.
    """

    def __init__(self, encoder: Encoder, action_dim: int, *, views: int = 1, features: int = 32, margin: float = 0.2,
                 near: int = 6, far: int = 12, shrink: float = 1e-6, share: float = 0.25):
        """features: numbers that are compared. Of one eye: near, far in steps (the paper's, at 30 a second), margin.

        Of two: shrink, weight of the mean square of what is compared. share: of the batch that is compared.
        """
        super().__init__(encoder, action_dim)
        if views not in (1, 2):
            raise ValueError(f"tcn views is {views}; it must be 1, or 2 for both eyes of the endoscope")
        self.views, self.margin, self.shrink, self.rows = views, margin, shrink, Rows("tcn", share)
        self.needs = windows("tcn", near, far) if views == 1 else ("right",)
        self.project = nn.Linear(encoder.latent_dim, features)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Triplets in time, or n-pairs between two eyes."""
        rows = self.rows(z)
        others = [encode(batch.extra[name][rows]) for name in self.needs]
        seen = [self.project(latent) for latent in (z[rows], *others)]                                  # (N, F) each
        return self._triplets(*seen) if self.views == 1 else self._pairs(*seen)

    def _triplets(self, anchor: Tensor, near: Tensor, far: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        anchor, near, far = (normalize(seen, dim=1) for seen in (anchor, near, far))
        together, apart = (anchor - near).square().sum(1), (anchor - far).square().sum(1)               # (N,)
        loss = hinge(together, apart, self.margin)
        return loss, {"loss": loss, "accuracy": (together < apart).float().mean()}

    def _pairs(self, left: Tensor, right: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits = left @ right.T                                         # (N, N), right answers on the diagonal
        truth = torch.arange(len(left), device=left.device)
        size = left.square().sum(1).mean() + right.square().sum(1).mean()
        loss = cross_entropy(logits, truth) + self.shrink * size
        return loss, {"loss": loss, "accuracy": (logits.argmax(1) == truth).float().mean()}
