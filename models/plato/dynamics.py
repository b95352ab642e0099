"""PLATO's dynamics (Piloto et al. 2022): slots that share their weights foretell the next code of every object.

Loss ||z^_{t+1}^{1:K} - z_{t+1}||^2. One LSTM, the same for every slot, keeps what was seen; an interaction network
(Battaglia et al. 2016, arXiv:1612.00222) tells each slot of the codes and memories of all.
"""

import torch
from torch import Tensor, nn

Memory = tuple[Tensor, Tensor]      # of the LSTM: (B K, hidden) each


class Dynamics(nn.Module):
    """Permutation-equivariant: slots in another order give the same predictions in that order."""

    def __init__(self, code: int, *, hidden: int = 96, effect: int = 64):
        """code: numbers of a code. hidden: of a slot's memory. effect: units of the interaction network."""
        super().__init__()
        self.hidden = hidden
        self.sender, self.receiver = nn.Linear(code + hidden, effect), nn.Linear(code + hidden, effect)
        self.pair = nn.Sequential(nn.ReLU(), nn.Linear(effect, effect), nn.ReLU())
        self.memory = nn.LSTMCell(code + effect, hidden)
        self.readout = nn.Linear(hidden, code)

    def forward(self, codes: Tensor, state: Memory | None = None) -> tuple[Tensor, Memory]:
        """Codes (B, T, K, D) -> predictions (B, T, K, D), of the frames 1..T from those before; memory after T."""
        batch, length, slots, _ = codes.shape
        if state is None:
            state = (codes.new_zeros(batch * slots, self.hidden),) * 2
        found = []
        for t in range(length):
            now = codes[:, t]                                                           # (B, K, D)
            each = torch.cat([now, state[0].view(batch, slots, -1)], dim=-1)            # (B, K, D + hidden)
            # A linear layer on a pair is the sum of one on each: K products where there were K^2.
            pairs = self.receiver(each)[:, :, None] + self.sender(each)[:, None]        # (B, K, K, effect)
            effects = self.pair(pairs).sum(2)                                           # (B, K, effect)
            state = self.memory(torch.cat([now, effects], dim=-1).flatten(0, 1), state)
            found.append(self.readout(state[0]).view(batch, slots, -1))
        return torch.stack(found, dim=1), state

    def errors(self, codes: Tensor) -> Tensor:
        """(B, T, K, D) -> (B, T - 1, K): squared error of each object's code in the frames 1..T - 1."""
        return (self(codes[:, :-1])[0] - codes[:, 1:]).square().sum(-1)

    def loss(self, codes: Tensor) -> Tensor:
        """Mean over films and frames, summed over objects."""
        return self.errors(codes).sum(-1).mean()
