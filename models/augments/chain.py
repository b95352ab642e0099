"""Augmentations one after the other (RAD, Laskin et al. 2020, arXiv:2004.14990); and turns of a whole batch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..augment import Augment
from ..batch import Batch
from .turn import Channel, Turn

TURNED = ("mask", "expert", "original", "successor", "step_reward", "same_episode", "sequence", "near", "far")


class Chain:
    """Is used as one augmentation is; without any it leaves images as they are."""

    def __init__(self, links: Sequence[Augment]):
        """links: in the order in which they follow."""
        self.links = links

    def __call__(self, images: Tensor, params: Sequence[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """(B, C, H, W) uint8 -> the same kind, and the params that repeat it."""
        used = []
        for k, link in enumerate(self.links):
            images, own = link(images, None if params is None else params[k])
            used.append(own)
        return images, used

    def mask(self, masks: Tensor, params: Sequence[Any]) -> Tensor:
        """(B, stack, H, W) uint8, of images that were augmented with these params -> as they belong to them then."""
        for link, own in zip(self.links, params, strict=True):
            masks = link.mask(masks, own)
        return masks


def encoded(images: Tensor, augment: Augment | Chain, look: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, C, H, W) uint8, freshly augmented -> (B, D), as `look` sees them; clips (B, T, C, H, W) -> (B, T, D)."""
    if images.dim() == 4:
        return look(augment(images)[0])
    # As planes of one picture the images of a clip are treated alike, or a shift would look like motion.
    changed, _ = augment(images.flatten(1, 2))
    return look(changed.unflatten(1, images.shape[1:3]).flatten(0, 1)).unflatten(0, images.shape[:2])


class Turns:
    """Flips and rotations of a batch: all that was seen and done in a step is told of one and the same turned world.

    So the moments that objectives compare, and the views that are averaged over, stay of one world.
    """

    def __init__(self, turns: Sequence[Turn], channels: Sequence[Channel], *, proprio_dim: int, needs: Sequence[str]):
        """channels: of the action. needs: entries of batch.extra. ValueError for what cannot be turned."""
        if turns and proprio_dim:
            raise ValueError(f"augmentation {type(turns[0]).__name__.lower()}: proprio tells of the world as it is, "
                             "not as it would be mirrored or turned: leave it out, or image.proprio")
        strange = [need for need in needs if need.partition(":")[0] not in TURNED]
        if turns and strange:
            raise ValueError(f"augmentation {type(turns[0]).__name__.lower()}: nobody knows what becomes of "
                             f"{strange[0]!r}, which an objective needs: leave one of the two out")
        self.turns = [(turn, turn.matrices(channels)) for turn in turns]

    def __call__(self, batch: Batch) -> Batch:
        """The batch itself where there is nothing to turn by."""
        for turn, matrices in self.turns:
            params = turn.draw(len(batch.obs))
            own = matrices[params].to(batch.action)                                     # (B, A, A)
            extra = {name: self._turned(turn, name, value, params, own) for name, value in batch.extra.items()}
            batch = batch._replace(obs=turn.apply(batch.obs, params), action=acted(own, batch.action),
                                   next_obs=turn.apply(batch.next_obs, params), extra=extra)
        return batch

    @staticmethod
    def _turned(turn: Turn, name: str, value: Tensor, params: Tensor, own: Tensor) -> Tensor:
        """An entry of batch.extra: images and masks, (B, ..., H, W) uint8; actions; or numbers of no direction."""
        if value.dtype == torch.uint8:
            return turn.apply(value, params)
        return acted(own, value) if name == "expert" or name.endswith("/action") else value


def acted(matrices: Tensor, actions: Tensor) -> Tensor:
    """(B, A, A) and (B, ..., A) -> the actions, turned."""
    return torch.einsum("bij,b...j->b...i", matrices, actions)
