"""How a policy-gradient agent chooses: a Gaussian, one of a list of actions, or one of a few values per channel."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import log, pi

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .heads import orthogonal


class ActionHead(nn.Module, ABC):
    """Numbers of a distribution from features, and what can be asked of it. R numbers tell what was drawn."""

    def __init__(self, features: int, outputs: int):
        """outputs: numbers that describe the distribution. Small first weights: every action is as likely at first."""
        super().__init__()
        self.linear = nn.Linear(features, outputs)
        self.apply(orthogonal)
        with torch.no_grad():
            self.linear.weight.mul_(0.01)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, outputs)."""
        return self.linear(features)

    @abstractmethod
    def draw(self, numbers: Tensor, random: torch.Generator) -> Tensor:
        """(B, outputs) -> what was drawn, (B, R) float."""

    @abstractmethod
    def log_prob(self, numbers: Tensor, drawn: Tensor) -> Tensor:
        """Of drawing (B, R): (B,)."""

    @abstractmethod
    def entropy(self, numbers: Tensor) -> Tensor:
        """(B,) nats."""

    @abstractmethod
    def action(self, drawn: Tensor) -> Tensor:
        """(B, R) -> (B, A) in [-1, 1]."""

    @abstractmethod
    def best(self, numbers: Tensor) -> Tensor:
        """The likeliest action, (B, A) in [-1, 1]."""

    @abstractmethod
    def error(self, numbers: Tensor, label: Tensor) -> Tensor:
        """How far from an expert's action (B, A): (B,), for imitation."""

    @abstractmethod
    def turned(self, drawn: Tensor, matrices: Tensor) -> Tensor:
        """(B, R) as it would be had every action been turned by its matrix (B, A, A), of entries -1, 0 and 1."""

    def check_turns(self, turn: str, matrices: Tensor) -> None:  # noqa: B027 - most heads can follow any turn
        """ValueError where turned actions are none of this head's. turn: its name; matrices: (K, A, A) of it."""


class Gaussian(ActionHead):
    """Continuous: mean in [-1, 1], one spread per channel whatever is seen; what leaves [-1, 1] is cut there."""

    def __init__(self, features: int, action_dim: int, *, std: float = 0.6):
        """std: of the first draws."""
        super().__init__(features, action_dim)
        self.log_std = nn.Parameter(torch.full((action_dim,), log(std)))

    def draw(self, numbers: Tensor, random: torch.Generator) -> Tensor:
        """Mean and noise, before the cut: what the probability is of."""
        noise = torch.randn(numbers.shape, generator=random).to(numbers.device)
        return torch.tanh(numbers) + self.log_std.exp() * noise

    def log_prob(self, numbers: Tensor, drawn: Tensor) -> Tensor:
        """Density of what was drawn."""
        away = (drawn - torch.tanh(numbers)) / self.log_std.exp()
        return (-0.5 * away.square() - self.log_std - 0.5 * log(2 * pi)).sum(1)

    def entropy(self, numbers: Tensor) -> Tensor:
        """Of the spread alone."""
        return (self.log_std + 0.5 * log(2 * pi) + 0.5).sum().expand(len(numbers))

    def action(self, drawn: Tensor) -> Tensor:
        """Cut to [-1, 1]."""
        return drawn.clamp(-1, 1)

    def best(self, numbers: Tensor) -> Tensor:
        """The mean."""
        return torch.tanh(numbers)

    def error(self, numbers: Tensor, label: Tensor) -> Tensor:
        """Mean squared error."""
        return (torch.tanh(numbers) - label).square().mean(1)

    def turned(self, drawn: Tensor, matrices: Tensor) -> Tensor:
        """Before the cut, as the action is."""
        return torch.einsum("bij,bj->bi", matrices, drawn)


