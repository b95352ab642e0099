"""DEAR (Pore et al. 2024, arXiv:2407.00633): half of the latent is the agent, as its mask shows."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity

from ..batch import Batch
from ..decoder import Decoder
from ..encoder import Encoder
from ..objective import Encode, Objective
from ..ranges import within


class Dear(Objective):
    """Disentangle: the agent's mask is read from one half of the latent, kept apart from the other half.

    separation: `cos2`, mean cos^2 of the halves (0 when orthogonal); `xcov`, mean squared cross-correlation
    over the batch; `none`; or `legacy`, the term of the released code, 1 - cos(sg(world), agent), whose
    minimum has the halves aligned.
    Differs from the released code: the mask's loss is a mean over pixels (there: a sum, times 0.25); the decoder
    grows its image by sub-pixel convolutions (Shi et al. 2016), at a fraction of the cost; critic and actor read
    the agent's half but do not shape it (isolate), or it would tell them where the target is; and it is a
    bottleneck (Alemi et al. 2017, arXiv:1612.00410): read through unit noise and kept small, it has no room for
    what the mask does not need. isolate=False with bottleneck=0 and mask_weight=10 is without these two.
    """

    needs: ClassVar[tuple[str, ...]] = ("mask",)

    def __init__(self, encoder: Encoder, action_dim: int, *, mask_weight: float = 30.0,
                 separation: str = "cos2", separation_weight: float = 1.0, isolate: bool = True,
                 bottleneck: float = 0.15):
        """mask_weight, separation_weight and bottleneck multiply the three terms; the objective's weight, all.

        isolate: stop the gradients of critic and actor into the agent's half. bottleneck: weight of that half's
        mean square; 0: no noise either.
        """
        super().__init__(encoder, action_dim)
        if separation not in SEPARATIONS:
            raise ValueError(f"dear separation {separation!r} is unknown; allowed: {', '.join(SEPARATIONS)}")
        if not encoder.projected or encoder.latent_dim % 2:
            raise ValueError("dear halves the latent: give the encoder an even latent_dim (and pool, e.g. 4)")
        within("dear", mask_weight=mask_weight, separation_weight=separation_weight, bottleneck=bottleneck)
        self.mask_weight, self.separation_weight = mask_weight, separation_weight
        self.separation = SEPARATIONS[separation]
        self.isolate, self.bottleneck = isolate, bottleneck
        self.decoder = Decoder(encoder.latent_dim // 2, encoder.channels // 3, encoder.size)

    def shield(self, z: Tensor) -> Tensor:
        """The agent's half without gradient, if it is isolated."""
        if not self.isolate:
            return z
        world, agent = z.chunk(2, dim=1)
        return torch.cat([world, agent.detach()], dim=1)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy of the decoded mask, and the separation of the halves."""
        world, agent = z.chunk(2, dim=1)                                # (B, D/2) each
        mask = batch.extra["mask"]
        logits = self.decoder(self._noisy(agent, mask))                 # (B, stack, H, W)
        mask_loss = binary_cross_entropy_with_logits(logits, mask.to(logits.dtype))
        apart = self.separation(world, agent)
        with torch.no_grad():
            drawn, true = logits > 0, mask > 0
            iou = (drawn & true).sum() / (drawn | true).sum().clamp(min=1)
            cos = cosine_similarity(world, agent).mean()
        size = agent.square().mean()
        return (self.mask_weight * mask_loss + self.separation_weight * apart + self.bottleneck * size,
                {"mask_loss": mask_loss, "separation": apart, "mask_iou": iou, "cos": cos, "code_size": size})

    def _noisy(self, agent: Tensor, mask: Tensor) -> Tensor:
        """The agent's half as the decoder reads it while learning."""
        if self.bottleneck == 0:
            return agent
        # Seeded by the batch: the same batch has the same noise, and a resumed training needs no state for it.
        random = torch.Generator().manual_seed(int(mask.sum()))
        return agent + torch.randn(agent.shape, generator=random).to(agent.device)


def _cos2(world: Tensor, agent: Tensor) -> Tensor:
    return cosine_similarity(world, agent).square().mean()


def _cross_correlation(world: Tensor, agent: Tensor) -> Tensor:
    # Of standardised halves: a penalty on the plain covariance is won by shrinking the latent to nothing.
    # ||W'A||^2 = <WW', AA'> needs (B, B) products instead of a (D/2, D/2) one.
    world, agent = ((half - half.mean(0)) / (half.std(0, correction=0) + 1e-5) for half in (world, agent))
    return ((world @ world.T) * (agent @ agent.T)).sum() / (world.shape[0] ** 2 * world.shape[1] ** 2)


def _none(world: Tensor, agent: Tensor) -> Tensor:
    return agent.new_zeros(())


def _legacy(world: Tensor, agent: Tensor) -> Tensor:
    return (1 - cosine_similarity(world.detach(), agent)).mean()


SEPARATIONS = {"cos2": _cos2, "xcov": _cross_correlation, "none": _none, "legacy": _legacy}
