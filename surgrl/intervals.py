"""95 % intervals: of a share of episodes, and of a mean over seeds."""

from math import sqrt

import numpy as np

from .policy.spec import Array

Z = 1.96
# Student's 97.5 % quantile for 1, 2, 3 … degrees of freedom
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Low and high of a share of n independent episodes (Wilson 1927)."""
    middle = (share + Z ** 2 / (2 * n)) / (1 + Z ** 2 / n)
    half = Z * sqrt(share * (1 - share) / n + Z ** 2 / (4 * n * n)) / (1 + Z ** 2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def over_seeds(shares: Array, n: int) -> tuple[float, float, float]:
    """Mean, low and high of shares (S,), one for each seed, of n episodes in all.

    The wider one, at either end, of Student's t over the seeds and Wilson over all episodes: three seeds that agree
    by luck make t too narrow, and episodes of one seed are not independent, which makes Wilson too narrow.
    """
    mean = float(np.mean(shares))
    low, high = wilson(mean, n)
    if len(shares) > 1:
        half = t_half(shares)
        low, high = min(low, mean - half), max(high, mean + half)
    return mean, max(0.0, low), min(1.0, high)


def t_half(values: Array) -> float:
    """Half the width of Student's interval of the mean of values (S,), S at least 2."""
    freedom = len(values) - 1
    return quantile(freedom) * float(np.std(values, ddof=1)) / sqrt(len(values))


def quantile(freedom: int) -> float:
    """Student's 97.5 % quantile; beyond the table by the normal's expansion (Abramowitz & Stegun 1964, 26.7.5)."""
    if freedom <= len(T):
        return T[freedom - 1]
    return Z + (Z ** 3 + Z) / (4 * freedom) + (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / (96 * freedom ** 2)