class Choices(ActionHead):
    """Discrete(K): one of K actions."""

    def __init__(self, features: int, choices: Sequence[Sequence[float]]):
        """choices: (K, A) in [-1, 1]."""
        super().__init__(features, len(choices))
        self.register_buffer("choices", torch.tensor(choices, dtype=torch.float32))

    def draw(self, numbers: Tensor, random: torch.Generator) -> Tensor:
        """(B, 1): which."""
        return torch.multinomial(numbers.softmax(1).cpu(), 1, generator=random).to(numbers)

    def log_prob(self, numbers: Tensor, drawn: Tensor) -> Tensor:
        """Of which."""
        return numbers.log_softmax(1).gather(1, drawn.long())[:, 0]

    def entropy(self, numbers: Tensor) -> Tensor:
        """Of the choice."""
        return -(numbers.softmax(1) * numbers.log_softmax(1)).sum(1)

    def action(self, drawn: Tensor) -> Tensor:
        """What was chosen."""
        return self.choices[drawn[:, 0].long()]

    def best(self, numbers: Tensor) -> Tensor:
        """What is likeliest."""
        return self.choices[numbers.argmax(1)]

    def error(self, numbers: Tensor, label: Tensor) -> Tensor:
        """Cross entropy to the choice that is nearest to the label."""
        return cross_entropy(numbers, torch.cdist(label, self.choices).argmin(1), reduction="none")

    def check_turns(self, turn: str, matrices: Tensor) -> None:
        """The list must hold the turned one of each of its actions."""
        choices = self.choices.cpu()
        for matrix in matrices:
            turned = choices @ matrix.T
            strange = (turned[:, None] - choices).abs().amax(2).amin(1) > 1e-6
            if strange.any():
                listed = [round(value, 6) for value in turned[strange][0].tolist()]
                raise ValueError(f"augmentation {turn} makes {listed} of one of the choices, which is none of them: "
                                 f"add it, or leave {turn} out")

    def turned(self, drawn: Tensor, matrices: Tensor) -> Tensor:
        """Which choice the turned one is."""
        turned = torch.einsum("bij,bj->bi", matrices, self.choices[drawn[:, 0].long()])
        return torch.cdist(turned, self.choices).argmin(1, keepdim=True).to(drawn)


class Bins(ActionHead):
    """MultiDiscrete: each channel one of `bins` values from -1 to 1, independently; DVC's [3, 3, 3]."""

    def __init__(self, features: int, action_dim: int, *, bins: int = 3):
        """bins: values per channel, at least 2."""
        super().__init__(features, action_dim * bins)
        self.bins = bins
        self.register_buffer("values", torch.linspace(-1, 1, bins))

    def draw(self, numbers: Tensor, random: torch.Generator) -> Tensor:
        """(B, A): which value of each channel."""
        flat = self._split(numbers).flatten(0, 1).softmax(1).cpu()
        return torch.multinomial(flat, 1, generator=random).view(len(numbers), -1).to(numbers)

    def log_prob(self, numbers: Tensor, drawn: Tensor) -> Tensor:
        """Of all channels together."""
        return self._split(numbers).log_softmax(2).gather(2, drawn.long()[..., None])[..., 0].sum(1)

    def entropy(self, numbers: Tensor) -> Tensor:
        """Of all channels together."""
        logits = self._split(numbers)
        return -(logits.softmax(2) * logits.log_softmax(2)).sum((1, 2))

    def action(self, drawn: Tensor) -> Tensor:
        """The values."""
        return self.values[drawn.long()]

    def best(self, numbers: Tensor) -> Tensor:
        """The likeliest value of each channel."""
        return self.values[self._split(numbers).argmax(2)]

    def error(self, numbers: Tensor, label: Tensor) -> Tensor:
        """Cross entropy to each channel's value nearest to the label."""
        nearest = (label[..., None] - self.values).abs().argmin(2)
        return cross_entropy(self._split(numbers).transpose(1, 2), nearest, reduction="none").mean(1)

    def turned(self, drawn: Tensor, matrices: Tensor) -> Tensor:
        """The values lie evenly about 0, so places are turned about the middle one."""
        middle = (self.bins - 1) / 2
        return torch.einsum("bij,bj->bi", matrices, drawn - middle) + middle

    def _split(self, numbers: Tensor) -> Tensor:
        return numbers.unflatten(1, (-1, self.bins))        # (B, A, bins)


def make_head(kind: str, features: int, action_dim: int, *, std: float, bins: int,
              choices: Sequence[Sequence[float]] | None) -> ActionHead:
    """gaussian, choices or bins. ValueError for one that cannot be."""
    if kind == "gaussian" and std > 0:
        return Gaussian(features, action_dim, std=std)
    if kind == "bins" and bins >= 2:
        return Bins(features, action_dim, bins=bins)
    if kind == "choices":
        try:        # YAML reads 7e-1 as text
            numbers = [[float(value) for value in choice] for choice in choices or ()]
        except (TypeError, ValueError):
            numbers = []
        if not (numbers and all(len(choice) == action_dim and all(-1 <= value <= 1 for value in choice)
                                for choice in numbers)):
            raise ValueError(f"choices {choices} must be a list of actions, each {action_dim} numbers in [-1, 1]")
        return Choices(features, numbers)
    raise ValueError(f"actions {kind!r} with std {std}, bins {bins}: allowed are gaussian (std above 0), "
                     "bins (2 or more) and choices")
