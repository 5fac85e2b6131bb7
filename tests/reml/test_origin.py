"""Slopes on a covariate whose origin is far from the records, such as years: the fit of the centred covariate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

SHIFT = np.array([[1.0, 2005.0], [0.0, 1.0]])


def years(spread: float, subjects: int = 100) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    x = np.linspace(-15.0, 15.0, 30)
    b = spread * rng.normal(size=(subjects, 2))
    y = 1.0 + b[:, :1] + (0.2 + b[:, 1:]) * x + rng.normal(size=(subjects, 30))
    s = np.repeat(np.arange(subjects), 30)
    return pd.DataFrame({"s": s, "year": 2005.0 + np.tile(x, subjects), "x": np.tile(x, subjects), "y": y.ravel()})


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_slopes_on_years_are_those_on_centred_years(spread, method):
    """Σ of the slopes was 3 % off, ℓ by .03 and more, of a smaller spread with every criterion met."""
    data = years(spread)
    far = rb.MixedModel("y ~ year + (1 + year | s)", data).fit(method=method)
    near = rb.MixedModel("y ~ x + (1 + x | s)", data).fit(method=method)
    assert far.converged
    assert near.converged
    assert far.convergence.iterations <= near.convergence.iterations + 1
    found = SHIFT @ far.covariance("1 + year | s").to_numpy() @ SHIFT.T
    expected = near.covariance("1 + x | s").to_numpy()
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found / size, expected / size, atol=1e-7)
    assert far.variances["residual"] == pytest.approx(near.variances["residual"], rel=1e-8)
    assert far.loglik == pytest.approx(near.loglik, abs=1e-5)
    assert list(far.history.columns) == [c.replace(" x", " year").replace("x)", "year)") for c in near.history.columns]
    np.testing.assert_allclose(far.history.iloc[-1].to_numpy()[-4:].astype(float), far.theta, rtol=1e-14)
    slopes = [fit.random_effects.query(f"effect == '{name}'") for fit, name in ((far, "year"), (near, "x"))]
    np.testing.assert_allclose(slopes[0]["estimate"], slopes[1]["estimate"], atol=1e-6 * spread)


def test_given_starts_and_a_singular_covariance_matrix():
    """A slope that is a multiple of the intercept at the centre: Σ is singular there and at the origin."""
    data = years(0.0)
    rng = np.random.default_rng(2)
    data["y"] += rng.normal(size=100)[data["s"]] * (1.0 + 0.1 * data["x"])
    near = rb.MixedModel("y ~ x + (1 + x | s)", data).fit()
    sigma = np.linalg.inv(SHIFT) @ np.array([[1.0, 0.0], [0.0, 0.1]]) @ np.linalg.inv(SHIFT).T
    far = rb.MixedModel("y ~ year + (1 + year | s)", data).fit(start={"1 + year | s": sigma})
    assert far.converged == near.converged
    assert far.loglik == pytest.approx(near.loglik, abs=1e-5)
    assert far.status[:3] == near.status[:3]


def test_what_is_held_is_searched_as_it_is_given():
    data = years(0.1, 40)
    near = rb.MixedModel("y ~ x + (1 + x | s)", data).fit()
    sigma = np.linalg.inv(SHIFT) @ near.covariance("1 + x | s").to_numpy() @ np.linalg.inv(SHIFT).T
    far = rb.MixedModel("y ~ year + (1 + year | s)", data).fit(fix={"1 + year | s": sigma})
    np.testing.assert_allclose(far.covariance("1 + year | s"), sigma, rtol=1e-14)
    assert far.variances["residual"] == pytest.approx(near.variances["residual"], rel=1e-6)
