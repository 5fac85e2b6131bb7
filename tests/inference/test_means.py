"""Marginal means beside other things than the reference programs: random factors, covariates, letters, intervals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from equations import models, structures
from scipy import stats

import remlblup as rb
from remlblup.datasets import load as dataset
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.variance.engine import VarianceEquations
from remlblup.errors import EstimabilityWarning, ModelError
from remlblup.fit.errors.prediction_covariance import prediction_covariance
from remlblup.inference.fixed.comparisons import coverage, polynomials
from remlblup.inference.fixed.letters import letters
from remlblup.inference.fixed.studentized_range import by_quadrature


def trial() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n = 90
    d = pd.DataFrame(
        {
            "v": rng.choice(list("ABC"), n),
            "s": rng.choice(["n", "o"], n, p=[0.7, 0.3]),
            "g": rng.integers(0, 10, n),
            "x": rng.normal(3, 1, n),
            "w": rng.uniform(0.5, 2, n),
        }
    )
    d["y"] = d["v"].map({"A": 1, "B": 2, "C": 4}) + 0.5 * d["x"] + rng.normal(0, 1, 10)[d["g"]] + rng.normal(0, 1, n)
    return d


@pytest.fixture(scope="module")
def fit() -> rb.Fit:
    return rb.MixedModel("y ~ v * s + log(x + 9) + (1 | g)", trial()).fit(progress=False)


def row_of(fit: rb.Fit, v: str, s: str, x: float) -> np.ndarray:
    """A row of X written out: treatment coding."""
    values = {
        "Intercept": 1.0,
        "v[T.B]": v == "B",
        "v[T.C]": v == "C",
        "s[T.o]": s == "o",
        "log(x + 9)": np.log(x + 9),
        "v[T.B]:s[T.o]": (v == "B") * (s == "o"),
        "v[T.C]:s[T.o]": (v == "C") * (s == "o"),
    }
    return np.array([float(values[name]) for name in fit.fixed_effects.index])


@pytest.mark.parametrize("weights", ["equal", "proportional", "cells"])
def test_means_are_weighted_rows(fit, weights):
    d = trial()
    means = fit.marginal_means("v", weights=weights, df="kenward-roger")
    for v in "ABC":
        counts = {
            "equal": {"n": 1, "o": 1},
            "proportional": d["s"].value_counts(),
            "cells": d[d["v"] == v]["s"].value_counts(),
        }[weights]
        share = {s: counts[s] / sum(counts[s] for s in "no") for s in "no"}
        L = sum(share[s] * row_of(fit, v, s, d["x"].mean()) for s in "no")
        test = fit.test(L[None], df="kenward-roger").table.iloc[0]
        np.testing.assert_allclose(
            means.table.loc[v], test[["estimate", "std_error", "df", "lower", "upper"]], rtol=1e-10
        )
    assert "x = " in repr(means) and "Averaged over s" in repr(means)


def test_covariates_at_values(fit):
    one = fit.marginal_means("v", at={"x": 2}).table
    several = fit.marginal_means("v", at={"x": [2, 4.5]}).table
    assert several.index.names == ["v", "x"]
    np.testing.assert_allclose(several.xs(2.0, level="x"), one, rtol=1e-12)
    np.testing.assert_allclose(
        several.loc[("B", 4.5), "mean"], np.mean([row_of(fit, "B", s, 4.5) @ fit.beta for s in "no"]), rtol=1e-12
    )
    by = fit.marginal_means("v", at={"x": [2, 4.5]}).contrasts("sequential")
    assert by.index.names == ["x", "contrast"] and len(by) == 4


def test_by_makes_families_of_their_own(fit):
    table = fit.marginal_means("v", by="s").contrasts("pairwise", adjust="bonferroni")
    alone = fit.marginal_means("v", by="s").contrasts("pairwise", adjust=None)
    assert table.index.names == ["s", "contrast"]
    np.testing.assert_allclose(table["p_value"], np.minimum(3 * alone["p_value"], 1.0), rtol=1e-12)


def test_weights_by_name(fit):
    means = fit.marginal_means("v")
    found = means.contrasts({"C - others": {"C": 1, "A": -0.5, "B": -0.5}, "A": [1, 0, 0]}, adjust=None)
    m = means.table["mean"]
    np.testing.assert_allclose(found["estimate"], [m["C"] - (m["A"] + m["B"]) / 2, m["A"]], rtol=1e-10)
    np.testing.assert_allclose(found.loc["A", "std_error"], means.table.loc["A", "std_error"], rtol=1e-10)
    reference = means.contrasts("reference", reference="B")
    assert list(reference.index) == ["A - B", "C - B"]


def test_yes_and_no_are_levels():
    d = trial().assign(old=lambda f: f["s"] == "o")
    by_name = rb.MixedModel("y ~ v * s + (1 | g)", d).fit(progress=False).marginal_means("s")
    by_truth = rb.MixedModel("y ~ v * old + (1 | g)", d).fit(progress=False).marginal_means("old")
    assert list(by_truth.table.index) == [False, True]
    np.testing.assert_allclose(by_truth.table, by_name.table, rtol=1e-7)


def test_offset_is_in_the_mean():
    d = trial()
    plain = rb.MixedModel("y ~ v + (1 | g)", d).fit(progress=False).marginal_means("v").table
    moved = rb.MixedModel("y ~ v + offset(x) + (1 | g)", d.assign(y=d["y"] + d["x"])).fit(progress=False)
    np.testing.assert_allclose(moved.marginal_means("v").table["mean"], plain["mean"] + d["x"].mean(), rtol=1e-7)


@pytest.mark.parametrize("make", [MixedModelEquations, VarianceEquations])
@pytest.mark.parametrize("name", ["two_us", "us3", "us, pedigree", "R: field"])
def test_prediction_covariance(name, make):
    """Against var[(β̂, û) − (β, u)] of everything, from the definition."""
    if name in structures.NAMES:
        c = structures.case(name)
        spec, theta = c.model.specification, c.theta
    else:
        c = models.case(name)
        spec, theta = c.model.specification, c.points[0]
    equations = make(spec)
    solution, joint = equations.solve(theta), c.oracle.joint_error(theta)
    rows = np.random.default_rng(0).normal(size=(4, len(joint)))
    found = prediction_covariance(
        equations, solution, rows[:, : spec.p], sp.csr_array(rows[:, spec.p :]), equations.fixed_covariance(solution)
    )
    np.testing.assert_allclose(found, rows @ joint @ rows.T, rtol=1e-8, atol=1e-10)


def test_a_random_factor_makes_blups():
    d = dataset("sleepstudy")
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", d).fit(progress=False)
    means = fit.marginal_means("Subject", at={"Days": 3})
    new = pd.DataFrame({"Days": 3, "Subject": sorted(d["Subject"].unique())})
    expected = fit.predict(new)
    np.testing.assert_allclose(means.table["mean"].to_numpy(), expected["prediction"], rtol=1e-10)
    np.testing.assert_allclose(means.table["std_error"].to_numpy(), expected["std_error"], rtol=1e-8)
    difference = means.contrasts("pairwise", adjust=None).iloc[0]
    first, second = (fit.blup("1 + Days | Subject").iloc[k] @ [1.0, 3.0] for k in (0, 1))
    assert difference["estimate"] == pytest.approx(first - second, rel=1e-9)
    assert "prediction errors" in repr(means) and means.table.attrs["random_included"] == ["1 + Days | Subject"]
    population = fit.marginal_means("Days", at={"Days": [0, 3]}).table
    np.testing.assert_allclose(
        population["mean"], fit.predict(pd.DataFrame({"Days": [0, 3]}), include=[])["prediction"], rtol=1e-10
    )


def test_animals_without_records_have_means():
    c = models.case("vm")
    spec = c.model.specification
    fit = rb.MixedModel("y ~ x + (1 | vm(animal, A))", spec.records.frame, {"A": spec.random[0].relationship}).fit(
        progress=False
    )
    table = fit.marginal_means("vm(animal, A)").table
    u = fit.random_effects.set_index("level")["estimate"]
    assert len(table) == 36
    shift = fit.marginal_means("x").table["mean"].iloc[0]
    np.testing.assert_allclose(table["mean"], shift + u.loc[table.index], rtol=1e-9)


def test_several_traits():
    from equations.structures import case

    fit = case("R: traits").model.fit(progress=False)
    table = fit.wald_tests(df="kenward-roger")
    assert list(table.index) == ["trait", "trait:x"] and list(table["num_df"]) == [2, 3]
    means = fit.marginal_means("trait").table
    assert list(means.index) == ["a", "b", "c"] and means.notna().all(axis=None)


def test_a_cell_without_records_is_missing_and_named():
    d = trial()
    d = d[~((d["v"] == "C") & (d["s"] == "o"))]
    fit = rb.MixedModel("y ~ v * s + (1 | g)", d).fit(progress=False)
    with pytest.warns(EstimabilityWarning, match=r"1 of 3 means.*'C'"):
        means = fit.marginal_means("v")
    assert list(means.table["mean"].isna()) == [False, False, True]
    pairs = means.contrasts("pairwise")
    assert list(pairs["p_value"].isna()) == [False, True, True]
    # Two means are left: Tukey's is the t test.
    assert pairs.iloc[0]["p_value"] == pytest.approx(means.contrasts(adjust=None).iloc[0]["p_value"], rel=1e-6)
    assert list(means.letters()["letters"] == "") == [False, False, True]
    with pytest.raises(ModelError, match="cannot be estimated"):
        fit.marginal_means("v", nonestimable="error")
    by_cells = fit.marginal_means("v", weights="cells").table
    assert by_cells["mean"].notna().all()
    both = fit.marginal_means(["v", "s"], weights="cells", nonestimable="nan").table
    assert list(both.index[both["mean"].isna()]) == [("C", "o")]


def test_multivariate_t():
    """Dunnett 1955, table 2a and 1b: three and nine treatments against a control, groups of one size."""
    R = 0.5 * (np.eye(3) + 1)
    assert coverage(2.67, R, 12) == pytest.approx(0.95, abs=2e-3)
    assert coverage(2.48, 0.5 * (np.eye(3) + 1), 30) == pytest.approx(0.95, abs=3e-3)
    assert coverage(2.0, np.eye(1), 7) == pytest.approx(1 - 2 * stats.t.sf(2.0, 7), rel=1e-12)


@pytest.mark.parametrize("k, low, high", [(2, 3.0, 9.0), (4, 1.2, 5.0), (20, 8.0, 60.0), (150, 900.0, 1e4)])
def test_many_tails_of_the_studentized_range(k, low, high):
    """Against SciPy, and of two means the t distribution."""
    rng = np.random.default_rng(k)
    q, df = np.abs(rng.normal(0, 4, 12)), rng.uniform(low, high, 12)
    found = by_quadrature(q, k, df)
    np.testing.assert_allclose(
        found, [stats.studentized_range.sf(a, k, d) for a, d in zip(q, df, strict=True)], atol=1e-9
    )
    if k == 2:
        np.testing.assert_allclose(found, 2 * stats.t.sf(q / np.sqrt(2), df), rtol=1e-8)
    assert by_quadrature(np.array([3.6331595]), 4, np.array([np.inf]))[0] == pytest.approx(0.05, rel=1e-6)


def test_many_means():
    """Tables of all differences of sixty varieties; p values are those of SciPy one by one."""
    rng = np.random.default_rng(9)
    d = pd.DataFrame({"v": np.tile(np.arange(60), 4), "b": np.repeat(range(4), 60)}).sample(220, random_state=1)
    d["y"] = rng.normal(size=60)[d["v"]] + rng.normal(size=4)[d["b"]] + rng.normal(size=220)
    means = rb.MixedModel("y ~ C(v) + (1 | b)", d).fit(progress=False).marginal_means("v")
    table = means.contrasts()
    assert len(table) == 1770 and table["std_error"].iloc[0] == pytest.approx(means.sed.iloc[0, 1], rel=1e-9)
    for row in (0, 700, 1769):
        t, df = table[["t", "df"]].iloc[row]
        assert table["p_value"].iloc[row] == pytest.approx(
            stats.studentized_range.sf(np.sqrt(2) * abs(t), 60, df), abs=1e-9
        )
        reach = stats.studentized_range.ppf(0.95, 60, df) / np.sqrt(2) * table["std_error"].iloc[row]
        assert table["upper"].iloc[row] - table["estimate"].iloc[row] == pytest.approx(reach, rel=1e-6)


def test_polynomial_weights():
    np.testing.assert_array_equal(polynomials(["a", "b", "c", "d"]), [[-3, -1, 1, 3], [1, -1, -1, 1], [-1, 3, -3, 1]])
    x = np.array([0.0, 1.0, 3.0])
    P = polynomials(list(x))
    np.testing.assert_allclose(P @ np.ones(3), 0.0, atol=1e-12)
    assert P[1] @ x == pytest.approx(0.0, abs=1e-12) and P[0] @ P[1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_letters_say_what_differs(seed):
    """Two means share a letter exactly if they do not differ, for any pattern of differences."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 8))
    differ = np.triu(rng.uniform(size=(k, k)) < rng.uniform(), 1)
    differ = differ | differ.T
    found = letters(rng.normal(size=k), differ)
    for i, j in combinations(range(k), 2):
        assert bool(set(found[i]) & set(found[j])) != differ[i, j]


