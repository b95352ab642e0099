"""TED (Dunion et al. 2023, arXiv:2207.05480): what follows what is told dimension by dimension of the latent."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..batch import Batch
from ..encoder import Encoder
from ..objective import Encode, Objective
from ..ranges import within
from ..rows import Rows
from ..slow import follow, slow_copy


class Ted(Objective):
    """Temporal disentanglement: tell a moment's true successor from other moments, one latent dimension at a time.

    Differs from the paper: moments of other episodes are those of the batch, shifted by one row; other moments of
    the same episode, which have to be encoded, are drawn for a share of the batch. Its score need not find independent
    factors: on mixed Laplace sources it did no better than a random projection.
    """

    needs = ("successor", "same_episode")

    def __init__(self, encoder: Encoder, action_dim: int, *, tau: float = 0.05, share: float = 0.5):
        """tau: how fast the slow encoder, which sees the second moment, follows.

        share: of the batch that is told from other moments of its own episode.
        """
        super().__init__(encoder, action_dim)
        if not encoder.projected:
            raise ValueError("ted weighs each number of the latent by itself: give the encoder a latent_dim, e.g. 50")
        within("ted", high=1.0, above=True, tau=tau)
        self.tau, self.rows = tau, Rows("ted", share)
        self.slow_encoder = slow_copy(encoder)
        self.score = Score(encoder.latent_dim)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy, mean of one true and two false kinds of pairs; 0.637 when told by nothing."""
        rows = self.rows(z)
        with torch.no_grad():
            after = encode(batch.extra["successor"], self.slow_encoder)                     # (B, D)
            elsewhere = encode(batch.extra["same_episode"][rows], self.slow_encoder)        # (N, D)
        true, other, same = (self.score(*pair) for pair in ((z, after), (z, after.roll(1, 0)), (z[rows], elsewhere)))
        loss = (softplus(-true).mean() + softplus(other).mean() + softplus(same).mean()) / 3
        told = torch.cat([true > 0, other <= 0, same <= 0])
        return loss, {"loss": loss, "accuracy": told.float().mean(), "latent_std": z.detach().std(0).mean()}

    def after_step(self, encoder: nn.Module) -> None:
        """The slow encoder follows."""
        follow(self.slow_encoder, encoder, self.tau)


class Score(nn.Module):
    """Whether one latent follows another: |w1 u + w2 v + b| - (w u + c)^2 summed over dimensions, and an offset.

    Latents are normalised first, as by the layer that the released code's encoder ends in.
    """

    def __init__(self, size: int):
        """size: D."""
        super().__init__()
        self.normalise = nn.LayerNorm(size, elementwise_affine=False)
        # So that the sum over dimensions begins at about 1, however many there are.
        self.now, self.then = (nn.Parameter(torch.rand(size) / size) for _ in range(2))
        self.alone = nn.Parameter(torch.rand(size) / size ** 0.5)
        self.bias, self.alone_bias = (nn.Parameter(torch.zeros(size)) for _ in range(2))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, D) now, (B, D) perhaps next -> (B,) logit."""
        u, v = self.normalise(u), self.normalise(v)
        both = (self.now * u + self.then * v + self.bias).abs()
        return (both - (self.alone * u + self.alone_bias).square()).sum(1) + self.offset
