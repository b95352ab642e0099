"""CURL (Laskin, Srinivas, Abbeel 2020, arXiv:2004.04136): two views of one moment belong together."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..batch import Batch
from ..encoder import Encoder
from ..objective import Encode, Objective
from ..ranges import within
from ..slow import follow, slow_copy


class Curl(Objective):
    """Contrast: of a batch of moments, find the one whose other view this is (InfoNCE).

    Differs from the released code: the views are shifts instead of crops, the encoder is stepped once per
    update instead of twice, and the projection to `features` numbers is the objective's own.
    """

    needs: ClassVar[tuple[str, ...]] = ("original",)
    reads_images: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, action_dim: int, *, features: int = 50, tau: float = 0.05):
        """features: numbers that are compared; tau: how fast the slow encoder follows."""
        super().__init__(encoder, action_dim)
        within("curl", high=1.0, above=True, tau=tau)
        self.tau = tau
        self.project = nn.Sequential(nn.Linear(encoder.latent_dim, features), nn.LayerNorm(features))
        self.similarity = nn.Parameter(torch.rand(features, features))      # W of the paper's eq. 4
        self.slow_encoder, self.slow_project = slow_copy(encoder), slow_copy(self.project)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of each query over the keys of the whole batch."""
        with torch.no_grad():
            keys = self.slow_project(encode(batch.extra["original"], self.slow_encoder))    # (B, F)
        logits = self.project(z) @ self.similarity @ keys.T         # (B, B), right answers on the diagonal
        right = torch.arange(len(z), device=z.device)
        loss = cross_entropy(logits, right)
        return loss, {"loss": loss, "accuracy": (logits.argmax(1) == right).float().mean()}

    def after_step(self, encoder: nn.Module) -> None:
        """The slow encoder and projection follow."""
        follow(self.slow_encoder, encoder, self.tau)
        follow(self.slow_project, self.project, self.tau)