def test_the_highest_mean_has_an_a(fit):
    table = fit.marginal_means("v").letters()
    assert "a" in table.loc[table["mean"].idxmax(), "letters"] and list(table.columns) == ["mean", "letters"]


# -- degrees of freedom of predictions -------------------------------------------------------------


def prediction_errors(theta, rows):
    """Covariance of the prediction errors of rows over (β, u) of sleepstudy, by the dense mixed model equations."""
    d = dataset("sleepstudy")
    X = np.column_stack([np.ones(180), d["Days"]])
    Z = pd.get_dummies(d["Subject"]).to_numpy(float)
    W = np.hstack([X, Z, d["Days"].to_numpy()[:, None] * Z])
    C = W.T @ W / theta[3]
    G = np.array([[theta[0], theta[1]], [theta[1], theta[2]]])
    C[2:, 2:] += np.kron(np.linalg.inv(G), np.eye(18))
    return rows @ np.linalg.solve(C, rows.T)


@pytest.mark.parametrize("information", ["average", "expected"])
def test_df_of_predictions(information):
    """2v²/∇v'W∇v of means with subjects in, and of their contrasts, by differences of the dense equations."""
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", dataset("sleepstudy")).fit(progress=False)
    means = fit.marginal_means("Subject", at={"Days": 5}, information=information)
    rows = np.hstack([np.tile([1.0, 5.0], (18, 1)), np.eye(18), 5.0 * np.eye(18)])
    found = means.table
    np.testing.assert_allclose(found["std_error"] ** 2, np.diag(prediction_errors(fit.theta, rows)), rtol=1e-8)
    slopes = []
    for i in range(4):
        h = 1e-4 * fit.theta[i] * np.eye(4)[i]
        ahead, behind = (prediction_errors(fit.theta + s * h, rows) for s in (1.0, -1.0))
        slopes.append((ahead - behind) / (2.0 * h[i]))
    if information == "average":
        W = fit.variance_covariance
    else:
        d = dataset("sleepstudy")
        Z = pd.get_dummies(d["Subject"]).to_numpy(float)
        x = d["Days"].to_numpy()[:, None]
        one, two = Z @ Z.T, (x * Z) @ (x * Z).T
        both = Z @ (x * Z).T
        dots = [one, both + both.T, two, np.eye(180)]
        V = np.tensordot(fit.theta, dots, 1)
        Vi, X = np.linalg.inv(V), np.column_stack([np.ones(180), x])
        P = Vi - Vi @ X @ np.linalg.solve(X.T @ Vi @ X, X.T @ Vi)
        W = np.linalg.inv([[0.5 * np.trace(P @ a @ P @ b) for b in dots] for a in dots])
    L = np.vstack([np.eye(18), np.eye(18)[:1] - np.eye(18)[1:2]])
    v = np.diag(L @ prediction_errors(fit.theta, rows) @ L.T)
    g = np.array([np.diag(L @ S @ L.T) for S in slopes])
    df = 2.0 * v**2 / np.einsum("ik,ij,jk->k", g, W, g)
    np.testing.assert_allclose(found["df"], df[:18], rtol=1e-5)
    first = means.contrasts({"1 - 2": {"308": 1, "309": -1}})
    np.testing.assert_allclose(first["df"], df[18:], rtol=1e-5)
    assert "Satterthwaite's" in repr(found) and "Satterthwaite's" in repr(first)
    plain = fit.marginal_means("Subject", at={"Days": 5}, df="residual").table
    assert (plain["df"] == 178).all() and "n − p" in repr(plain)


