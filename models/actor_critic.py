"""What a policy-gradient agent is made of: encoder, memory, policy and values in one module, and what is exported."""

from typing import Any

import torch
from torch import Tensor, nn

from .actions import ActionHead
from .encoder import Encoder
from .heads import Standardise, mlp, orthogonal
from .recurrent import Recurrent


class ActorCritic(nn.Module):
    """Encoder, memory, policy and values."""

    def __init__(self, encoder: Encoder, proprio_dim: int, head: ActionHead, hidden: int, recurrent: int):
        """hidden: units of each layer. recurrent: units of the memory; 0: none."""
        super().__init__()
        self.encoder, self.standardise = encoder, Standardise(proprio_dim)
        self.squeeze = nn.Sequential(nn.Linear(encoder.latent_dim, hidden), nn.ReLU())
        self.memory = Recurrent(hidden + proprio_dim, recurrent)
        seen = recurrent or hidden + proprio_dim
        self.body = nn.Sequential(nn.Linear(seen, hidden), nn.ReLU())
        self.head, self.value = head, mlp(seen, hidden, 2)
        for part in (self.squeeze, self.body, self.value):
            part.apply(orthogonal)

    def look(self, images: Tensor, proprio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) uint8, (B, P), (B, S) -> features (B, F) and the state after."""
        return self.memory(self._features(self.encoder(images), proprio), state)

    def look_along(self, images: Tensor, proprio: Tensor, state: Tensor, ended: Tensor) -> Tensor:
        """L steps in a row: (L, B, C, H, W), (L, B, P), (B, S), (L, B) -> features (L * B, F)."""
        return self.along(self.encoder(images.flatten(0, 1)), proprio, state, ended)

    def along(self, z: Tensor, proprio: Tensor, state: Tensor, ended: Tensor) -> Tensor:
        """The same from latents: (L * B, D), (L, B, P), (B, S), (L, B) -> features (L * B, F)."""
        features = self._features(z, proprio.flatten(0, 1))
        return self.memory.along(features.unflatten(0, proprio.shape[:2]), state, ended).flatten(0, 1)

    def numbers(self, features: Tensor) -> Tensor:
        """(B, F) -> what describes the distribution of actions."""
        return self.head(self.body(features))

    def values(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, 2), of reward and cost."""
        return self.value(features)

    def _features(self, z: Tensor, proprio: Tensor) -> Tensor:
        return torch.cat([self.squeeze(z), self.standardise(proprio)], dim=1)


class Greedy(nn.Module):
    """What is exported: the likeliest action, and the memory where there is one."""

    def __init__(self, net: ActorCritic):
        """The agent's own module, not a copy."""
        super().__init__()
        self.net, self.state_dim = net, net.memory.size

    def forward(self, images: Tensor, proprio: Tensor | None = None, state: Tensor | None = None) -> Any:
        """(B, C, H, W) uint8 [, (B, P)] [, (B, S)] -> (B, A) [, (B, S)]."""
        numbers, after = self._numbers(images, proprio, state)
        action = self.net.head.best(numbers)
        return (action, after) if self.state_dim else action

    def error(self, images: Tensor, proprio: Tensor | None, state: Tensor | None, action: Tensor) -> Tensor:
        """How far from `action` (B, A) the policy is: (B,), with a gradient where choices themselves have none."""
        return self.net.head.error(self._numbers(images, proprio, state)[0], action)

    def _numbers(self, images: Tensor, proprio: Tensor | None, state: Tensor | None) -> tuple[Tensor, Tensor]:
        none = images[:, 0, 0, :0].float()      # (B, 0), whatever B will be once exported
        features, after = self.net.look(images, none if proprio is None else proprio, none if state is None else state)
        return self.net.numbers(features), after
