"""Profiles against lme4's, against ℓ maximised on dense matrices by another method, and through boundaries."""

from __future__ import annotations

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from oracle import Oracle, Term, dummies
from scipy import stats
from scipy.optimize import brentq, minimize

import remlblup as rb
from remlblup.datasets import load as dataset
from remlblup.errors import OptionError
from remlblup.inference.components.constrained import Constrained
from remlblup.inference.quantities import expression_function, parameter_function

SLOPES = "Reaction ~ Days + (1 + Days | Subject)"
TERM = "`1 + Days | Subject`"
CORRELATION = f"{TERM}[Intercept, Days] / sqrt({TERM}[Intercept] * {TERM}[Days])"


@cache
def fitted(name: str, formula: str, method: str = "ML"):
    return rb.MixedModel(formula, dataset(name)).fit(method)


def roots(table) -> np.ndarray:
    return np.sqrt(table[["lower", "upper"]].to_numpy(float))


def test_sleepstudy_as_lme4():
    """lme4 1.1.31, confint(method="profile"), standard deviations; it interpolates, to about 5 digits."""
    found = fitted("sleepstudy", SLOPES).intervals("profile", functions=[CORRELATION]).set_index("parameter")
    np.testing.assert_allclose(
        roots(found.loc[["var(Intercept)", "var(Days)", "variance"]]),
        [[14.38148, 37.71602], [3.801165, 8.753367], [22.89827, 28.85800]],
        rtol=3e-5,
    )
    np.testing.assert_allclose(found.loc[CORRELATION, ["lower", "upper"]].astype(float), [-0.48150, 0.68499], atol=1e-4)
    assert set(found["scale"]) == {"profile"}


def test_pastes_as_lme4_with_an_end_at_zero():
    fit = fitted("pastes", "strength ~ 1 + (1 | batch/cask)")
    table = fit.profile(points=3).intervals()
    np.testing.assert_allclose(roots(table), [[0.0, 2.94659], [2.15793, 4.05359], [0.652023, 1.085448]], rtol=1e-4)
    assert list(table["lower_at_bound"]) == [True, False, False] and not table["upper_at_bound"].any()


def one_way():
    """ℓ of the balanced one-way layout in closed form: mean squares with n_i = 5, 6 batches, 30 records."""
    d = dataset("dyestuff")
    means = d.groupby("Batch")["Yield"].mean()
    between, within = (
        5 * np.sum((means - means.mean()) ** 2),
        np.sum((d["Yield"] - means.loc[d["Batch"]].to_numpy()) ** 2),
    )

    def loglik(b, e):
        return -0.5 * (
            30 * np.log(2 * np.pi) + 24 * np.log(e) + 6 * np.log(e + 5 * b) + within / e + between / (e + 5 * b)
        )

    return loglik, between, within


def test_dyestuff_by_its_closed_form():
    fit, (loglik, between, within) = fitted("dyestuff", "Yield ~ 1 + (1 | Batch)"), one_way()
    z2 = stats.chi2.ppf(0.95, 1)

    def of_batch(b):  # ℓ at its best over σ²_e, by bisection of its slope
        def slope(e):
            return -24 / e - 6 / (e + 5 * b) + within / e**2 + between / (e + 5 * b) ** 2

        return loglik(b, brentq(slope, 1e2, 1e5))

    top = loglik(*fit.theta)
    assert top == pytest.approx(fit.loglik, rel=1e-12)
    found = fit.intervals("profile").iloc[0]
    ends = [brentq(lambda b: 2 * (top - of_batch(b)) - z2, low, high) for low, high in ((1.0, 1388.0), (1389.0, 1e5))]
    np.testing.assert_allclose([found["lower"], found["upper"]], ends, rtol=1e-5)
    # As lme4 prints them; its lower end is interpolated: 12.1985 where the closed form has 12.1964.
    np.testing.assert_allclose(roots(fit.intervals("profile")), [[12.1985, 84.0630], [38.2300, 67.6577]], rtol=2e-4)


def dense_maximum(oracle, theta, start, ml):
    """max ℓ over what is left free of θ, by Nelder–Mead."""

    def loss(x):
        t = theta(x)  # Σ must be a covariance matrix; V could be one without
        return -oracle.loglik(t, ml) if t[1] ** 2 <= t[0] * t[2] else np.inf

    x = np.array(start, float)
    for _ in range(2):
        options = {"maxiter": 2000, "xatol": 1e-9, "fatol": 1e-11}
        x = minimize(loss, x, method="Nelder-Mead", options=options).x
    return oracle.loglik(theta(x), ml)


def of(a, r, b, e):
    """θ of two standard deviations and their correlation, and σ_e."""
    return np.array([a * a, r * a * b, b * b, e * e])


@pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])
def test_the_constrained_maximum_is_that_of_a_dense_search(ml):
    """Correlation, ratio and variance of a random regression, to 1e-6 in ℓ."""
    d = dataset("sleepstudy")
    d = d[d["Days"].isin([0, 3, 6, 9]) & d["Subject"].isin(sorted(set(d["Subject"]))[:9])]
    fit = rb.MixedModel(SLOPES, d).fit("ML" if ml else "REML")
    Z = dummies(d["Subject"].astype("category").cat.codes.to_numpy())
    X = np.column_stack([np.ones(len(d)), d["Days"]])
    oracle = Oracle(d["Reaction"].to_numpy(float), X, [Term([Z, Z * X[:, [1]]], np.eye(Z.shape[1]), "us")])
    ratio = f"{TERM}[Days] * 20 / residual"
    cases = (  # what is left free are standard deviations and a correlation
        (expression_function(fit, CORRELATION), 0.6, lambda x: of(x[0], 0.6, x[1], x[2]), [20.0, 5.0, 25.0]),
        (
            expression_function(fit, ratio),
            0.4,
            lambda x: of(x[0], x[1], x[2] * np.sqrt(0.4 / 20), x[2]),
            [20.0, 0.1, 25.0],
        ),
        (parameter_function("v", 0, 4), 300.0, lambda x: of(np.sqrt(300.0), x[0], x[1], x[2]), [0.1, 5.0, 25.0]),
    )
    along = Constrained(fit)
    for function, value, theta_of, start in cases:
        loglik, theta = along.maximum(function, value, fit.theta)
        assert function.at(theta)[0] == pytest.approx(value, rel=1e-6)
        assert loglik == pytest.approx(oracle.loglik(theta, ml), abs=1e-9)
        assert loglik == pytest.approx(dense_maximum(oracle, theta_of, start, ml), abs=1e-6)


def test_heritability_through_its_bounds():
    """h² of a pedigree: ζ by a grid of solved models, and 0 as the lower end where the data say little."""
    flock = rb.simulate_flock(150, seed=5)
    model = rb.MixedModel("y ~ sex + (1 | vm(id, A))", flock.data, {"A": flock.pedigree})
    fit = model.fit()
    h2 = "vm(id, A) / (vm(id, A) + residual)"
    profile = fit.profile(h2, points=3)
    for row in profile.table.itertuples():
        h = row.value

        def loss(s, h=h):
            return -model.loglik({"vm(id, A)": max(h, 1e-12) * np.exp(s), "residual": (1 - h) * np.exp(s)})

        best = minimize(
            lambda s: loss(s[0]),
            [np.log(fit.theta.sum())],
            method="Nelder-Mead",
            options={"xatol": 1e-8, "fatol": 1e-10},
        )
        assert row.loglik == pytest.approx(-best.fun, abs=1e-6)
        assert row.zeta == pytest.approx(
            np.sign(h - profile.intervals().loc[h2, "estimate"]) * np.sqrt(2 * max(fit.loglik + best.fun, 0)), abs=1e-3
        )
    low, high = profile.intervals()[["lower", "upper"]].iloc[0]
    assert 0.0 <= low < fit.function(h2).estimate < high <= 1.0


def test_an_estimate_on_its_bound():
    fit = fitted("dyestuff2", "Yield ~ 1 + (1 | Batch)")
    table = fit.intervals("profile")
    assert table["lower"][0] == 0.0 == fit.theta[0] and table["upper"][0] > 0.0
    profile = fit.profile("Batch", points=3)
    assert profile.intervals().loc["Batch", "lower_at_bound"]
    assert (profile.table["zeta"] >= 0.0).all()
    assert list(profile.table["value"]) == sorted(profile.table["value"])


def test_a_ratio_without_an_end():
    """Of two variances, the second not significant: ζ levels off where that is zero, at the root of its likelihood
    ratio."""
    rng = np.random.default_rng(5)
    d = pd.DataFrame({"g": rng.integers(0, 10, 60), "B": rng.choice(list("xy"), 60)})
    d["y"] = 1.5 * rng.normal(size=10)[d["g"]] * (d["B"] == "x") + rng.normal(size=60)
    model = rb.MixedModel("y ~ 1 + diag(B | g)", d)
    fit = model.fit(progress=False)
    assert fit.theta[1] > 0.0
    found = fit.intervals("profile", functions=["diag(B | g)[x] / diag(B | g)[y]"]).iloc[-1]
    assert found["upper"] == np.inf and 0.0 < found["lower"] < fit.theta[0] / fit.theta[1]
    none = model.fit(fix={"diag(B | g)": np.diag([fit.theta[0], 0.0])}, progress=False)
    assert 2.0 * (fit.loglik - none.loglik) < 3.84


def test_all_parameters_held():
    held = rb.MixedModel("Yield ~ 1 + (1 | Batch)", dataset("dyestuff")).fit(
        fix={"Batch": 1764.0, "residual": 2451.0}, progress=False
    )
    for method in ("log", "profile", "bootstrap"):
        table = held.intervals(method, n=20)
        assert table[["lower", "upper"]].isna().all(axis=None) and set(table["status"]) == {"fixed"}
    np.testing.assert_array_equal(held.bootstrap(20, seed=1, progress=False).intervals().loc["Batch", "upper"], 1764.0)