# -- intervals of predictions ----------------------------------------------------------------------


def test_intervals_of_predictions(fit):
    table = fit.predict(interval="confidence")
    half = stats.t.ppf(0.975, fit.df_residual) * table["std_error"]
    np.testing.assert_allclose(table["upper"] - table["prediction"], half, rtol=1e-12)
    wide = fit.predict(interval="prediction", level=0.9)
    sigma2 = fit.variance_components["estimate"].iloc[-1]
    expected = stats.t.ppf(0.95, fit.df_residual) * np.sqrt(table["std_error"] ** 2 + sigma2)
    np.testing.assert_allclose(wide["prediction"] - wide["lower"], expected, rtol=1e-12)
    known = rb.MixedModel("y ~ v + (1 | g)", trial()).solve({"g": 1.0, "residual": 1.0}).predict(interval="confidence")
    np.testing.assert_allclose(known["upper"] - known["prediction"], 1.959964 * known["std_error"], rtol=1e-6)


@pytest.mark.parametrize(
    "residual, weights",
    [
        ("units", "w"),
        ("diag(s | units)", None),
        ("diag(s | units)", "w"),
        ("power(x)", None),
        ("us(s | g2)", None),
        ("power(x) | s", None),
    ],
)
def test_residual_variance_of_new_records(residual, weights):
    """Records like those of the fit have the residual variances of the fit."""
    d = trial()
    d["g2"] = d.groupby("s").cumcount()
    fit = rb.MixedModel("y ~ v + (1 | g)", d, residual=residual, weights=weights).fit(progress=False)
    own, new = fit.predict(interval="prediction"), fit.predict(d, interval="prediction")
    np.testing.assert_allclose(own[["lower", "upper"]], new[["lower", "upper"]], rtol=1e-9)
    wider = own["upper"] - own["prediction"] > fit.predict(interval="confidence")["upper"] - own["prediction"]
    assert wider.all()


