"""Residuals of every engine and every R against the dense definitions; outliers against refits without the record."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

from .fits import NAMES, fit_at

CLOSE = {"rtol": 1e-8, "atol": 1e-8}


@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_that_of_the_definitions(name):
    fit, oracle, theta = fit_at(name)
    table = fit.residual_table
    P = oracle.projection(theta)[2]
    n = len(P)
    spread = sum((t.spread(oracle.sigma(k, theta)) for k, t in enumerate(oracle.terms)), np.zeros((n, n)))
    R = oracle.V(theta) - spread
    Py, inverse = P @ oracle.y, np.linalg.inv(R)
    assert list(table.columns) == ["conditional", "marginal", "standardized", "studentized", "leverage"]
    assert table.index.equals(fit.specification.index) and table.attrs["whitened"] == {
        "standardized": "R",
        "studentized": "V",
    }
    conditional = R @ Py
    np.testing.assert_allclose(table["conditional"], conditional, **CLOSE)
    np.testing.assert_allclose(table["marginal"], oracle.y - oracle.X @ oracle.beta(theta), **CLOSE)
    np.testing.assert_allclose(table["standardized"], inverse @ conditional / np.sqrt(np.diag(inverse)), **CLOSE)
    np.testing.assert_allclose(table["studentized"], Py / np.sqrt(np.diag(P)), **CLOSE)
    np.testing.assert_allclose(table["leverage"], 1.0 - np.diag(R @ P), **CLOSE)
    if np.count_nonzero(R - np.diag(np.diag(R))) == 0:  # the textbook's forms
        np.testing.assert_allclose(table["standardized"], conditional / np.sqrt(np.diag(R)), **CLOSE)
        np.testing.assert_allclose(table["studentized"], conditional / np.sqrt(np.diag(R @ P @ R)), **CLOSE)


@pytest.fixture(scope="module")
def oats():
    return rb.MixedModel("yield ~ Variety * nitroF + (1 | Block / Variety)", rb.datasets.load("oats")).fit(
        progress=False
    )


def test_leverages_add_up_to_the_effective_dimensions(oats):
    table = oats.residual_table
    of_terms = oats.effective_dimensions["effective"]
    assert table["leverage"].sum() == pytest.approx(oats.n_obs - of_terms["residual"], abs=1e-8)


def test_an_outlier_is_found_and_its_test_is_that_of_the_others(oats):
    d = rb.datasets.load("oats")
    d.loc[17, "yield"] += 90.0
    formula = "yield ~ Variety * nitroF + (1 | Block / Variety)"
    fit = rb.MixedModel(formula, d).fit(progress=False)
    table = fit.outlier_test()
    assert table.index[0] == 17 and table["p_adjusted"].iloc[0] < 0.001
    assert table["p_value"].is_monotonic_increasing and np.all(table["p_adjusted"] >= table["p_value"])
    # Brute force: the model without the record, its variances a multiple of those of all records.
    others = rb.MixedModel(formula, d.drop(17))
    without = others.solve(fit.variances)
    predicted = without.predict(d.loc[[17]])
    scale = without._solution.quadratic / without.df_residual
    error = np.sqrt(scale * (predicted["std_error"].iloc[0] ** 2 + fit.theta[-1]))
    first = table.iloc[0]
    assert first["residual"] == pytest.approx(d.loc[17, "yield"] - predicted["prediction"].iloc[0], rel=1e-8)
    assert first["std_error"] == pytest.approx(error, rel=1e-8)
    assert first["statistic"] == pytest.approx(first["residual"] / first["std_error"], rel=1e-12)
    assert first["df"] == fit.df_residual - 1


def test_p_values_are_adjusted_as_asked(oats):
    p = oats.outlier_test(None)
    assert p["p_value"].equals(p["p_adjusted"].rename("p_value"))
    n = oats.n_obs
    np.testing.assert_allclose(oats.outlier_test("bonferroni")["p_adjusted"], np.minimum(n * p["p_value"], 1.0))
    assert np.all(oats.outlier_test("holm")["p_adjusted"] <= oats.outlier_test("bonferroni")["p_adjusted"] + 1e-15)


def test_p_values_of_no_outliers_are_uniform():
    """Without random effects the test is exact: the t of linear regression."""
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"x": rng.normal(size=30), "y": rng.normal(size=30)})
    fit = rb.MixedModel("y ~ x", d).fit(progress=False)
    X = np.column_stack([np.ones(30), d["x"]])
    H = X @ np.linalg.solve(X.T @ X, X.T)
    e = d["y"].to_numpy() - H @ d["y"].to_numpy()
    s2 = (e @ e - e**2 / (1 - np.diag(H))) / 27
    t = e / np.sqrt(s2 * (1 - np.diag(H)))
    np.testing.assert_allclose(fit.outlier_test().loc[d.index, "statistic"], t, rtol=1e-9)
    np.testing.assert_allclose(fit.residual_table["leverage"], np.diag(H), atol=1e-12)


@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_a_record_with_a_column_of_its_own_cannot_be_judged(engine):
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"g": np.repeat(list("abcde"), 4), "y": rng.normal(size=20), "own": ["n"] * 19 + ["y"]})
    fit = rb.MixedModel("y ~ own + (1 | g)", d, engine=engine).fit(progress=False)
    table = fit.residual_table
    assert np.isnan(table["studentized"].iloc[-1]) and table["studentized"].iloc[:-1].notna().all()
    assert table["leverage"].iloc[-1] == pytest.approx(1.0, abs=1e-9)
    tested = fit.outlier_test()
    assert np.isnan(tested["statistic"].loc[19]) and "1 of 20 records are fitted whatever they are" in tested.note


def test_where_r_has_no_inverse():
    K = pd.DataFrame(np.kron(np.eye(2), [[1, 0.5], [0.5, 1]]), index=list("abcd"), columns=list("abcd"))
    d = pd.DataFrame({"y": [1.0, 1.2, 3.0, 3.3], "id": list("abcd")})
    fit = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", d, {"K": K}).fit(progress=False)
    assert fit.theta[-1] == 0.0
    table = fit.residual_table
    assert table["standardized"].isna().all() and np.allclose(table["leverage"], 1.0)
    V = fit.theta[0] * K.to_numpy()
    inverse = np.linalg.inv(V)
    P = inverse - np.outer(inverse.sum(1), inverse.sum(0)) / inverse.sum()
    np.testing.assert_allclose(table["studentized"], P @ d["y"] / np.sqrt(np.diag(P)), rtol=1e-8)


def test_an_unconverged_fit_says_so_above_the_table_and_unknown_adjustments_are_named(oats):
    with pytest.raises(rb.OptionError, match="adjust='tukey' is not known"):
        oats.outlier_test("tukey")
    with pytest.warns(rb.ConvergenceWarning):
        fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff")).fit(
            max_iterations=1, algorithm="ai", progress=False
        )
    with pytest.warns(rb.ConvergenceWarning):
        assert "NOT CONVERGED" in repr(fit.residual_table)
