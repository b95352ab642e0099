"""ICM (Pathak et al. 2017, arXiv:1705.05363): curiosity about what one's own actions change."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..batch import Batch
from ..encoder import Encoder
from ..heads import mlp
from ..objective import Encode, Objective
from ..successor import Successors


class Icm(Objective):
    """Curiosity: pay where features that tell the action are still badly foretold (intrinsic curiosity module).

    Features phi are learnt by the inverse model, so what no action changes is not seen and its noise not paid for.
    Bonus: eta/2 ||phi'(predicted) - phi'||^2, for the first step of an n-step return (see Objective.bonus).
    Differs from the released code: phi is `features` normalised numbers of the agent's own latent instead of 288 of
    a network apart; the encoder's gradient enters by the first image only; the two models learn at the agent's
    rate (there: ten times that of the policy); actions are numbers, so the inverse loss is a squared error. As
    there, the forward loss may bend phi, too.
    """

    needs: ClassVar[tuple[str, ...]] = ("successor",)

    def __init__(self, encoder: Encoder, action_dim: int, *, eta: float = 0.01, beta: float = 0.2,
                 features: int = 50, hidden: int = 256):
        """eta: scale of the bonus; beta: share of the forward loss, the rest is the inverse's; hidden: units."""
        super().__init__(encoder, action_dim)
        if not (0 <= eta < float("inf") and 0 <= beta <= 1):
            raise ValueError(f"icm eta is {eta}, beta {beta}; eta must be finite and >= 0, beta in [0, 1]")
        self.eta, self.beta = eta, beta
        self.code = nn.Sequential(nn.Linear(encoder.latent_dim, features), nn.LayerNorm(features))
        self.forward_model = mlp(features + action_dim, hidden, features)
        self.inverse_model = mlp(2 * features, hidden, action_dim)
        self._successors = Successors()

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """(1 - beta) of the action's squared error, and beta of the forward error."""
        now, after = self.code(z), self.code(self._successors(batch, encode))           # (B, F) each
        inverse = mse_loss(self.inverse_model(torch.cat([now, after], dim=1)), batch.action)
        surprise = self._surprise(now, after, batch.action).mean()
        return ((1 - self.beta) * inverse + self.beta * surprise,
                {"inverse_error": inverse, "surprise": surprise})

    def bonus(self, batch: Batch, z: Tensor, encode: Encode) -> Tensor:
        """eta times the forward error of each transition, (B, 1)."""
        return self.eta * self._surprise(self.code(z), self.code(self._successors(batch, encode)), batch.action)

    def after_step(self, encoder: nn.Module) -> None:
        """The latents held are of an encoder that has stepped."""
        self._successors.forget()

    def _surprise(self, now: Tensor, after: Tensor, action: Tensor) -> Tensor:
        """(B, F), (B, F), (B, A) -> (B, 1), half the squared distance of what came from what was foretold."""
        foretold = self.forward_model(torch.cat([now, action], dim=1))
        return 0.5 * (foretold - after).square().sum(1, keepdim=True)