@pytest.mark.parametrize("random", ["(1 | g:time)", "(1 | g) + (1 | time)"])
def test_a_covariate_that_groups_records_too_stays_a_covariate(random):
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"diet": np.tile(list("ab"), 30), "time": np.repeat([1.0, 2.0, 3.0], 20)})
    d["g"] = np.tile(np.repeat(list("pqrst"), 2), 6)
    d["y"] = d["time"] + rng.normal(size=60) + rng.normal(size=5)[d["g"].map(dict(zip("pqrst", range(5), strict=True)))]
    fit = rb.MixedModel(f"y ~ diet + time + {random}", d).fit()
    low, high = (fit.marginal_means("diet", at={"time": t}).table["mean"].to_numpy() for t in (1.0, 3.0))
    np.testing.assert_allclose(high - low, 2.0 * fit.fixed_effects.loc["time", "estimate"], rtol=1e-10)


def test_one_contrast_needs_no_adjustment():
    fit = rb.MixedModel("extra ~ group + (1 | ID)", sleep_of_students()).fit()
    plain = fit.marginal_means("group").contrasts(adjust=None)
    for method, adjust in (("pairwise", "tukey"), ("reference", "dunnett"), ("pairwise", "holm")):
        own = fit.marginal_means("group").contrasts(method, adjust=adjust)
        np.testing.assert_allclose(own["p_value"], plain["p_value"], rtol=1e-13)
        np.testing.assert_allclose(own["upper"] - own["lower"], plain["upper"] - plain["lower"], rtol=1e-13)


