"""The tables of a fit, information criteria, functions of the components, statsmodels' names."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from equations.models import animals, case

import remlblup as rb
from remlblup import datasets

SLEEP = "Reaction ~ Days + (1 + Days | Subject)"


@cache
def sleep(method: str = "REML"):
    return rb.MixedModel(SLEEP, datasets.load("sleepstudy")).fit(method=method, progress=False)


def kinds(table: pd.DataFrame) -> list[str]:
    """Text columns as O, floats as f, whatever string type pandas chose."""
    return ["O" if pd.api.types.is_string_dtype(t) or t.kind == "O" else t.kind for t in table.dtypes]


def test_variance_components_table():
    table = sleep().variance_components
    assert list(table.columns) == ["term", "parameter", "estimate", "std_error", "z_ratio", "status"]
    assert kinds(table) == ["O", "O", "f", "f", "f", "O"]
    assert table["term"].tolist() == ["1 + Days | Subject"] * 3 + ["residual"]
    assert table["parameter"].tolist() == ["var(Intercept)", "cov(Intercept, Days)", "var(Days)", "variance"]
    assert set(table["status"]) == {"free"}
    # lme4 1.1.31
    np.testing.assert_allclose(table["estimate"], [612.0900, 9.604333, 35.07166, 654.9410], rtol=1e-6)
    np.testing.assert_allclose(table["z_ratio"], table["estimate"] / table["std_error"])


def test_fixed_effects_table():
    table = sleep().fixed_effects
    assert list(table.columns) == ["estimate", "std_error", "df", "t", "p_value", "lower", "upper"]
    assert kinds(table) == ["f"] * 7
    assert table.index.name == "coefficient"
    assert list(table.index) == ["Intercept", "Days"]
    np.testing.assert_allclose(table["estimate"], [251.405104848484, 10.467285959596], rtol=1e-9)
    np.testing.assert_allclose(table["std_error"], [6.824556828978, 1.545788854238], rtol=1e-6)
    np.testing.assert_allclose(table["t"], [36.838304837754, 6.771484948218], rtol=1e-6)
    assert table["p_value"]["Days"] == pytest.approx(3.263785731273e-06, rel=1e-4)
    np.testing.assert_allclose((table["lower"] + table["upper"]) / 2, table["estimate"])
    # t quantile at 17 df, from tables
    np.testing.assert_allclose((table["upper"] - table["lower"]) / 2 / table["std_error"], 2.109816, rtol=1e-5)


def test_random_effects_table():
    table = sleep().random_effects
    assert list(table.columns) == ["term", "effect", "level", "estimate", "std_error", "pev", "reliability"]
    assert kinds(table) == ["O", "O", "O", "f", "f", "f", "f"]
    assert len(table) == 36
    assert table["effect"].tolist() == ["Intercept"] * 18 + ["Days"] * 18
    assert table["level"][:2].tolist() == ["308", "309"]
    first = table.set_index(["effect", "level"])["estimate"]
    assert first["Intercept", "308"] == pytest.approx(2.258565857348, rel=1e-5)  # lme4
    assert first["Days", "335"] == pytest.approx(-10.752159004313, rel=1e-6)
    np.testing.assert_allclose(table["std_error"] ** 2, table["pev"])
    assert table["reliability"].between(0, 1).all()


def test_every_level_of_the_relationship_has_a_row():
    table = case("vm").model.fit().random_effects
    _, pedigree, A, _ = animals(5)
    assert (table["term"] == "vm(animal, A)").sum() == len(A)
    recorded = set(case("vm").model.specification.records.frame["animal"])
    assert len(recorded) < len(A)
    assert set(pedigree.labels) == set(table.loc[table["term"] == "vm(animal, A)", "level"])


def test_blup_is_the_same_in_the_wide_form():
    wide = sleep().blup("Subject")
    assert wide.shape == (18, 2)
    assert list(wide.columns) == ["Intercept", "Days"]
    assert wide.index.name == "level"
    np.testing.assert_array_equal(wide.to_numpy().T.ravel(), sleep().random_effects["estimate"])
    with pytest.raises(rb.VarianceError, match="residual"):
        sleep().blup("residual")


def test_fitted_and_residuals_carry_the_index():
    d = datasets.load("sleepstudy")
    d.index = [f"r{k}" for k in range(len(d))]
    d.loc["r5", "Days"] = np.nan
    fit = rb.MixedModel(SLEEP, d).fit()
    assert list(fit.residuals.index) == [k for k in d.index if k != "r5"]
    assert fit.fitted.index.equals(fit.residuals.index)
    np.testing.assert_allclose(fit.fitted + fit.residuals, d["Reaction"].drop("r5"))


def test_tables_of_one_fit_cannot_change_the_fit():
    fit = case("us2").model.fit()
    with pytest.raises(ValueError, match="read-only"):
        fit.theta[0] = 0.0
    before = fit.residuals.copy()
    wide = fit.blup("g")
    wide["x"] = 0.0
    wide.to_numpy(copy=False)[:] = 0.0
    pd.testing.assert_series_equal(fit.residuals, before)


def test_covariance_and_correlation():
    fit = sleep()
    sigma = fit.covariance("Subject")
    assert list(sigma.index) == list(sigma.columns) == ["Intercept", "Days"]
    np.testing.assert_allclose(sigma, [[612.0900, 9.604333], [9.604333, 35.07166]], rtol=1e-6)
    assert fit.correlation("1 + Days | Subject").loc["Days", "Intercept"] == pytest.approx(0.06555, abs=1e-5)
    np.testing.assert_allclose(np.diag(fit.correlation("Subject")), 1)
    assert fit.covariance("residual").to_numpy() == pytest.approx(654.941, rel=1e-5)
    with pytest.raises(rb.VarianceError, match="'nobody'"):
        fit.covariance("nobody")


def test_log_likelihood_and_information_criteria():
    fit = sleep()  # lme4 1.1.31
    assert fit.loglik == pytest.approx(-871.814135979245, abs=1e-7)
    assert fit.aic == pytest.approx(1755.62827195849, abs=1e-6)
    assert fit.bic == pytest.approx(1774.78601306383, abs=1e-6)
    assert fit.n_parameters == 6
    assert fit.df_residual == 178
    assert fit.n_obs == 180
    assert fit.loglik_asreml == pytest.approx(fit.loglik + 89 * np.log(2 * np.pi), rel=1e-12)
    assert sleep("ML").loglik == pytest.approx(-875.969672231599, abs=1e-7)
    assert sleep("ML").n_parameters == 6


# -- functions ---------------------------------------------------------------------------------


def test_ratio_against_the_delta_method_by_hand():
    fit = case("vm").model.fit()
    a, d, r = fit.theta
    total = a + d + r
    value, error = fit.function("vm(animal, A) / (vm(animal, A) + dam + residual)")
    g = np.array([(total - a) / total**2, -a / total**2, -a / total**2])
    g[[s != "free" for s in fit.status]] = 0
    assert value == pytest.approx(a / total, rel=1e-13)
    assert error == pytest.approx(np.sqrt(g @ fit.variance_covariance @ g), rel=1e-10)


def test_correlation_of_us_against_the_delta_method_by_hand():
    fit = sleep()
    v1, c, v2, _ = fit.theta
    term = "1 + Days | Subject"
    expression = f"{term}[Intercept, Days] / sqrt({term}[Intercept] * {term}[Days])"
    value, error = fit.function(expression)
    r = c / np.sqrt(v1 * v2)
    g = np.array([-r / (2 * v1), 1 / np.sqrt(v1 * v2), -r / (2 * v2), 0])
    assert value == pytest.approx(r, rel=1e-13)
    assert error == pytest.approx(np.sqrt(g @ fit.variance_covariance @ g), rel=1e-10)
    assert float(fit.function("Subject[cov(Intercept, Days)]/sqrt(Subject[var(Intercept)]*Subject[Days])")) == value
    assert float(fit.function("Subject[Days, Intercept] / sqrt(Subject[Intercept] * Subject[Days])")) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("residual", lambda p, s, r: r),
        ("plate + sample", lambda p, s, r: p + s),
        ("-plate + 2 * sample", lambda p, s, r: -p + 2 * s),
        ("plate**2 / 10 + 0.5", lambda p, s, r: p**2 / 10 + 0.5),
        ("1e-2 * plate", lambda p, s, r: p / 100),
        ("2.5E3 * (plate)", lambda p, s, r: 2500 * p),
        ("sqrt(residual) - log(residual) * exp(residual)", lambda p, s, r: np.sqrt(r) - np.log(r) * np.exp(r)),
        ("sqrt(plate)", lambda p, s, r: np.sqrt(p)),
        ("log(sample) * exp(plate)", lambda p, s, r: np.log(s) * np.exp(p)),
        ("(1|plate) / (plate + (1 | sample) + residual)", lambda p, s, r: p / (p + s + r)),
    ],
)
def test_arithmetic(expression, value):
    fit = rb.MixedModel("diameter ~ 1 + (1 | plate) + (1 | sample)", datasets.load("penicillin")).fit()
    estimate = fit.function(expression)
    theta = fit.theta
    assert estimate.estimate == pytest.approx(value(*theta), rel=1e-12)
    gradient = [(value(*(theta + h)) - value(*(theta - h))) / (2 * h.max()) for h in np.diag(1e-6 * np.abs(theta))]
    assert estimate.std_error == pytest.approx(np.sqrt(gradient @ fit.variance_covariance @ gradient), rel=1e-6)
    assert expression in str(estimate)


@pytest.mark.parametrize(
    ("expression", "culprit"),
    [
        ("residual / nothing", "'nothing'"),
        ("Subject", "3 parameters"),
        ("Subject[Nights]", "Nights"),
        ("Subject[Days", "Subject"),
        ("(residual", r"\(residual"),
        ("residual +", r"residual \+"),
        ("__import__('os')", "__import__"),
        ("residual.real", "residual"),
        ("max(residual, 1)", "max"),
    ],
)
def test_expressions_that_cannot_be_evaluated(expression, culprit):
    with pytest.raises(rb.FormulaError, match=culprit):
        sleep().function(expression)


def test_a_function_of_fixed_components_has_no_error():
    fit = case("crossed").model.fit(fix={"h": 0.5})
    assert np.isnan(fit.function("h").std_error)


# -- Satterthwaite -------------------------------------------------------------------------------


def test_satterthwaite_of_sleepstudy_and_machines():
    assert sleep().df_method == "Satterthwaite"
    np.testing.assert_allclose(sleep().fixed_effects["df"], [17, 17], atol=1e-4)  # lmerTest 3.1.3
    machines = rb.MixedModel("score ~ Machine + (0 + Machine | Worker)", datasets.load("machines")).fit()
    np.testing.assert_allclose(machines.fixed_effects["df"], [5, 5, 5], atol=1e-4)


def test_satterthwaite_of_oats():
    fit = rb.MixedModel("yield ~ nitroF * Variety + (1 | Block/Variety)", datasets.load("oats")).fit()
    table = fit.fixed_effects
    assert table["df"]["Intercept"] == pytest.approx(16.082051669202, rel=1e-5)  # lmerTest 3.1.3
    assert table["df"]["Variety[T.Victory]"] == pytest.approx(30.230779336324, rel=1e-5)
    assert table["df"]["nitroF[T.0.4]"] == pytest.approx(45, rel=1e-5)


FILES = {
    "sleepstudy.rs_us": ("sleepstudy", SLEEP),
    "oats.splitplot": ("oats", "yield ~ nitroF * Variety + (1 | Block/Variety)"),
    "machines.us": ("machines", "score ~ Machine + (0 + Machine | Worker)"),
    "orthodont.rs_us": (
        "orthodont",
        "distance ~ I(age - 11) * C(Sex, contr.treatment('Male')) + (1 + I(age - 11) | Subject)",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_satterthwaite_against_lmertest(name, reference):
    answer = json.loads(reference(f"{name}.json").read_text(encoding="utf-8"))
    data, formula = FILES[name]
    table = rb.MixedModel(formula, datasets.load(data)).fit().fixed_effects
    expected = {round(abs(row["t value"]), 3): row["df"] for row in answer["fixed"]}
    found = {round(abs(t), 3): df for t, df in zip(table["t"], table["df"], strict=True)}
    assert sorted(found) == pytest.approx(sorted(expected), abs=2e-3)
    np.testing.assert_allclose([found[t] for t in sorted(found)], [expected[t] for t in sorted(expected)], rtol=2e-5)


def test_satterthwaite_on_the_boundary():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", datasets.load("dyestuff2")).fit()
    row = fit.fixed_effects.loc["Intercept"]
    assert row["std_error"] == pytest.approx(0.6783880312325, rel=1e-7)  # lmerTest 3.1.3
    assert row["df"] == pytest.approx(29, rel=1e-7)


def test_residual_df_where_nothing_is_random():
    fit = rb.MixedModel("Reaction ~ Days", datasets.load("sleepstudy")).fit()
    np.testing.assert_allclose(fit.fixed_effects["df"], 178, rtol=1e-9)


# -- statsmodels' names --------------------------------------------------------------------------


def test_statsmodels_names():
    fit = sleep()
    columns = [
        "1 + Days | Subject: var(Intercept)",
        "1 + Days | Subject: cov(Intercept, Days)",
        "1 + Days | Subject: var(Days)",
        "residual",
    ]
    assert list(fit.params.index) == ["Intercept", "Days", *columns]
    np.testing.assert_array_equal(fit.params, [*fit.beta, *fit.theta])
    np.testing.assert_array_equal(fit.bse[:2], fit.fixed_effects["std_error"])
    np.testing.assert_array_equal(fit.bse[2:], fit.variance_components["std_error"])
    assert (fit.llf, fit.nobs, fit.df_resid) == (fit.loglik, 180, 178)
    assert fit.scale == fit.theta[-1]
    np.testing.assert_array_equal(fit.fe_params, fit.beta)
    pd.testing.assert_series_equal(fit.fittedvalues, fit.fitted)
    pd.testing.assert_series_equal(fit.resid, fit.residuals)
    pd.testing.assert_frame_equal(fit.cov_re, fit.covariance("Subject"))
    np.testing.assert_allclose(np.sqrt(np.diag(fit.cov_params())), fit.bse, rtol=1e-10)
    np.testing.assert_allclose(fit.tvalues, fit.params / fit.bse)
    np.testing.assert_array_equal(fit.pvalues, fit.fixed_effects["p_value"])
    interval = fit.conf_int()
    np.testing.assert_allclose(interval.iloc[:2], fit.fixed_effects[["lower", "upper"]])
    spread = 1.959964 * fit.bse["residual"] / fit.theta[3]
    np.testing.assert_allclose(np.log(interval.loc["residual"] / fit.theta[3]), [-spread, spread], rtol=1e-6)
    assert (fit.conf_int(alpha=0.5)[1] < interval[1]).all()


def test_levels_that_are_text_numbers_or_both():
    """One table of all terms: its columns as pandas types them, labels as they are."""
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"y": rng.normal(size=40), "a": np.arange(40) % 5, "b": np.array(list("pqrs") * 10)})
    solved = rb.MixedModel("y ~ 1 + (1 | a) + (1 | b)", d).solve({"a": 1.0, "b": 1.0, "residual": 1.0})
    table = solved.random_effects
    assert table["level"].tolist() == [0, 1, 2, 3, 4, "p", "q", "r", "s"]
    assert table["term"].tolist() == ["a"] * 5 + ["b"] * 4
    one = rb.MixedModel("y ~ 1 + (1 | b)", d).solve({"b": 1.0, "residual": 1.0}).random_effects
    text = pd.Series(["text"]).dtype
    assert [table[c].dtype for c in ("term", "effect")] == [text] * 2 and table["level"].dtype == object
    assert [one[c].dtype for c in ("term", "effect", "level")] == [text] * 3
    assert one.index.equals(pd.RangeIndex(4)) and kinds(one)[3:] == ["f"] * 4


def test_a_renamed_table_leaves_the_others_alone():
    own = rb.MixedModel(SLEEP, datasets.load("sleepstudy")).fit()
    own.random_effects.columns.name = own.fixed_effects.columns.name = "mine"
    assert sleep().random_effects.columns.name is None and sleep().fixed_effects.columns.name is None
    other = rb.MixedModel(SLEEP, datasets.load("sleepstudy")).fit()
    assert other.random_effects.columns.name is None and other.fixed_effects.columns.name is None
