"""Counts of binary codes in bounded memory: a counting Bloom filter, as in #Exploration's code (arXiv:1611.04717)."""

import torch
from torch import Tensor, nn

PRIMES = (999_953, 999_959, 999_961, 999_979, 999_983, 1_000_003)      # cells of each table


class Counter(nn.Module):
    """Six tables that a code falls into by its remainders; the smallest count is the least spoilt by other codes.

    Never too low; of 100,000 codes one in a million is too high. 24 MB, in every checkpoint.
    """

    def __init__(self, bits: int):
        """bits: of a code."""
        super().__init__()
        powers = [[pow(2, place, prime) for place in range(bits)] for prime in PRIMES]
        self.register_buffer("powers", torch.tensor(powers), persistent=False)              # (6, bits)
        self.register_buffer("primes", torch.tensor(PRIMES)[:, None], persistent=False)     # (6, 1)
        self.register_buffer("table", torch.zeros(len(PRIMES), max(PRIMES), dtype=torch.int32))

    def add(self, codes: Tensor) -> None:
        """Each of (B, bits) bool is met once more."""
        cells = self._cells(codes)
        self.table.scatter_add_(1, cells, torch.ones_like(cells, dtype=torch.int32))

    def forward(self, codes: Tensor) -> Tensor:
        """(B, bits) bool -> (B, 1) float, how often each was met."""
        return self.table.gather(1, self._cells(codes)).amin(0).float()[:, None]

    def _cells(self, codes: Tensor) -> Tensor:
        """(B, bits) -> (6, B): the code as a binary number, modulo each prime."""
        return (codes * self.powers[:, None]).sum(2) % self.primes
