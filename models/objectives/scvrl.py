"""SCVRL (Dorkenwald et al. 2022, arXiv:2205.11710): clips are told apart by what they show and by its order."""

from itertools import permutations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ..batch import Batch
from ..encoder import Encoder
from ..objective import Encode, Objective


class Scvrl(Objective):
    """Shuffled clips: find the clip of the same episode, and a clip's true order among all others of its frames.

    Differs from the paper: a clip is read by the agent's encoder, frame by frame, and a one-layer transformer over
    time, in place of a video transformer; the negatives are all orders of the frames. Encodes three images for each
    frame of a clip, so only `clips` of a batch are read: it is meant for small batches or for pre-training.
    """

    def __init__(self, encoder: Encoder, action_dim: int, *, length: int = 4, clips: int = 32, features: int = 64,
                 temperature: float = 0.1):
        """length: frames of a clip; clips: the most of a batch that are read; features: numbers that tell a clip."""
        super().__init__(encoder, action_dim)
        if not (3 <= length <= 5 and clips >= 2 and temperature > 0):
            raise ValueError(f"scvrl length {length} must lie in 3..5 frames, clips {clips} be >= 2 and "
                             f"temperature {temperature} above 0")
        if features < 4 or features % 4:
            raise ValueError(f"scvrl features is {features}; its attention has four heads: give a multiple of 4")
        self.length, self.clips, self.temperature = length, clips, temperature
        self.needs = (f"sequence:{2 * length}",)        # two clips, one after the other
        self.clip = ClipEncoder(encoder.latent_dim, features, length)
        self.episode, self.order = (nn.Sequential(nn.Linear(features, features), nn.ReLU(inplace=True),
                                                  nn.Linear(features, features)) for _ in range(2))
        self.register_buffer("orders", torch.tensor(list(permutations(range(length)))), persistent=False)

    def loss(self, batch: Batch, z: Tensor, encode: Encode) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the clip that follows among all clips, plus that of the true order among all orders."""
        rows = torch.linspace(0, len(z) - 1, min(self.clips, len(z))).long().to(z.device)
        frames, alive = (batch.extra[f"sequence/{name}"][rows, :2 * self.length] for name in ("obs", "alive"))
        first, second = frames.chunk(2, dim=1)                          # (N, L, C, H, W) each
        # Past its end an episode stands still: no frame there has a place in time.
        whole = [alive[:, last - 1, 0] for last in (self.length, 2 * self.length)]              # (N,) each
        codes, again, later = (encode(clip) for clip in (first, first, second))                 # (N, L, D) each
        clip = self.clip(codes)                                         # (N, F)

        logits = self._alike(self.episode(clip), self.episode(self.clip(later)))                # (N, N)
        truth = torch.arange(len(rows), device=z.device)
        same_episode, found = self._told(logits, truth, whole[1])

        shuffled = self.clip(again[:, self.orders].flatten(0, 1)).unflatten(0, (len(rows), -1))     # (N, L!, F)
        logits = self._alike(self.order(clip)[:, None], self.order(shuffled))[:, 0]             # (N, L!)
        true_order, ordered = self._told(logits, torch.zeros_like(truth), whole[0])     # the first order is the true
        return same_episode + true_order, {"episode_loss": same_episode, "episode_accuracy": found,
                                           "order_loss": true_order, "order_accuracy": ordered}

    def _alike(self, one: Tensor, other: Tensor) -> Tensor:
        """(…, N, F), (…, M, F) -> (…, N, M) logits."""
        return normalize(one, dim=-1) @ normalize(other, dim=-1).mT / self.temperature

    def _told(self, logits: Tensor, truth: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy and accuracy over the rows that count (N,) in {0, 1}."""
        loss, right = cross_entropy(logits, truth, reduction="none"), (logits.argmax(1) == truth).float()
        return tuple((value * counts).sum() / counts.sum().clamp(min=1) for value in (loss, right))


class ClipEncoder(nn.Module):
    """What the frames of a clip show, each at its place in time, in one latent."""

    def __init__(self, inputs: int, features: int, length: int):
        """inputs: numbers of a frame's latent; features: of the clip's; length: frames."""
        super().__init__()
        self.project = nn.Linear(inputs, features)
        self.place = nn.Parameter(torch.randn(length, features))
        self.mix = nn.TransformerEncoderLayer(features, 4, 2 * features, dropout=0.0, batch_first=True)

    def forward(self, codes: Tensor) -> Tensor:
        """(N, L, D) -> (N, F)."""
        return self.mix(self.project(codes) + self.place).mean(1)
