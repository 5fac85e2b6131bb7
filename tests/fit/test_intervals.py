"""Intervals of the components on scales without bounds, and which number is the residual variance."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import remlblup as rb

Z = stats.norm.ppf(0.975)


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    """40 subjects, 4 times, two traits, two sites."""
    rng = np.random.default_rng(11)
    subject, t = np.repeat(np.arange(40), 4), np.tile(np.arange(4), 40)
    root = np.linalg.cholesky(0.6 ** np.abs(np.subtract.outer(range(4), range(4))))
    e = (rng.normal(size=(40, 4)) @ root.T).ravel()
    d = pd.DataFrame({"s": subject, "t": t, "site": np.where(subject % 2, "a", "b"), "row": subject, "col": t})
    d["x"] = rng.uniform(1, 3, 160)
    d["y"] = 2.0 + rng.normal(0, 0.7, 40)[subject] + 1.5 * e
    d["z"] = d["y"] + rng.normal(size=160)
    return d


def rows(fit: rb.Fit, **options) -> pd.DataFrame:
    table = fit.intervals(**options)
    return table.set_index(table["term"] + ": " + table["parameter"])


def logit_interval(value: float, error: float, a: float, b: float) -> list[float]:
    """By the delta method on log((θ − a)/(b − θ)), whose slope is taken by differences."""
    g = lambda x: np.log((x - a) / (b - x))  # noqa: E731
    slope = (g(value + 1e-6) - g(value - 1e-6)) / 2e-6
    ends = g(value) + np.array([-1, 1]) * Z * slope * error
    return ((a + b * np.exp(ends)) / (1 + np.exp(ends))).tolist()


def test_variances_by_their_logarithm_and_correlations_by_fishers_z(panel):
    fit = rb.MixedModel("y ~ x", panel, residual="ar1(t | s)").fit()
    table = rows(fit)
    v, r = table.loc["residual: variance"], table.loc["residual: correlation"]
    np.testing.assert_allclose(
        np.log([v["lower"], v["upper"]]), np.log(v["estimate"]) + np.array([-1, 1]) * Z * v["std_error"] / v["estimate"]
    )
    fisher = np.tanh(np.arctanh(r["estimate"]) + np.array([-1, 1]) * Z * r["std_error"] / (1 - r["estimate"] ** 2))
    np.testing.assert_allclose([r["lower"], r["upper"]], fisher, rtol=1e-10)
    assert table["scale"].tolist() == ["log", "logit"]


def test_covariances_as_they_are_and_bounds_of_a_structure(panel):
    fit = rb.MixedModel("y ~ 1 + (1 + x | s)", panel).fit()
    table = rows(fit)
    c = table.loc["1 + x | s: cov(Intercept, x)"]
    assert c["scale"] == "plain" and c["upper"] - c["estimate"] == pytest.approx(Z * c["std_error"])
    cs = rows(rb.MixedModel("y ~ x", panel, residual="cs(t | s)").fit()).loc["residual: correlation"]
    np.testing.assert_allclose(
        [cs["lower"], cs["upper"]], logit_interval(cs["estimate"], cs["std_error"], -1 / 3, 1.0), rtol=1e-7
    )


@pytest.mark.parametrize("method", ["log", "wald"])
@pytest.mark.parametrize(
    "residual",
    [
        "units",
        "ar1(t | s)",
        "us(t | s)",
        "toep(t | s)",
        "diag(site | units)",
        "ar1(row):ar1(col)",
        "exp(t | s)",
        "csh(t | s)",
        "fa(t | s, k=1)",
    ],
)
@pytest.mark.parametrize("level", [0.5, 0.999])
def test_never_beyond_a_bound(panel, residual, method, level):
    d = panel.head(40) if residual != "us(t | s)" else panel  # few records: wide intervals
    fit = rb.MixedModel(
        "y ~ 1" + (" + (1 | s)" if residual in ("units", "diag(site | units)") else ""), d, residual=residual
    ).fit()
    table = fit.intervals(method=method, level=level)
    lower, upper = (fit.specification.parameters.lower, fit.specification.parameters.upper)
    known = table["lower"].notna()
    assert known.any() and (known == table["std_error"].notna()).all()
    assert (table["lower"] >= lower)[known].all() and (table["upper"] <= upper)[known].all()
    inside = known & table["status"].eq("free")
    assert (table["lower"] <= table["estimate"])[inside].all() and (table["estimate"] <= table["upper"])[inside].all()
    if method == "log":
        variances = inside & np.isfinite(lower) & np.isinf(upper)
        assert (table["lower"] > 0)[variances].all()


def test_statsmodels_intervals_are_the_same(panel):
    fit = rb.MixedModel("y ~ x + (1 | s)", panel.head(24)).fit()
    table = fit.conf_int(alpha=0.1)
    np.testing.assert_allclose(table.iloc[2:], fit.intervals(level=0.9)[["lower", "upper"]], rtol=1e-12)
    half = stats.t.ppf(0.95, fit.fixed_effects["df"]) * fit.fixed_effects["std_error"]
    np.testing.assert_allclose(table[1].iloc[:2] - fit.beta, half, rtol=1e-12)
    assert (table[0].iloc[2:].dropna() > 0).all()


def test_functions_on_the_scale_they_live_on(panel):
    d = panel.assign(y=panel["y"] + np.random.default_rng(2).normal(size=40)[panel["s"]] * panel["x"])
    fit = rb.MixedModel("y ~ x + (1 + x | s)", d).fit()
    share = "s[x] / (s[x] + residual)"
    ratio, sum_, difference = "residual / s[x]", "sqrt(s[x] + 2 * residual)", "residual - s[x]"
    signed = "s[Intercept, x] / sqrt(s[Intercept] * s[x])"
    table = fit.intervals(functions=[share, ratio, sum_, difference, signed]).set_index("parameter")
    assert table.loc[[share, ratio, sum_, difference, signed], "scale"].tolist() == [
        "logit",
        "log",
        "log",
        "plain",
        "plain",
    ]
    estimate, error = fit.function(share)
    np.testing.assert_allclose(
        table.loc[share, ["lower", "upper"]].tolist(), logit_interval(estimate, error, 0.0, 1.0), rtol=1e-6
    )
    assert table.loc[ratio, "lower"] > 0
    np.testing.assert_allclose(table.loc[ratio, "upper"] * table.loc[ratio, "lower"], float(fit.function(ratio)) ** 2)
    assert set(table.loc[[share, ratio], "term"]) == {"function"}


def test_no_interval_on_a_boundary_and_plain_ones_without_constraints():
    d = pd.DataFrame({"g": np.repeat(np.arange(10), 4), "y": np.random.default_rng(1).normal(size=40)})
    d["y"] -= 0.9 * d.groupby("g")["y"].transform("mean")
    bound = rb.MixedModel("y ~ 1 + (1 | g)", d).fit().intervals().set_index("term")
    assert bound.loc["g", "status"] == "boundary" and bound.loc["g", ["lower", "upper"]].isna().all()
    free = rb.MixedModel("y ~ 1 + (1 | g)", d).fit(constrain=False)
    table = free.intervals().set_index("term")
    assert table.loc["g", "estimate"] < 0 and table.loc["g", "scale"] == "plain"
    assert table.loc["g", "lower"] == pytest.approx(table.loc["g", "estimate"] - Z * table.loc["g", "std_error"])


@pytest.mark.parametrize(
    "options, text",
    [
        ({"method": "exact"}, "'exact'"),
        ({"level": 95}, "level=95"),
        ({"level": True}, "level=True"),
    ],
)
def test_wrong_options_are_named(panel, options, text):
    fit = rb.MixedModel("y ~ x + (1 | s)", panel).fit()
    with pytest.raises(rb.OptionError, match=text):
        fit.intervals(**options)


SINGLE = ["units", "ar1(t | s)", "cs(t | s)", "toep(t | s)", "exp(t | s)", "ar1(row):ar1(col)", "corg(t | s)"]


@pytest.mark.parametrize("residual", SINGLE)
def test_the_scale_is_the_residual_variance(panel, residual):
    fit = rb.MixedModel("y ~ x" + (" + (1 | s)" if residual == "units" else ""), panel, residual=residual).fit()
    one = np.zeros((fit.specification.residual.size, 1))
    one[7] = 1.0
    phi = fit.theta[fit.specification.parameters.of_residual]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit.scale == pytest.approx(fit.specification.residual.multiply(phi, one)[7, 0], rel=1e-12)
    components = fit.variance_components.set_index(["term", "parameter"])["estimate"]
    assert fit.scale == pytest.approx(components["residual", "variance"], rel=1e-12)


def test_the_scale_of_weighted_records_is_that_of_weight_one(panel):
    fit = rb.MixedModel("y ~ t + (1 | s)", panel, weights="x").fit()
    assert fit.scale == fit.theta[-1]


@pytest.mark.parametrize(
    "residual",
    ["us(t | s)", "diag(site | units)", "csh(t | s)", "ar1h(t | s)", "power(x)", "ar1(t | s) | site", "fa(t | s, k=1)"],
)
def test_no_scale_where_r_has_no_single_variance(panel, residual):
    fit = rb.MixedModel("y ~ x", panel, residual=residual).fit()
    with pytest.warns(rb.EstimabilityWarning, match="no single variance"):
        assert np.isnan(fit.scale)


def test_the_first_random_term_of_the_user(panel):
    fit = rb.MixedModel("y ~ x + (1 | s)", panel, residual="ar1(row):ar1(col) + units")
    solved = fit.fit(max_iterations=30)
    pd.testing.assert_frame_equal(solved.cov_re, solved.covariance("s"))
    alone = rb.MixedModel("y ~ x", panel, residual="ar1(t | s)").fit()
    assert alone.cov_re.shape == (0, 0)
