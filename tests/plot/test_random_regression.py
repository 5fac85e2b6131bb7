"""Covariance functions: ΦΣΦ' written out, orthonormal eigenfunctions that give it back, the band by another route."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

import remlblup as rb

TERM = "us(leg(age, 2) | animal)"
LOW, HIGH = 2.0, 16.0


def phi(age):
    """Normalised Legendre polynomials 0, 1, 2 written out."""
    z = 2.0 * (np.asarray(age, float) - LOW) / (HIGH - LOW) - 1.0
    return np.column_stack([np.full(len(z), np.sqrt(0.5)), np.sqrt(1.5) * z, np.sqrt(2.5) * (1.5 * z**2 - 0.5)])


def quadrature(points=400):
    """Ages and weights of ∫ · dz over [−1, 1], pieced so that splines are integrated well too."""
    nodes, weights = np.polynomial.legendre.leggauss(6)
    edges = np.linspace(-1, 1, points + 1)
    half = 1.0 / points
    z = ((edges[:-1] + half)[:, None] + half * nodes).ravel()
    return LOW + (z + 1) / 2 * (HIGH - LOW), np.tile(half * weights, points)


def functions(table):
    """Eigenvalues, and eigenfunctions (values of the covariate, k)."""
    return table["eigenvalue"].to_numpy(), table.drop(columns=["eigenvalue", "share"]).to_numpy(float).T


def test_covariance_function_is_phi_sigma_phi(regression, curves):
    at = [2.0, 5.5, 9.0, 16.0]
    found = regression.covariance_function(TERM, at)
    np.testing.assert_allclose(found, phi(at) @ regression.covariance(TERM) @ phi(at).T, rtol=1e-10)
    assert found.index.tolist() == found.columns.tolist() == at and found.index.name == "age"
    every = regression.covariance_function("animal")
    assert every.index.tolist() == sorted(curves["age"].unique())


def test_eigenvalues_of_legendre_are_those_of_sigma(regression):
    table = regression.eigenfunctions(TERM)
    expected = np.linalg.eigvalsh(regression.covariance(TERM))[::-1]
    np.testing.assert_allclose(table["eigenvalue"], expected, rtol=1e-10)
    assert table["share"].sum() == pytest.approx(1.0) and table.index.tolist() == [1, 2, 3]


@pytest.mark.parametrize("effects", ["leg(age, 2)", "bs(age, df=4)", "1 + age", "rr(leg(age, 2) | animal, k=2)"])
def test_eigenfunctions_are_orthonormal_and_give_the_function_back(curves, effects):
    term = effects if effects.startswith("rr") else f"us({effects} | animal)"
    fit = rb.MixedModel(f"y ~ age + {term}", curves).fit(max_iterations=12)
    x, w = quadrature()
    values, psi = functions(fit.eigenfunctions(term, x))
    np.testing.assert_allclose((psi * w[:, None]).T @ psi, np.eye(len(values)), atol=1e-6)
    whole = fit.covariance_function(term, x).to_numpy()
    np.testing.assert_allclose((psi * values) @ psi.T, whole, atol=1e-8 * np.abs(whole).max())
    np.testing.assert_allclose(whole @ (w[:, None] * psi), psi * values, atol=1e-6 * np.abs(whole).max())
    assert (np.diff(values) <= 1e-9 * values[0]).all()
    assert (w @ psi > -1e-3).all()
    if term.startswith("rr"):
        assert values[2] == 0.0 < values[1]


def test_the_range_of_leg_may_be_wider_than_the_data(curves):
    fit = rb.MixedModel("y ~ age + us(leg(age, 1, lower=0, upper=20) | animal)", curves).fit()
    values = fit.eigenfunctions("animal")["eigenvalue"]
    np.testing.assert_allclose(values, np.linalg.eigvalsh(fit.covariance("animal"))[::-1], rtol=1e-9)


def test_a_random_slope_is_a_random_regression(sleep):
    found = sleep.covariance_function("Subject", [0, 9])
    s = sleep.covariance("Subject")
    assert found.loc[9, 9] == pytest.approx(s.iloc[0, 0] + 18 * s.iloc[0, 1] + 81 * s.iloc[1, 1])


def test_band_is_that_of_the_delta_method(regression):
    left, right = regression.plot_covariance_function(TERM)
    (line,) = left.lines
    x, y = line.get_data()
    assert (x[0], x[-1]) == (LOW, HIGH)
    (band,) = [c for c in left.collections if isinstance(c, PolyCollection)]
    corners = band.get_paths()[0].vertices
    k = len(x) - 1
    a = phi(x[[k]])[0]
    terms = [f"{a[i] * a[j]:.17g}*{TERM}[leg{i},leg{j}]" for i in range(3) for j in range(3)]
    estimate, error = regression.function(" + ".join(terms).replace("+ -", "- "))
    assert y[k] == pytest.approx(estimate, rel=1e-9)
    upper = corners[np.isclose(corners[:, 0], x[k]), 1].max()
    assert upper == pytest.approx(estimate + 1.959964 * error, rel=1e-6)
    lines = [one for one in right.lines if len(one.get_xdata()) == len(x)]
    np.testing.assert_allclose(lines[0].get_ydata(), functions(regression.eigenfunctions(TERM, x))[1][:, 0])
    assert "% of the variance" in lines[0].get_label()


def test_what_is_no_random_regression(factor_fit, curves):
    with pytest.raises(rb.ModelError, match=r"no random regression.*us\(leg\(age, 2\)"):
        factor_fit.covariance_function("fa(site | gen, k=2)")
    two = curves.assign(x=np.random.default_rng(0).normal(size=len(curves)))
    fit = rb.MixedModel("y ~ age + us(1 + age + x | animal)", two).fit(max_iterations=3)
    with pytest.raises(rb.ModelError, match=r"depend on \['age', 'x'\]"):
        fit.eigenfunctions("animal")


def test_values_that_are_none(regression):
    with pytest.raises(rb.OptionError, match="at= takes"):
        regression.covariance_function(TERM, ["a"])
    with pytest.raises(rb.OptionError, match="finite"):
        regression.covariance_function(TERM, [])


def test_results_are_frames_with_a_column_per_value(regression):
    table = regression.eigenfunctions(TERM, [2, 9])
    assert isinstance(table, pd.DataFrame) and list(table.columns) == ["eigenvalue", "share", 2.0, 9.0]