def without_residual():
    """A fit of 60 records whose residual variance is zero, R with it."""
    K = np.kron(np.eye(12), 0.5 + 0.5 * np.eye(5))
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"y": np.linalg.cholesky(K) @ rng.normal(size=60), "x": rng.normal(size=60), "id": np.arange(60)})
    return rb.MixedModel("y ~ x + (1 | vm(id, K))", d, {"K": rb.Relationship(K, np.arange(60))})


def test_where_r_is_singular():
    """By fits with the value held: where the residual variance is not zero, of Henderson's equations."""
    model = without_residual()
    fit = model.fit(progress=False)
    assert fit.theta[1] == 0.0 and fit.converged
    found = fit.intervals("profile")
    assert found["lower"][0] > 0.0 == found["lower"][1]
    z2 = stats.chi2.ppf(0.95, 1)
    ends = [("residual", found["upper"][1]), ("vm(id, K)", found["lower"][0]), ("vm(id, K)", found["upper"][0])]
    for name, end in ends:
        held = model.fit(fix={name: end}, progress=False)
        assert 2 * (fit.loglik - held.loglik) == pytest.approx(z2, abs=2e-4)
    surface = fit.surface("vm(id, K)", "residual", points=3, others="held")
    for _, row in surface.iterrows():
        at = {"vm(id, K)": row.iloc[0], "residual": row.iloc[1]}
        assert row["loglik"] == pytest.approx(model.loglik(at), rel=1e-9)


def test_a_correlation_of_the_residual():
    fit = rb.MixedModel("distance ~ age + Sex", dataset("orthodont"), residual="ar1(age | Subject)").fit()
    label = next(c for c in fit.specification.parameters.columns if "correlation" in c)
    found = fit.profile(label, points=2).intervals(0.9).iloc[0]
    assert -1.0 < found["lower"] < found["estimate"] < found["upper"] < 1.0
    z2 = stats.chi2.ppf(0.9, 1)
    for end in (found["lower"], found["upper"]):  # the search of a fit with the correlation held
        held = rb.MixedModel("distance ~ age + Sex", dataset("orthodont"), residual="ar1(age | Subject)").fit(
            fix={"residual": {"correlation": end}}
        )
        assert 2 * (fit.loglik - held.loglik) == pytest.approx(z2, abs=1e-4)


def test_intervals_by_bootstrap():
    fit = fitted("dyestuff", "Yield ~ 1 + (1 | Batch)", "REML")
    share = "Batch / (Batch + residual)"
    table = fit.intervals("bootstrap", 0.9, [share], n=300, seed=2)
    made = fit.bootstrap(300, seed=2).intervals(0.9)
    np.testing.assert_allclose(table["lower"][:2], made["lower"][:2])
    again = fit.bootstrap(300, seed=2, statistic=[share]).intervals(0.9)
    np.testing.assert_allclose(table.iloc[2][["lower", "upper"]].astype(float), again.iloc[0][["lower", "upper"]])


def test_the_plot():
    profile = fitted("pastes", "strength ~ 1 + (1 | batch/cask)").profile(points=2)
    found = profile.plot()
    assert [ax.get_xlabel() for ax in found] == list(profile.names)
    assert {ax.get_ylabel() for ax in found} == {"ζ"}
    plt.close("all")


def test_what_has_no_profile():
    fit = fitted("dyestuff", "Yield ~ 1 + (1 | Batch)")
    for options, error, said in (
        ({"parameters": "nonsense"}, rb.FormulaError, "not a term"),
        ({"parameters": [3]}, OptionError, "as text"),
        ({"points": 1}, OptionError, "points=1"),
    ):
        with pytest.raises(error, match=said):
            fit.profile(**options)
    with pytest.warns(rb.RemlBlupWarning, match="no value"), pytest.raises(rb.ModelError, match="no value"):
        fit.profile("log(Batch - 1e6)")
    with pytest.raises(OptionError, match="level=2"):
        fit.intervals("profile", 2)
    with pytest.raises(OptionError, match="Choose one of"):
        fit.intervals("exact")
    with pytest.warns(rb.ConvergenceWarning):
        bad = rb.MixedModel("Yield ~ 1 + (1 | Batch)", dataset("dyestuff")).fit(max_iterations=1, algorithm="ai")
    with pytest.raises(rb.ModelError, match="begins at a maximum"):
        bad.profile()
    held = rb.MixedModel("Yield ~ 1 + (1 | Batch)", dataset("dyestuff")).fit(fix={"residual": 2000.0})
    with pytest.raises(OptionError, match="held by fix="):
        held.profile("residual")
    assert np.isnan(held.intervals("profile")["lower"][1]) and held.intervals("profile")["lower"][0] > 0.0
