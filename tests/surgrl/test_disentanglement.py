"""MIG, DCI and FactorVAE score on codes whose worth is known: the checks that the literature's definitions pass."""

import numpy as np
import pytest

from surgrl.disentanglement import dci, factor_vae, mig, principal

pytest.importorskip("sklearn")


def factors(n=3000, seed=0):
    """(n, 4), each one of five values, drawn apart."""
    return np.random.default_rng(seed).integers(0, 5, (n, 4)).astype(float)


def rotated(values):
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    return (values - values.mean(0)) @ turn


def test_a_code_that_is_the_factors_has_the_best_scores():
    truth = factors()
    found = dci(truth, truth)
    assert mig(truth, truth) > 0.99 and factor_vae(truth, truth) == 1.0
    assert min(found.disentanglement, found.completeness, found.informativeness) > 0.99
    assert np.allclose(found.importance, np.eye(4), atol=0.01)


def test_turned_factors_are_told_but_not_apart():
    truth = factors()
    found = dci(rotated(truth), truth)
    assert 0.02 < mig(rotated(truth), truth) < 0.45
    assert found.disentanglement < 0.6 and found.informativeness > 0.8
    evenly = (truth - truth.mean(0)) @ np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    assert factor_vae(rotated(truth), truth) < 0.99 and factor_vae(evenly, truth) < 0.6


def test_factors_told_twice_are_apart_but_not_complete():
    truth = factors()
    twice = np.concatenate([truth, truth], axis=1)
    found = dci(twice, truth)
    assert mig(twice, truth) == pytest.approx(0, abs=1e-9) and factor_vae(twice, truth) == 1.0
    assert found.disentanglement > 0.95 and 0.5 < found.completeness < 0.85


def test_noise_tells_nothing():
    truth, noise = factors(), np.random.default_rng(2).normal(size=(3000, 4))
    found = dci(noise, truth)
    assert mig(noise, truth) < 0.01 and factor_vae(noise, truth) < 0.4         # chance: 1/4
    assert found.disentanglement < 0.05 and found.completeness < 0.05 and 0.1 < found.informativeness < 0.3


def test_continuous_factors_are_scored_in_bins():
    truth = np.random.default_rng(3).uniform(-1, 1, (3000, 3))
    found = dci(truth, truth)
    assert mig(truth, truth) > 0.8 and factor_vae(truth, truth) == 1.0
    assert min(found.disentanglement, found.completeness, found.informativeness) > 0.95


def test_a_code_that_hardly_moves_wins_no_vote():
    truth = factors()
    assert factor_vae(np.column_stack([truth, 1e-9 * truth[:, 0]]), truth) == 1.0


def test_principal_axes_keep_what_there_is():
    codes = factors()[:, :2] @ np.random.default_rng(4).normal(size=(2, 6))
    kept = principal(codes, 5)
    assert kept.shape == (3000, 2) and kept.var(0).sum() == pytest.approx(codes.var(0).sum())


@pytest.mark.parametrize(("codes", "truth", "told"), [
    (np.zeros((50, 2)), np.zeros((50, 2)), "at least 100"), (np.zeros((200, 2)), np.zeros((200, 2)), "never changes"),
    (np.full((200, 2), np.nan), np.eye(200), "finite")])
def test_what_cannot_be_scored_is_refused(codes, truth, told):
    with pytest.raises(ValueError, match=told):
        mig(codes, truth)