def sleep_of_students():
    """Student's sleep data: two drugs, ten patients."""
    extra = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0, 1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    return pd.DataFrame({"extra": extra, "group": np.repeat(["1", "2"], 10), "ID": [f"s{i}" for i in range(10)] * 2})


def test_crossed_factors_are_written_as_in_the_formula():
    """``"v:s"`` is the two factors, in either order; a column with a colon in its name is that column."""
    d = trial()
    fit = rb.MixedModel("y ~ v * s + (1 | g)", d).fit()
    listed = fit.marginal_means(["v", "s"]).table
    for text in ("v:s", " v : s ", "`v`:s"):
        pd.testing.assert_frame_equal(fit.marginal_means(text).table, listed)
    pd.testing.assert_frame_equal(fit.marginal_means("v", by="s").table, fit.marginal_means(["v"], by=["s"]).table)
    with pytest.raises(rb.DataError, match=r"factors=: 'herd' in 'v:herd' is no factor or covariate of this model"):
        fit.marginal_means("v:herd")
    with pytest.raises(rb.DataError, match=r"by=: 'herd' in 'herd:s' is no factor"):
        fit.marginal_means("v", by="herd:s")
    renamed = rb.MixedModel("y ~ `v:s` + (1 | g)", d.rename(columns={"s": "v:s"})).fit()
    assert renamed.marginal_means("v:s").table.index.names == ["v:s"]
