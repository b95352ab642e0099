"""SAC-AE (Yarats et al. 2019, arXiv:1910.01741): the image must be drawn again from what the latent keeps of it."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import mse_loss

from ..batch import Batch
from ..decoder import Decoder
from ..encoder import Encoder
from ..heads import trunk
from ..objective import Encode, Objective

LEVELS = 32     # of brightness, as the paper's 5 bits


class Autoencoder(Objective):
    """Reconstruct the image from a small code of the latent (SAC-AE): a deterministic, regularised autoencoder.

    Differs from the released code: the code of `features` numbers is the objective's own (there critic and actor
    read it too; here each has a trunk of the same form); the target is the middle of its level of brightness, where
    the code draws noise within the level, which under a squared error moves no mean gradient and adds a constant
    8.1e-5; the decoder grows its image by sub-pixel convolutions; its decay stands in the loss (eq. 3 of the paper).
    """

    reads_images: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, action_dim: int, *, features: int = 50, latent_decay: float = 1e-6,
                 decoder_decay: float = 1e-7):
        """features: numbers of the code; latent_decay, decoder_decay: of half the code's and the weights' squares."""
        super().__init__(encoder, action_dim)
        self.latent_decay, self.decoder_decay = latent_decay, decoder_decay
        self.code = trunk(encoder.latent_dim, features)
        self.decoder = Decoder(features, encoder.channels, encoder.size)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error over all colour values, in [-0.5, 0.5], and the two decays."""
        code = self.code(z)                                             # (B, F)
        error = mse_loss(self.decoder(code), coarse(batch.obs))
        size = 0.5 * code.square().sum(1).mean()
        weights = 0.5 * sum(weight.square().sum() for weight in self.decoder.parameters())
        return (error + self.latent_decay * size + self.decoder_decay * weights,
                {"error": error, "code_size": size})


def coarse(images: Tensor) -> Tensor:
    """uint8 -> the middle of the pixel's level of brightness, in [-0.5, 0.5]."""
    return (images // (256 // LEVELS)).float() / LEVELS + (0.5 / LEVELS - 0.5)
