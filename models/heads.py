"""What reads the latent: actor and twin critic of DrQ-v2 (Yarats et al. 2021), and a scale for proprio."""

import torch
from torch import Tensor, nn


def orthogonal(module: nn.Module) -> None:
    """Orthogonal weights and zero biases, as in the paper's code; for Module.apply."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        gain = nn.init.calculate_gain("relu") if isinstance(module, nn.Conv2d) else 1.0
        nn.init.orthogonal_(module.weight, gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def trunk(inputs: int, features: int) -> nn.Sequential:
    """(B, D) -> (B, F) in [-1, 1]."""
    return nn.Sequential(nn.Linear(inputs, features), nn.LayerNorm(features), nn.Tanh())


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers: (B, inputs) -> (B, outputs)."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True),
                         nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs))


class Actor(nn.Module):
    """Latent and proprio to an action."""

    def __init__(self, latent_dim: int, proprio_dim: int, action_dim: int, *, features: int, hidden: int):
        """features: numbers that the trunk leaves of the latent; hidden: units per layer."""
        super().__init__()
        self.trunk = trunk(latent_dim, features)
        self.mean = mlp(features + proprio_dim, hidden, action_dim)
        self.apply(orthogonal)

    def forward(self, z: Tensor, proprio: Tensor) -> Tensor:
        """(B, D), (B, P) -> (B, A) in (-1, 1)."""
        return torch.tanh(self.mean(torch.cat([self.trunk(z), proprio], dim=1)))


class Critic(nn.Module):
    """Latent, proprio and action to two independent values, on one trunk."""

    def __init__(self, latent_dim: int, proprio_dim: int, action_dim: int, *, features: int, hidden: int):
        """features: numbers that the trunk leaves of the latent; hidden: units per layer."""
        super().__init__()
        self.trunk = trunk(latent_dim, features)
        inputs = features + proprio_dim + action_dim
        self.values = nn.ModuleList(mlp(inputs, hidden, 1) for _ in range(2))
        self.apply(orthogonal)

    def forward(self, z: Tensor, proprio: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, P), (B, A) -> two (B, 1)."""
        inputs = torch.cat([self.trunk(z), proprio, action], dim=1)
        first, second = (value(inputs) for value in self.values)
        return first, second


class Standardise(nn.Module):
    """(B, P) in SI units to about [-1, 1]: metres and radians differ by orders of magnitude.

    It travels with the policy, so the robot feeds plain SI values.
    """

    FLOOR = 1e-3    # least spread, in the entry's unit: what hardly ever moved is not blown up
    REACH = 5.0     # spreads; a value never seen in training moves the policy no further than this

    def __init__(self, size: int):
        """size: P, may be 0."""
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    @torch.no_grad()
    def observe(self, values: Tensor) -> None:
        """Take (B, P) into the running mean and variance (Chan et al. 1979), in place."""
        if values.shape[1] == 0:
            return
        total = self.count + len(values)
        away = values.mean(0) - self.mean
        spread = (self.variance * self.count + values.var(0, correction=0) * len(values)
                  + away.square() * self.count * len(values) / total)
        self.mean += away * len(values) / total
        self.variance.copy_(spread / total)
        self.count.copy_(total)

    def forward(self, values: Tensor) -> Tensor:
        """(B, P) -> (B, P) in [-5, 5]."""
        spread = self.variance.sqrt().clamp(min=self.FLOOR)
        return ((values - self.mean) / spread).clamp(-self.REACH, self.REACH)


class Policy(nn.Module):
    """What is exported: images and proprio in, the mean action out."""

    def __init__(self, encoder: nn.Module, actor: nn.Module, proprio: Standardise):
        """The agent's own modules, not copies: the policy learns on with the agent."""
        super().__init__()
        self.encoder, self.actor, self.standardise = encoder, actor, proprio

    def forward(self, images: Tensor, proprio: Tensor | None = None) -> Tensor:
        """(B, C, H, W) uint8 [, (B, P) float32, SI units] -> (B, A) in [-1, 1]."""
        z = self.encoder(images)
        own = z[:, :0] if proprio is None else self.standardise(proprio)
        return self.actor(z, own)
