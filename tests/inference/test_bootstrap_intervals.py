"""Corrected intervals of replicates: their formula on tables that are given, their acceleration by its definition."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from equations import models, structures
from equations.test_engines import SUBJECTS
from scipy import stats

import remlblup as rb
from remlblup.datasets import load as dataset
from remlblup.equations.choice import make_equations
from remlblup.inference.resampling import acceleration
from remlblup.inference.resampling.corrected import corrected_ends, rounded, told

EACH_CASE = pytest.mark.parametrize("name", [n for n in SUBJECTS if not n.startswith("spectral")])
PLACES = np.random.default_rng(0).permutation(np.arange(1.0, 1000.0))  # a replicate is its place among 999


@cache
def fitted(data="dyestuff", formula="Yield ~ 1 + (1 | Batch)"):
    return rb.MixedModel(formula, dataset(data)).fit(progress=False)


# -- the formula ---------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.0, 0.12, -0.08])
@pytest.mark.parametrize(("estimate", "below"), [(500.5, 500), (400.5, 400), (620.0, (619, 620))])
def test_efrons_formula(a, estimate, below):
    """BCa ends of 90 % by their definition; places rounded outwards."""
    below = below if isinstance(below, tuple) else (below, below)
    wanted = []
    for count, z, outward in zip(below, stats.norm.ppf([0.05, 0.95]), (np.floor, np.ceil), strict=True):
        z0 = stats.norm.ppf(count / 999)
        wanted.append(outward(1000 * stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))))
    ends = corrected_ends(PLACES, estimate, a, 0.9, -np.inf, np.inf)
    assert [e.value for e in ends] == wanted and not any(e.needed for e in ends)


def test_without_bias_and_acceleration_they_are_percentiles():
    low, high = corrected_ends(PLACES, 500.0, 0.0, 0.9, -np.inf, np.inf)
    assert abs(low.value - 50) <= 1 and abs(high.value - 950) <= 1


@pytest.mark.parametrize("monotone", [np.log, np.sqrt, lambda x: x / (1.0 + x), np.cbrt])
def test_a_transformation_transforms_the_ends(monotone):
    x, estimate = np.random.default_rng(2).gamma(3.0, size=500), 2.5
    own = corrected_ends(x, estimate, 0.1, 0.95, 0.0, np.inf)
    other = corrected_ends(monotone(x), monotone(estimate), 0.1, 0.95, -np.inf, np.inf)
    assert [monotone(e.value) for e in own] == [e.value for e in other]


def test_replicates_on_the_bound_of_the_estimate():
    """60 % of them are zero, as the estimate: below it for the upper end, above it for the lower."""
    x = np.r_[np.zeros(600), np.arange(1.0, 401.0)]
    low, high = corrected_ends(x, 0.0, 0.0, 0.9, 0.0, np.inf)
    z0 = stats.norm.ppf(0.6)
    assert low.value == 0.0 == low.needed
    assert high.value == np.ceil(1001 * stats.norm.cdf(2 * z0 + stats.norm.ppf(0.95))) - 600


def test_ends_that_cannot_be_found_are_told():
    x = np.arange(1.0, 100.0)
    beyond = corrected_ends(x, 60.0, 0.1, 0.99, 0.0, np.inf)[1]
    z0 = stats.norm.ppf(60 / 99)
    u = z0 + stats.norm.ppf(0.995)
    assert beyond.value == 99.0 and beyond.needed == np.ceil(1.0 / stats.norm.sf(z0 + u / (1.0 - 0.1 * u)))
    none = corrected_ends(x, 75.0, 0.4, 0.99, 0.0, np.inf)
    assert none[1].value == np.inf and none[1].needed == np.inf  # 1 - a u is negative
    text = told(["g", "h"], [(none[0], beyond), none])
    assert "g (upper)" in text and f"n={rounded(beyond.needed):,}" in text and "No end can be found" in text
    missing = corrected_ends(np.full(5, np.nan), 1.0, 0.0, 0.9, 0.0, np.inf)
    assert np.isnan([e.value for e in missing]).all()
    assert rounded(1234.0) == 1300 and rounded(7.0) == 7


# -- the acceleration ----------------------------------------------------------------------------


def case(name: str):
    kind, _, of_kind = name.partition(": ")
    c = (structures if kind == "structure" else models).case(of_kind)
    return c.model.specification, c.oracle, (c.theta if kind == "structure" else c.points[0])


@EACH_CASE
def test_quadratic_forms_of_every_structure(name):
    """w'V̇_iw with V̇ by differences of the dense V."""
    spec, oracle, theta = case(name)
    W = np.random.default_rng(1).standard_normal((spec.n, 2))
    found = acceleration.quadratics(make_equations(spec), theta, W)
    for i, value in enumerate(theta):
        h = 1e-5 * max(abs(value), 1e-2) * np.eye(1, len(theta), i)[0]
        slope = (oracle.V(theta + h) - oracle.V(theta - h)) / (2.0 * h[i])
        wanted = np.einsum("nc,nm,mc->c", W, slope, W)
        np.testing.assert_allclose(found[:, i], wanted, rtol=1e-5, atol=1e-7 * np.sum(W**2) * np.max(np.abs(slope)))


