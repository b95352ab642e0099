"""How far each number of a code tells one factor and no other: MIG, DCI and the FactorVAE score, of arrays alone.

Codes (N, D) floats, factors (N, K): a factor of up to 20 different values is taken as they are, any other in bins.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BINS = 20               # of a code and of a continuous factor, Locatello et al. 2019 (arXiv:1811.12359)
LEAST_SPREAD = 0.05     # of the widest code; a number that moves less is unused, it would win every vote


class Dci(NamedTuple):
    """Eastwood & Williams 2018: each in [0, 1], higher is better (informativeness may be below 0)."""

    disentanglement: float      # how far a code serves one factor only
    completeness: float         # how far a factor sits in one code only
    informativeness: float      # on held-out samples: accuracy of a discrete factor, R^2 of a continuous one
    importance: Array           # (D, K), each column adds up to 1
    told: Array                 # (K,) informativeness of each factor


def mig(codes: Array, factors: Array, bins: int = BINS) -> float:
    """Mutual information gap (Chen et al. 2018, arXiv:1802.04942, eq. 6): best code over second best, per factor."""
    codes, factors = _checked(codes, factors)
    told = [_binned(code, bins) for code in codes.T]
    gaps = []
    for factor in factors.T:
        labels = _labels(factor, bins)
        shared = sorted(_mutual_information(code, labels) for code in told)
        gaps.append((shared[-1] - (shared[-2] if len(shared) > 1 else 0.0)) / _entropy(np.bincount(labels)))
    return float(np.mean(gaps))


def dci(codes: Array, factors: Array, seed: int = 0, trees: int = 60) -> Dci:
    """Disentanglement, completeness, informativeness by gradient-boosted trees; two thirds of the samples train."""
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
    codes, factors = _checked(codes, factors)
    order = np.random.default_rng(seed).permutation(len(codes))
    train, test = np.split(order, [2 * len(order) // 3])
    importance, told = np.zeros((codes.shape[1], factors.shape[1])), np.zeros(factors.shape[1])
    for k, factor in enumerate(factors.T):
        discrete = len(np.unique(factor)) <= BINS
        kind = GradientBoostingClassifier if discrete else GradientBoostingRegressor
        learner = kind(n_estimators=trees, random_state=seed)
        target = _labels(factor) if discrete else factor
        learner.fit(codes[train], target[train])
        importance[:, k] = learner.feature_importances_
        told[k] = learner.score(codes[test], target[test])
    weight = importance.sum(1) / importance.sum()
    apart = 1 - _row_entropy(importance)
    return Dci(float(weight @ apart), float(np.mean(1 - _row_entropy(importance.T))), float(told.mean()),
               importance, told)


def factor_vae(codes: Array, factors: Array, seed: int = 0, *, votes: int = 2000, batch: int = 64,
               bins: int = BINS) -> float:
    """FactorVAE score (Kim & Mnih 2018, arXiv:1802.05983, sec. 4): accuracy of a majority vote, chance 1/K.

    One factor is held still over a batch; the code that varies least, by its own spread, votes for that factor.
    Half of the votes train. Differs from the paper: a continuous factor is held within one bin of equal count.
    """
    codes, factors = _checked(codes, factors)
    rng = np.random.default_rng(seed)
    spread = codes.std(0)
    codes = codes[:, spread >= LEAST_SPREAD * spread.max()]
    codes = codes / codes.std(0)
    held = [[np.flatnonzero(labels == value) for value in np.unique(labels)]
            for labels in (_labels(factor, bins) for factor in factors.T)]
    table = np.zeros((2, codes.shape[1], len(held)), int)
    for k in range(votes):
        factor = rng.integers(len(held))
        alike = held[factor][rng.integers(len(held[factor]))]
        drawn = codes[rng.choice(alike, batch)]
        table[k % 2, drawn.var(0).argmin(), factor] += 1
    learnt, tried = table
    return float(tried[np.arange(len(tried)), learnt.argmax(1)].sum() / tried.sum())


def principal(codes: Array, kept: int) -> Array:
    """(N, D) -> (N, kept) scores on the first principal axes; fewer where the codes span fewer."""
    centred = codes - codes.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    rank = int((sizes > 1e-7 * max(sizes[0], 1e-12)).sum())
    return (left * sizes)[:, :max(1, min(kept, rank))]


def _checked(codes: Array, factors: Array) -> tuple[Array, Array]:
    codes, factors = np.asarray(codes, float), np.asarray(factors, float)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or len(codes) < 100:
        raise ValueError(f"codes have shape {codes.shape}, factors {factors.shape}; they must be (N, D) and (N, K) "
                         "of the same N, at least 100")
    if not (np.isfinite(codes).all() and np.isfinite(factors).all()):
        raise ValueError("codes and factors must be finite; look for NaN in what made them")
    still = [k for k, factor in enumerate(factors.T) if (factor == factor[0]).all()]
    if still:
        raise ValueError(f"factor {still[0]} never changes; leave it out, or sample it")
    return codes, factors


def _binned(values: Array, bins: int) -> Array:
    """(N,) -> (N,) int, bins of equal width from the least to the greatest value."""
    return np.digitize(values, np.histogram_bin_edges(values, bins)[1:-1])


def _labels(factor: Array, bins: int = BINS) -> Array:
    """(N,) -> (N,) int: which value, or which bin of equal count."""
    values, labels = np.unique(factor, return_inverse=True)
    if len(values) <= bins:
        return labels
    edges = np.quantile(factor, np.linspace(0, 1, bins + 1)[1:-1])
    return np.unique(np.digitize(factor, edges), return_inverse=True)[1]


def _mutual_information(a: Array, b: Array) -> float:
    """Nats, of two (N,) arrays of small whole numbers."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1)
    return _entropy(joint.sum(1)) + _entropy(joint.sum(0)) - _entropy(joint.ravel())


def _entropy(counts: Array) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _row_entropy(table: Array) -> Array:
    """(R,) entropy of each row as shares, in units of its maximum; 1 for a row of zeros."""
    total = table.sum(1, keepdims=True)
    share = np.divide(table, total, out=np.full(table.shape, 1 / table.shape[1]), where=total > 0)
    return -(share * np.log(np.maximum(share, 1e-12))).sum(1) / max(np.log(table.shape[1]), 1e-12)
