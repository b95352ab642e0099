"""An inverse model (Agrawal et al. 2016, arXiv:1606.07419): which action led from this image to the next?"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..batch import Batch
from ..encoder import Encoder
from ..heads import mlp
from ..objective import Encode, Objective


class Inverse(Objective):
    """Tell the action from two images in a row: the latent keeps what the agent moves, and need keep no more.

    Differs from the paper: actions are numbers, so the loss is a squared error; the gradient enters by the first
    image only, at half the cost, the second being seen by the same encoder.
    """

    needs: ClassVar[tuple[str, ...]] = ("successor",)

    def __init__(self, encoder: Encoder, action_dim: int, *, features: int = 50, hidden: int = 256):
        """features: numbers that the model reads of each latent; hidden: units."""
        super().__init__(encoder, action_dim)
        self.code = nn.Sequential(nn.Linear(encoder.latent_dim, features), nn.LayerNorm(features))
        self.model = mlp(2 * features, hidden, action_dim)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the action, and how much of the actions' variance it explains."""
        with torch.no_grad():
            after = encode(batch.extra["successor"])
        error = mse_loss(self.model(torch.cat([self.code(z), self.code(after)], dim=1)), batch.action)
        explained = 1 - error / batch.action.var(0, correction=0).mean().clamp(min=1e-6)
        return error, {"error": error, "explained": explained}