def test_of_a_scaled_chi_square():
    """The residual mean square of a balanced layout is σ² χ²/ν: a is a sixth of the skewness √(8/ν), of the mean square
    of its groups (here the largest variance) nearly that of five."""
    a = fitted().bootstrap(2, seed=1, statistic=["residual", "Batch + residual / 5", "log(residual)"]).acceleration
    np.testing.assert_allclose(a, np.sqrt(8.0 / np.array([24.0, 5.0, 24.0])) / 6.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("data", "formula"),
    [
        ("sleepstudy", "Reaction ~ Days + (1 + Days | Subject)"),
        ("pastes", "strength ~ 1 + (1 | batch/cask)"),
        ("dyestuff2", "Yield ~ 1 + (1 | Batch)"),
    ],
)
def test_by_traces_and_by_draws(monkeypatch, data, formula):
    fit = fitted(data, formula)
    gradients = np.eye(len(fit.theta))
    exact = acceleration.accelerations(fit, gradients, 0)
    monkeypatch.setattr(acceleration, "RECORDS", 0)
    monkeypatch.setattr(acceleration, "DRAWS", 20_000)
    drawn = acceleration.accelerations(fit, gradients, 0)
    np.testing.assert_allclose(drawn, exact, atol=0.015)  # √(6/20,000)/6 is .003 for a score that is nearly normal
    assert np.abs(exact).max() > 0.1


# -- as they are asked for -----------------------------------------------------------------------


def test_kinds_of_a_bootstrap():
    fit = fitted()
    made = fit.bootstrap(1000, seed=3)
    corrected, biased, plain = (made.intervals(kind=k) for k in ("bca", "bc", "percentile"))
    np.testing.assert_allclose(plain["lower"], made.numbers.quantile(0.025))
    values = made.numbers["residual"].to_numpy()
    wanted = corrected_ends(values, fit.theta[1], np.sqrt(8 / 24) / 6, 0.95, 0.0, np.inf)
    assert list(corrected.loc["residual", ["lower", "upper"]]) == [e.value for e in wanted]
    assert corrected.loc["residual", "upper"] > biased.loc["residual", "upper"] > plain.loc["residual", "upper"]
    assert (corrected["lower"] >= made.lower).all() and (corrected["upper"] <= made.upper).all()
    assert "BCa" in str(made)
    with pytest.raises(rb.OptionError, match="kind='bcb'"):
        made.intervals(kind="bcb")


def test_functions_and_their_roots():
    fit = fitted()
    names = ["residual", "sqrt(residual)", "Batch / (Batch + residual)", "Batch / residual"]
    table = fit.intervals("bootstrap", functions=names, n=300, seed=1)
    ends = table[["lower", "upper"]].to_numpy()
    np.testing.assert_allclose(ends[3] ** 2, ends[2], rtol=1e-12)
    np.testing.assert_allclose(ends[1], ends[2], rtol=0.0)
    np.testing.assert_allclose(ends[4], ends[5] / (1.0 + ends[5]), rtol=1e-12)
    other = fit.intervals("bootstrap", n=300, seed=1, kind="percentile")
    np.testing.assert_allclose(other["upper"], fit.bootstrap(300, seed=1).intervals(kind="percentile")["upper"][:2])


def test_a_function_of_a_fit_is_corrected_for_bias_alone():
    made = fitted().bootstrap(40, seed=1, statistic=lambda f: {"s": f.theta[1]})
    assert np.isnan(made.acceleration["s"])
    np.testing.assert_array_equal(made.intervals()["upper"], made.intervals(kind="bc")["upper"])


def test_few_replicates_are_told():
    table = fitted().intervals("bootstrap", n=30, seed=1)
    assert "Beyond the replicates" in repr(table) and "Batch (upper)" in repr(table)
