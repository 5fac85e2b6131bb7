"""A field with a trend has no maximum at ρ → 1; the verdict says what to write, and that converges."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import remlblup as rb


def root(m: int, r: float) -> np.ndarray:
    return np.linalg.cholesky(r ** np.abs(np.subtract.outer(np.arange(m), np.arange(m))))


def sloping(seed: int, rows: int = 12, cols: int = 10, r: float = 0.6) -> pd.DataFrame:
    """A correlated field on a plane, with an independent error."""
    rng = np.random.default_rng(seed)
    row, col = (a.ravel() for a in np.indices((rows, cols)))
    surface = root(rows, r) @ rng.normal(size=(rows, cols)) @ root(cols, r).T
    y = 10 + 0.8 * row - 0.5 * col + surface.ravel() + rng.normal(0, 0.7, rows * cols)
    return pd.DataFrame({"y": y, "row": row + 1, "col": col + 1, "trial": "t"})


@pytest.mark.parametrize(("seed", "residual"), [(1, "ar1(row):ar1(col) + units"), (3, "ar1(row):ar1(col) + units")])
def test_the_advice_on_a_trend_converges(seed, residual):
    d = sloping(seed)
    fixed, said = "1", []
    fit = rb.MixedModel(f"y ~ {fixed}", d, residual=residual).fit(max_iterations=60)  # what it would end with at 200
    while not fit.converged and len(said) < 2:
        added = re.search(r"no maximum\. Add it to the fixed part, '\+ ([^']*)'", fit.convergence.reason)
        assert added is not None, fit.convergence.reason
        said.append(added[1])
        fixed += f" + {added[1]}"
        fit = rb.MixedModel(f"y ~ {fixed}", d, residual=residual).fit(max_iterations=60)
    assert fit.converged, str(fit.convergence)
    assert said[0] == "row + col"
    assert np.all(fit.theta[2:] < 0.9)


def plane(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    row, col = (a.ravel() for a in np.indices((10, 12)))
    return pd.DataFrame({"y": 10 + 0.8 * row - 0.5 * col + rng.normal(0, 0.5, 120), "row": row + 1, "col": col + 1})


def test_the_advice_goes_on_where_the_plane_is_there():
    """No correlation is left beside the plane: ρ → 1 again, and the twist of the plane is named."""
    fit = rb.MixedModel("y ~ row + col", plane(4), residual="ar1(row):ar1(col) + units").fit(max_iterations=60)
    assert not fit.converged
    assert "'+ row:col'" in fit.convergence.reason


def test_the_twist_of_the_plane_ends_it_and_so_does_a_higher_maximum(monkeypatch):
    """A search that crept towards ρ → 1 and stopped for want of a maximum, where one is to be had at ρ = −1."""
    monkeypatch.undo()  # several starts, as users have them
    model = rb.MixedModel("y ~ row + col", plane(0), residual="ar1(row):ar1(col) + units")
    fit = model.fit()
    assert fit.converged, str(fit.convergence)
    assert fit.loglik >= -86.03194
    assert rb.MixedModel("y ~ row + col + row:col", plane(0), residual="ar1(row):ar1(col) + units").fit().converged


def test_a_field_without_a_trend_is_not_told_of_one():
    d = sloping(2)
    fit = rb.MixedModel("y ~ row + col", d, residual="ar1(row):ar1(col) + units").fit(max_iterations=2)
    assert not fit.converged
    assert "trend" not in fit.convergence.reason
