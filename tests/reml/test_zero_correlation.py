"""Correlations r^distance that the data put at zero: ℓ has a slope there in r to the smallest distance,
in no other power."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

#: Positions of the four records of a subject: all gaps above one, one of them, below, of a half, uneven.
GAPS = {
    "days": (3.0, 50.0, 7.0),
    "weeks": (1.0, 2.0, 4.0),
    "halves": (0.5, 1.5, 0.5),
    "thousands": (2000.0, 900.0, 5000.0),
}
DRAWS = (0, 3, 5, 6)


def data(seed: int, gaps: tuple[float, ...]) -> pd.DataFrame:
    """Eight subjects of four records without correlation."""
    rng = np.random.default_rng(seed)
    t = np.concatenate([[0.0], np.cumsum(gaps)])
    y = rng.normal(size=(8, 4))
    y = y - 0.3 * y.mean(axis=1, keepdims=True)  # rather below zero than above
    return pd.DataFrame({"y": y.ravel(), "t": np.tile(t, 8), "g": np.repeat([f"s{k}" for k in range(8)], 4)})


def highest(d: pd.DataFrame) -> float:
    """max ℓ_R of V = σ² r^distance within subjects, over a grid of r and r = 0."""
    y, X = d["y"].to_numpy(), np.ones((len(d), 1))
    distance = np.abs(np.subtract.outer(d["t"].to_numpy(), d["t"].to_numpy()))
    together = np.equal.outer(d["g"].to_numpy(), d["g"].to_numpy())
    n = len(y) - 1

    def profile(rate: float) -> float:
        V = np.where(together, np.exp(-np.where(distance > 0.0, distance * rate, 0.0)), 0.0)
        inverse = np.linalg.inv(V)
        a = X.T @ inverse @ X
        P = inverse - inverse @ X @ np.linalg.solve(a, X.T @ inverse)
        logs = np.linalg.slogdet(V)[1] + np.linalg.slogdet(a)[1]
        return -0.5 * (n * (np.log(2 * np.pi) + np.log(y @ P @ y / n) + 1.0) + logs)

    usual = np.median(np.diff(np.unique(d["t"])))
    return max(profile(rate) for rate in (*(np.geomspace(1e-2, 1e2, 200) / usual), 1e9))


@pytest.mark.parametrize("entry", ["residual", "random", "beside"])
@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("seed", DRAWS)
def test_a_correlation_of_zero_is_a_boundary(seed, gaps, entry):
    d = data(seed, GAPS[gaps])
    formula, residual = {
        "residual": ("y ~ 1", "exp(t | g)"),
        "beside": ("y ~ 1 + (1 | g)", "exp(t | g)"),
        "random": ("y ~ 1 + exp(t | g)", "units"),
    }[entry]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fit = rb.MixedModel(formula, d, residual=residual).fit()
        text = str(fit.summary())
    best = highest(d)
    if entry == "random":  # the error beside the term lets ℓ rise further, and the two variances can be one
        assert fit.loglik > best - 1e-6
        return
    assert fit.converged, text
    assert fit.loglik > best - 1e-6
    if entry == "residual":
        assert fit.loglik < best + 1e-2  # the grid of `highest`
