"""Bands by draws from the fitted model: what is drawn, and how much lies within."""

from __future__ import annotations

import numpy as np
import pytest
from equations.test_engines import levels

import remlblup as rb
from remlblup.diagnostics.envelope import effect_draws, envelope, how_many, studentized_draws

from .fits import NAMES, fit_at

SOME = [n for n in NAMES if n.startswith(("model", "spectral", "sparse equations: R", "dense equations: us"))]


@pytest.mark.parametrize("name", SOME)
def test_draws_are_those_of_simulated_records_by_the_definitions(name):
    fit, oracle, theta = fit_at(name)
    P = oracle.projection(theta)[2]
    y = fit.simulate(3, seed=5).to_numpy()
    projected = P @ y
    scaled = projected * np.sqrt(oracle.quadratic(theta) / np.sum(y * projected, axis=0))
    expected = scaled / np.sqrt(np.diag(P))[:, None]
    np.testing.assert_allclose(studentized_draws(fit, 3, 5), expected, rtol=1e-6, atol=1e-8)
    for k, term in enumerate(oracle.terms):
        u = np.einsum("ij,jqm->iqm", oracle.sigma(k, theta), np.array([term.K @ (Z.T @ scaled) for Z in term.Z]))
        own = levels(fit.specification.random[k], term)
        for i in range(term.t):
            np.testing.assert_allclose(effect_draws(fit, k, i, 3, 5), u[i][own], rtol=1e-6, atol=1e-8)


def test_the_share_asked_for_lies_wholly_within():
    rng = np.random.default_rng(1)
    values = np.sort(rng.exponential(size=(40, 4000)), axis=0)
    band = envelope(values[:, :2000], 0.9)
    assert band.level == pytest.approx(0.9, abs=1e-3) and band.draws == 2000
    assert np.all(band.lower < band.upper)
    new = np.mean(np.all((values[:, 2000:] >= band.lower[:, None]) & (values[:, 2000:] <= band.upper[:, None]), axis=0))
    assert 0.87 < new < 0.93
    mean = values.mean(axis=1)
    assert band.upper[-1] - mean[-1] > 1.2 * (mean[-1] - band.lower[-1])  # follows the skewness


def test_rows_without_spread_say_nothing():
    values = np.vstack([np.zeros(200), np.sort(np.random.default_rng(0).normal(size=200))])
    band = envelope(values, 0.95)
    assert band.lower[0] == band.upper[0] == 0.0 and band.upper[1] > 1.5


def test_numbers_of_draws():
    assert how_many(None, 100) == 999 and how_many(None, 10**6) == 99 and how_many(25, 100) == 25
    for bad in (5, 1.5, "many"):
        with pytest.raises(rb.OptionError, match="draws="):
            how_many(bad, 100)
