"""VAE (Kingma & Welling 2014, arXiv:1312.6114) and beta-VAE (Higgins et al. 2017, ICLR), beside the critic."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..batch import Batch
from ..decoder import Decoder
from ..encoder import Encoder
from ..noise import normal
from ..objective import Encode, Objective


class Vae(Objective):
    """Explain the image by few independent causes: a VAE whose means are the latent; beta > 1 makes it a beta-VAE.

    Loss: E log p(x | z) under a Bernoulli likelihood less beta times KL(q || N(0, I)), summed over an image, then
    divided by its number of colour values, so that beta is the paper's while the loss keeps the critic's size.
    Differs from the papers: the encoder sees a stack of frames, and all of them are drawn; the spreads are read off
    the means instead of beside them, so that critic and actor read the means themselves, without noise.
    """

    reads_images: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, action_dim: int, *, beta: float = 1.0):
        """beta: weight of the KL; 1 is the VAE, 4 to 250 a beta-VAE, 0 an autoencoder with noise."""
        super().__init__(encoder, action_dim)
        if not encoder.projected:
            raise ValueError("vae takes the latent as its code: give the encoder a latent_dim, e.g. 32 (and pool, "
                             "e.g. 4)")
        if not 0 <= beta < float("inf"):
            raise ValueError(f"vae beta is {beta}; it must be finite and >= 0")
        self.beta = beta
        self.log_variance = nn.Linear(encoder.latent_dim, encoder.latent_dim)
        self.decoder = Decoder(encoder.latent_dim, encoder.channels, encoder.size)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the evidence lower bound with its KL times beta, in nats per colour value."""
        log_variance = self.log_variance(z)                             # (B, D)
        logits = self.decoder(drawn(z, log_variance, normal(batch, z)))
        error = binary_cross_entropy_with_logits(logits, batch.obs.float() / 255)
        kl = divergence(z, log_variance)                                # (D,)
        loss = error + self.beta * kl.sum() / logits[0].numel()
        return loss, {"error": error, "kl": kl.sum(), "active": (kl > ACTIVE).sum().float()}


ACTIVE = 0.1    # nats, above which a number of the latent tells something of the image


def drawn(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """(B, D) of the Gaussian, so that gradients reach mean and spread."""
    return mean + (0.5 * log_variance).exp() * noise


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B, D) -> (D,) nats of KL(N(mean, variance) || N(0, 1)), mean over the batch."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(0)
