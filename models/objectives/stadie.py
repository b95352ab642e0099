"""Predictive-model bonus (Stadie, Levine, Abbeel 2015, arXiv:1507.00814): pay where a learnt model is still wrong."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..batch import Batch
from ..decoder import Decoder
from ..encoder import Encoder
from ..heads import mlp, trunk
from ..objective import Encode, Objective
from ..successor import Successors
from .autoencoder import coarse


class Stadie(Objective):
    """Pay for surprise: where a model of an autoencoder's code foretells the next one badly, over time ever less.

    e = ||code(s') - M(code(s), a)||^2; bonus: scale * e / (largest e so far) / max(1, t C), with t in updates, for
    the first step of an n-step return (see Objective.bonus). The code is learnt by reconstruction, beside the model.
    It is paid for noise, too: what cannot be foretold stays surprising (the paper's known flaw; see icm).
    Differs from the paper: the code is read off the agent's encoder, which it shapes; t counts updates from where
    t C is 1, so that the first bonuses are bounded; scale and C are chosen here, the paper tunes them for each game.
    """

    needs: ClassVar[tuple[str, ...]] = ("successor",)
    reads_images: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, action_dim: int, *, scale: float = 0.05, decay: float = 1e-4,
                 features: int = 50, hidden: int = 256):
        """scale: largest bonus (beta of the paper); decay: C, of an update; features: of the code; hidden: units."""
        super().__init__(encoder, action_dim)
        if not (0 <= scale < float("inf") and 0 <= decay < float("inf")):
            raise ValueError(f"stadie scale is {scale}, decay {decay}; both must be finite and >= 0")
        self.scale, self.decay = scale, decay
        self.code = trunk(encoder.latent_dim, features)
        self.decoder = Decoder(features, encoder.channels, encoder.size)
        self.model = mlp(features + action_dim, hidden, features)
        self.register_buffer("largest", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._successors = Successors()

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared errors of the reconstruction and of the model, whose gradient stays in the model."""
        code = self.code(z)                                                             # (B, F)
        drawn = mse_loss(self.decoder(code), coarse(batch.obs))
        error = self._error(code.detach(), batch, encode)                               # (B, 1)
        self.largest.copy_(torch.maximum(self.largest, error.detach().max()))
        return drawn + error.mean(), {"reconstruction_error": drawn, "model_error": error.mean(),
                                      "surprise": error.mean() / self.largest.clamp(min=1e-12)}

    @torch.no_grad()
    def bonus(self, batch: Batch, z: Tensor, encode: Encode) -> Tensor:
        """(B, 1) in [0, scale]."""
        error = self._error(self.code(z), batch, encode)
        largest = torch.maximum(self.largest, error.max()).clamp(min=1e-12)
        return self.scale * error / largest / (self.updates * self.decay).clamp(min=1)

    def after_step(self, encoder: nn.Module) -> None:
        """Time passes; the latents held are of an encoder that has stepped."""
        self.updates += 1
        self._successors.forget()

    def _error(self, code: Tensor, batch: Batch, encode: Encode) -> Tensor:
        """(B, 1) squared error of the model, which alone it can shape."""
        with torch.no_grad():
            after = self.code(self._successors(batch, encode))
        return (self.model(torch.cat([code, batch.action], dim=1)) - after).square().sum(1, keepdim=True)
