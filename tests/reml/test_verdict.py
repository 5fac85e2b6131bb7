"""Honest verdicts: when a fit is not converged it says so and why; fix=, start=, history."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from equations.models import case, field

import remlblup as rb
from remlblup import datasets
from remlblup.reml.convergence import Convergence, Criterion, criteria, explain
from remlblup.reml.identify import confounded


def sleep() -> rb.MixedModel:
    return rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", datasets.load("sleepstudy"))


def test_too_few_iterations_are_not_converged():
    fit = sleep().fit(max_iterations=1, algorithm="ai")
    assert not fit.converged
    assert not fit.convergence
    assert "max_iterations" in fit.convergence.reason
    assert fit.convergence.iterations == 1
    assert len(fit.history) == 2
    assert "NOT CONVERGED" in str(fit.convergence)
    assert "NOT CONVERGED" in str(fit.summary())
    assert not fit.convergence.table["passed"].all()


def test_criteria_of_a_converged_fit():
    table = sleep().fit().convergence.table
    assert list(table.columns) == ["criterion", "value", "limit", "passed", "meaning"]
    assert list(table["criterion"]) == [
        "log-likelihood change",
        "parameter change",
        "gradient",
        "Newton decrement",
        "boundary score",
    ]
    assert (table["value"] <= table["limit"]).all()
    assert table["passed"].all()


@pytest.mark.parametrize("failing", range(5))
def test_one_failed_criterion_is_enough(failing):
    values = [1e-12] * 5
    values[failing] = 1.0
    checks = criteria(*values, 1e-8)
    assert [c.passed for c in checks] == [k != failing for k in range(5)]
    assert not Convergence(checks, "", (), (), 3).converged


def test_what_is_not_a_number_does_not_pass():
    assert not Criterion("gradient", float("nan"), 1.0, "").passed
    assert not Convergence((), "", (), (), 0).converged


def test_unidentified_components_are_not_converged():
    checks = criteria(0, 0, 0, 0, 0, 1e-8)
    assert Convergence(checks, "", (), (), 1).converged
    assert not Convergence(checks, "", (), ("a", "b"), 1).converged


def test_one_record_per_level_is_confounded_with_the_residual():
    d = field(3).assign(unit=np.arange(48))
    fit = rb.MixedModel("y ~ x + (1 | unit)", d).fit()
    assert not fit.converged
    assert set(fit.convergence.unidentified) == {"unit", "residual"}
    assert "unit" in fit.convergence.reason
    assert "residual" in fit.convergence.reason
    assert fit.variance_components["std_error"].isna().all()
    assert fit.theta.sum() == pytest.approx(rb.MixedModel("y ~ x", d).fit().theta[0], rel=1e-6)


def test_two_identical_factors_are_confounded():
    d = field(3).assign(other=lambda d: "o" + d["g"])
    fit = rb.MixedModel("y ~ x + (1 | g) + (1 | other)", d).fit()
    assert not fit.converged
    assert set(fit.convergence.unidentified) == {"g", "other"}
    assert "g, other" in fit.convergence.reason
    assert np.isnan(fit.variance_components["std_error"][:2]).all()
    single = rb.MixedModel("y ~ x + (1 | g)", d).fit()
    assert fit.theta[:2].sum() == pytest.approx(single.theta[0], rel=1e-5)


def test_confounded_terms_can_be_held_apart():
    d = field(3).assign(other=lambda d: "o" + d["g"])
    single = rb.MixedModel("y ~ x + (1 | g)", d).fit()
    fit = rb.MixedModel("y ~ x + (1 | g) + (1 | other)", d).fit(fix={"other": 0.1})
    assert fit.converged
    assert fit.theta[0] == pytest.approx(single.theta[0] - 0.1, rel=1e-5)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_a_residual_variance_that_goes_to_zero_is_not_converged(noise):
    d = field(3)
    d["y"] = 1.7 * d["gk"] + 0.3 + noise * d["z"]
    fit = rb.MixedModel("y ~ 1 + (1 | g)", d).fit()
    at_floor = fit.theta[1] > 2 * np.var(noise * d["z"])
    assert not (fit.converged and at_floor)
    if at_floor:
        assert "residual variance" in fit.convergence.reason


def test_a_fixed_value_that_cannot_be_is_named():
    with pytest.raises(rb.RemlBlupError, match="fix"):
        case("us2").model.fit(fix={"g": {"var(Intercept)": 1.0, "var(x)": 2.0, "cov(Intercept, x)": 50.0}})


def test_a_start_is_found_for_a_fixed_covariance_larger_than_the_data_suggest():
    fit = case("us2").model.fit(fix={"g": {"cov(Intercept, x)": 2.0}})
    sigma = fit.covariance("g").to_numpy()
    assert sigma[0, 1] == 2.0
    assert np.linalg.eigvalsh(sigma)[0] > -1e-8


# -- fix and start -------------------------------------------------------------------------------


def test_fixed_components_keep_their_value():
    c = case("crossed")
    fit = c.model.fit(fix={"h": 0.5})
    assert fit.converged
    assert fit.theta[1] == 0.5
    assert (fit.history["h"] == 0.5).all()
    assert fit.status == ("free", "fixed", "free")
    score = c.oracle.score(fit.theta)
    np.testing.assert_allclose(score[[0, 2]], 0, atol=1e-5)
    assert abs(score[1]) > 1e-3
    row = fit.variance_components.iloc[1]
    assert row["status"] == "fixed"
    assert np.isnan(row["std_error"])
    assert fit.n_parameters == 2 + 2


def test_fixed_matrix_and_fixed_residual():
    sigma = [[1.5, 0.2], [0.2, 0.4]]
    c = case("us2")
    held = c.model.fit(fix={"g": sigma})
    assert held.converged
    np.testing.assert_array_equal(held.covariance("g"), sigma)
    assert c.oracle.score(held.theta)[3] == pytest.approx(0, abs=1e-5)
    residual = c.model.fit(fix={"residual": 1.0})
    assert residual.converged
    assert residual.theta[3] == 1.0
    np.testing.assert_allclose(c.oracle.score(residual.theta)[:3], 0, atol=1e-5)


def test_one_fixed_parameter_of_a_matrix():
    c = case("us2")
    fit = c.model.fit(fix={"g": {"cov(Intercept, x)": 0.0}})
    assert fit.converged
    assert fit.theta[1] == 0.0
    diagonal = rb.MixedModel("y ~ x + (1 + x || g)", field(11)).fit()
    np.testing.assert_allclose(fit.theta[[0, 2, 3]], diagonal.theta, rtol=1e-5)


def test_everything_fixed_is_a_solve():
    theta = {"g": 1.7, "residual": 1.2}
    model = case("id").model
    fit = model.fit(fix=theta)
    assert fit.converged
    assert fit.convergence.iterations == 0
    assert fit.loglik == model.loglik(theta)
    assert fit.n_parameters == 2


def test_fixed_at_zero():
    fit = case("crossed").model.fit(fix={"h": 0.0})
    single = rb.MixedModel("y ~ x + (1 | g)", field(11), weights="w").fit()
    assert fit.loglik == pytest.approx(single.loglik, abs=1e-8)
    assert fit.status[1] == "fixed"


@pytest.mark.parametrize("algorithm", ["auto", "ai", "em", "px-em"])
def test_start_is_where_the_history_starts(algorithm):
    start = {"1 + x | g": [[3.0, 0.5], [0.5, 1.0]], "residual": 2.0}
    fit = case("us2").model.fit(start=start, algorithm=algorithm, max_iterations=1)
    assert fit.history.iloc[0, -4:].tolist() == [3.0, 0.5, 1.0, 2.0]
    assert fit.history["step"][0] == "start"
    assert fit.history["loglik"][0] == pytest.approx(case("us2").model.loglik(start), rel=1e-13)


def test_start_at_the_optimum_needs_no_step():
    model = case("id").model
    fit = model.fit()
    again = model.fit(start=fit.variances)
    assert again.converged
    assert again.convergence.iterations <= 1
    np.testing.assert_allclose(again.theta, fit.theta, rtol=1e-6)


def test_a_step_that_the_likelihood_could_not_tell_is_not_taken():
    """The moments of balanced data are at the maximum: a step from there would give its rounding back, and a row."""
    fit = sleep().fit()
    table = fit.convergence.table.set_index("criterion")
    assert fit.converged and fit.convergence.iterations == 0 and table["passed"].all()
    assert table.loc["log-likelihood change", "meaning"] == "|Δℓ| of the step that would follow"
    assert table.loc["log-likelihood change", "value"] == 0.5 * table.loc["Newton decrement", "value"]
    # The step that was not taken goes where the criteria say: nowhere.
    onwards = sleep().fit(start=fit.variances, algorithm="ai")
    assert abs(onwards.loglik - fit.loglik) < 1e-10
    np.testing.assert_allclose(onwards.theta, fit.theta, rtol=1e-10)
    # Elsewhere the last step is one that was taken.
    slower = rb.MixedModel("Reaction ~ Days + (1 + Days || Subject)", datasets.load("sleepstudy")).fit()
    told = slower.convergence.table.set_index("criterion")
    assert told.loc["parameter change", "meaning"] == "largest relative |Δθ| of the last step"
    assert told.loc["parameter change", "value"] == slower.history["change"].iloc[-1]


def test_a_flat_direction_of_a_search_that_is_not_at_rest_says_both():
    flat = explain(False, ("g", "h"), "stall", ("gradient",))
    assert "cannot tell these components apart: g, h" in flat and flat.endswith("Not met: gradient.")
    assert "Not met" not in explain(False, ("g", "h"), "iterations", ("gradient",), by_design=True)


def test_start_on_the_boundary_can_leave_it():
    fit = case("id").model.fit(start={"g": 0.0, "residual": 3.0})
    assert fit.converged
    assert fit.theta[0] == pytest.approx(case("id").model.fit().theta[0], rel=1e-5)


# -- history -------------------------------------------------------------------------------------


def test_history_columns_and_contents():
    fit = sleep().fit()
    h = fit.history
    term = "1 + Days | Subject"
    documented = ["iteration", "step", "loglik", "delta", "gradient", "halvings", "seconds"]
    assert [c for c in h.columns if c in documented] == documented
    assert list(h.columns[-4:]) == [
        f"{term}: var(Intercept)",
        f"{term}: cov(Intercept, Days)",
        f"{term}: var(Days)",
        "residual",
    ]
    assert h["iteration"].tolist() == list(range(fit.convergence.iterations + 1))
    np.testing.assert_allclose(h["delta"][1:], np.diff(h["loglik"]), atol=1e-12)
    assert np.isnan(h["delta"][0])
    assert (np.diff(h["loglik"]) > -1e-6).all()
    assert h["loglik"].iloc[-1] == pytest.approx(fit.loglik, rel=1e-13)
    np.testing.assert_array_equal(h.iloc[-1, -4:].to_numpy(dtype=float), fit.theta)
    assert (h["seconds"] >= 0).all()


def test_progress_prints_a_line_per_iteration(capsys):
    fit = case("id").model.fit(progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(fit.history)
    assert "logL" in lines[0]
    case("id").model.fit(progress=False)
    assert capsys.readouterr().out == ""


# -- no random terms -----------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_least_squares(method, weights):
    d = field(3)
    fit = rb.MixedModel("y ~ x + z", d, weights=weights).fit(method=method)
    assert fit.converged
    w = d["w"].to_numpy() if weights else np.ones(len(d))
    X, y = np.column_stack([np.ones(len(d)), d["x"], d["z"]]), d["y"].to_numpy()
    XtWX = X.T @ (w[:, None] * X)
    beta = np.linalg.solve(XtWX, X.T @ (w * y))
    rss = w @ (y - X @ beta) ** 2
    df = len(d) - (3 if method == "REML" else 0)
    assert fit.theta[0] == pytest.approx(rss / df, rel=1e-8)
    np.testing.assert_allclose(fit.beta, beta, rtol=1e-9)
    np.testing.assert_allclose(fit.beta_covariance, rss / df * np.linalg.inv(XtWX), rtol=1e-8)
    loglik = -0.5 * (df * np.log(2 * np.pi * rss / df) - np.log(w).sum() + df)
    if method == "REML":
        loglik -= 0.5 * np.linalg.slogdet(XtWX)[1]
    assert fit.loglik == pytest.approx(loglik, rel=1e-10)
    assert fit.random_effects.empty
    assert list(fit.random_effects.columns) == [
        "term",
        "effect",
        "level",
        "estimate",
        "std_error",
        "pev",
        "reliability",
    ]
    # The average information of σ² is rss/(2σ⁶) = df/(2σ⁴).
    assert fit.variance_components["std_error"][0] == pytest.approx(fit.theta[0] * np.sqrt(2 / df), rel=1e-6)


def test_no_fixed_effects_at_all():
    d = field(3)
    d["y"] -= d["y"].mean()
    model = rb.MixedModel("y ~ 0 + (1 | g)", d)
    fit = model.fit()
    assert fit.converged
    assert fit.specification.p == 0
    assert fit.loglik == pytest.approx(model.fit(method="ML").loglik, abs=1e-10)
    assert isinstance(fit.fixed_effects, pd.DataFrame)
    assert len(fit.fixed_effects) == 0


# -- data scales ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_estimates_scale_with_the_response(scale):
    d = datasets.load("sleepstudy")
    model = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", d.assign(Reaction=d["Reaction"] * scale))
    one, other = sleep().fit(), model.fit()
    assert other.converged
    np.testing.assert_allclose(other.theta / scale**2, one.theta, rtol=1e-6)
    assert other.loglik == pytest.approx(one.loglik - one.df_residual * np.log(scale), abs=1e-7)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_estimates_do_not_depend_on_the_units_of_a_covariate(scale):
    d = datasets.load("sleepstudy")
    model = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", d.assign(Days=d["Days"] * scale))
    one, other = sleep().fit(), model.fit()
    assert other.converged
    np.testing.assert_allclose(other.theta * [1, scale, scale**2, 1], one.theta, rtol=1e-5)


def test_a_huge_mean_does_not_move_the_estimates():
    d = datasets.load("sleepstudy")
    far = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", d.assign(Reaction=d["Reaction"] + 1e9)).fit()
    assert far.converged
    np.testing.assert_allclose(far.theta, sleep().fit().theta, rtol=1e-5)


@pytest.mark.parametrize("engine", ["auto", "sparse"])
@pytest.mark.parametrize("seed", [8, 9])
def test_variances_below_zero_that_end_where_v_is_singular_among_the_fixed_effects(seed, engine, monkeypatch):
    """V = σ²I + σ²g ZZ' + σ²h WW' of a balanced table is singular first in the direction of the intercept, which ℓ_R of
    error contrasts does not see: ℓ_R is finite there, and rises beyond."""
    monkeypatch.setattr("remlblup.reml.starts.RECORDS", 0)  # 23 other starts creep to the same edge, a second each
    rng = np.random.default_rng(seed)
    d = pd.DataFrame({"x": rng.normal(size=24), "g": np.repeat(list("abcdef"), 4), "h": np.tile(list("stuv"), 6)})
    d["f"] = rng.choice(list("pqr"), 24)
    d["y"] = d["x"] + rng.normal(size=24)
    with pytest.warns(rb.ConvergenceWarning):
        fit = rb.MixedModel("y ~ x + f + (1 | g) + (1 | h)", d, engine=engine).fit(constrain=False)
    assert not fit.converged
    assert "V is no longer positive definite" in str(fit.convergence)
    g, h, e = fit.theta
    assert 0.0 < (e + 4 * g + 6 * h) / e < 1e-4  # the eigenvalue of the intercept


@pytest.mark.parametrize("constant", [True, 7, 0.3, 2e6])
def test_a_slope_on_a_constant_repeats_the_intercept(constant):
    d = field(3).assign(c=constant)
    fit = rb.MixedModel("y ~ x + (1 + c | g)", d).fit()
    assert not fit.converged
    assert set(fit.convergence.unidentified) == {
        "1 + c | g: var(Intercept)",
        "1 + c | g: cov(Intercept, c)",
        "1 + c | g: var(c)",
    }
    assert fit.loglik == pytest.approx(rb.MixedModel("y ~ x + (1 | g)", d).fit().loglik, abs=1e-6)


def test_slopes_that_repeat_each_other_are_named_without_the_intercept():
    d = field(3).assign(twice=lambda d: 2.0 * d["x"])
    unidentified = rb.MixedModel("y ~ x + (1 + x + twice | g)", d).fit().convergence.unidentified
    assert not {"1 + x + twice | g: var(x)", "1 + x + twice | g: var(twice)"} - set(unidentified)
    assert "1 + x + twice | g: var(Intercept)" not in unidentified


@pytest.mark.parametrize("shift", [0.0, 2000.0, 1e8])
def test_a_slope_far_from_zero_does_not_repeat_the_intercept(shift):
    d = field(3).assign(far=lambda d: d["x"] + shift)
    equations = rb.MixedModel("y ~ x + (1 + far | g)", d)._equations
    assert confounded(equations, np.zeros(equations.spec.parameters.size, dtype=bool)) == ()
