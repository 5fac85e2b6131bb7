"""Degrees of freedom beside components that are flat, on their boundary or held: those of the model without them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from oracle import Oracle, Term, differences, dummies

import remlblup as rb

pytestmark = pytest.mark.filterwarnings("ignore::remlblup.errors.ConvergenceWarning")


def families(scale: float = 1.0, effect: float = 1.5) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(16), 5)
    d = pd.DataFrame({"g": g, "h": 100 - g, "x": rng.normal(size=80), "z": rng.normal(size=16)[g]})
    y = rng.normal(0, 1.0, 16)[g] * effect + d["x"] + rng.normal(size=80)
    return d.assign(y=scale * y)


def df_of(formula: str, d: pd.DataFrame, **options) -> pd.Series:
    residual, engine = options.pop("residual", "units"), options.pop("engine", "auto")
    return (
        rb.MixedModel(formula, d, options.pop("relationships", None), residual, engine=engine)
        .fit(**options)
        .fixed_effects["df"]
    )


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_two_terms_that_cannot_be_told_apart(engine, scale):
    d = families(scale)
    one = df_of("y ~ x + z + (1 | g)", d, engine=engine)
    assert one["z"] < 20 < one["x"]  # n − p is 77
    two = df_of("y ~ x + z + (1 | g) + (1 | h)", d, engine=engine)
    np.testing.assert_allclose(two, one, rtol=1e-6)
    three = df_of("y ~ x + z + (1 | g) + (1 | h) + (1 | g:h)", d, engine=engine)
    np.testing.assert_allclose(three, one, rtol=1e-6)


def test_against_the_definition():
    d = families()
    fit = rb.MixedModel("y ~ x + z + (1 | g) + (1 | h)", d).fit()
    X = np.column_stack([np.ones(80), d["x"], d["z"]])
    oracle = Oracle(d["y"].to_numpy(), X, [Term([dummies(d["g"])], np.eye(16))])
    theta = np.array([fit.theta[0] + fit.theta[1], fit.theta[2]])
    slope = differences(lambda t: np.diag(oracle.beta_covariance(t)), theta)
    spread = np.einsum("ji,ik,jk->j", slope, np.linalg.inv(oracle.average_information(theta)), slope)
    expected = 2 * np.diag(oracle.beta_covariance(theta)) ** 2 / spread
    np.testing.assert_allclose(fit.fixed_effects["df"], expected, rtol=1e-6)
    assert fit.df_method == "Satterthwaite"


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_a_term_inside_the_fixed_effects(scale):
    """Within groups nothing depends on their variance; of group means nobody knows the error."""
    d = families(scale)
    fit = rb.MixedModel("y ~ x + C(g) + (1 | g)", d).fit()
    table = fit.fixed_effects
    assert table.loc["x", "df"] == pytest.approx(63.0, rel=1e-9)
    others = table.drop("x")
    assert others[["df", "p_value", "lower", "upper"]].isna().all(axis=None)
    assert "df are missing where" in repr(table) and "df are missing where" in str(fit.summary())
    without = rb.MixedModel("y ~ x + C(g)", d).fit()
    assert "missing" not in str(without.summary())
    np.testing.assert_allclose(table.loc["x"], without.fixed_effects.loc["x"], rtol=1e-7)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_covariance_of_traits_that_no_sire_has_both_of(scale):
    rng = np.random.default_rng(3)
    n, sire = 120, np.repeat(np.arange(20), 6)
    d = pd.DataFrame({"sire": sire, "x": rng.normal(size=n)})
    y = rng.normal(size=20)[sire] * 1.2 + rng.normal(size=n)
    d["a"], d["b"] = np.where(sire < 8, scale * y, np.nan), np.where(sire < 8, np.nan, y)
    formula = "c(a, b) ~ 0 + trait + trait:x + {}(trait | sire)"
    plain, flat = (df_of(formula.format(s), d, residual="diag(trait | units)") for s in ("diag", "us"))
    np.testing.assert_allclose(flat, plain, rtol=1e-5)
    assert plain.min() < 12 and plain.max() > 50


def test_variances_on_the_boundary_are_as_if_they_were_not_there():
    d = families(effect=0.0)
    d["y"] -= 0.9 * (d.groupby("g")["y"].transform("mean") - d["y"].mean())
    fit = rb.MixedModel("y ~ x + z + (1 | g)", d).fit()
    assert fit.status == ("boundary", "free")
    np.testing.assert_allclose(fit.fixed_effects["df"], df_of("y ~ x + z", d), rtol=1e-9)
    assert fit.fixed_effects["df"].iloc[0] == pytest.approx(77.0)
    crossed = d.assign(k=np.tile(np.arange(5), 16))
    crossed["y"] += 2.0 * np.random.default_rng(1).normal(size=5)[crossed["k"]]
    with_zero = rb.MixedModel("y ~ x + z + (1 | g) + (1 | k)", crossed).fit()
    assert with_zero.status == ("boundary", "free", "free")
    np.testing.assert_allclose(with_zero.fixed_effects["df"], df_of("y ~ x + z + (1 | k)", crossed), rtol=1e-6)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_slopes_in_any_units(size):
    """A random slope confounded with another, its covariate in units of its own."""
    d = families()
    d["t"] = size * np.tile(np.arange(5.0), 16)
    d["y"] += np.random.default_rng(5).normal(size=16)[d["g"]] * d["t"] / size
    one = df_of("y ~ x + t + (1 | g) + (0 + t | g)", d)
    two = df_of("y ~ x + t + (1 | g) + (0 + t | g) + (0 + t | h)", d)
    np.testing.assert_allclose(two, one, rtol=1e-6)
    assert one["t"] < 20


def test_beside_a_residual_of_zero():
    """v is σ²a times a known number: df = 2 (σ²a / s.e.)², the records less one."""
    K = np.kron(np.eye(2), [[1, 0.5], [0.5, 1]])
    d = pd.DataFrame({"id": list("abcd"), "y": [1, 1.2, 3, 3.3]})
    fit = rb.MixedModel("y ~ 1 + (1 | vm(id, A))", d, {"A": (K, list("abcd"))}).fit()
    assert fit.status == ("free", "boundary") and fit.scale == 0.0
    assert fit.fixed_effects["df"].iloc[0] == pytest.approx(3.0, rel=1e-8)
