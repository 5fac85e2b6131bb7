"""Influence of every engine and structure against the dense definitions without the records, and against refits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from oracle import LOG_2PI

import remlblup as rb
from remlblup.diagnostics.cases import cases_of
from remlblup.diagnostics.influence import Without
from remlblup.diagnostics.one_step import OneStep

from .fits import NAMES, fit_at

CLOSE = {"rtol": 1e-8, "atol": 1e-8}


def without(oracle, V, V_dot, h, ml):
    """β̂, predictions of h and their errors, ℓ, score and AI of the other records, by the definitions."""
    n = len(oracle.y)
    keep = np.setdiff1d(np.arange(n), h)
    X, y = oracle.X, oracle.y
    own = V[np.ix_(keep, keep)]
    inverse = np.linalg.inv(own)
    C = np.linalg.inv(X[keep].T @ inverse @ X[keep])
    beta = C @ X[keep].T @ inverse @ y[keep]
    P = inverse - inverse @ X[keep] @ C @ X[keep].T @ inverse
    across = V[np.ix_(h, keep)]
    prediction = X[h] @ beta + across @ inverse @ (y[keep] - X[keep] @ beta)
    row = X[h] - across @ inverse @ X[keep]
    error = V[np.ix_(h, h)] - across @ inverse @ across.T + row @ C @ row.T
    logdet = np.linalg.slogdet(own)[1] - (0.0 if ml else np.linalg.slogdet(C)[1])
    count = len(keep) - (0 if ml else X.shape[1])
    loglik = -0.5 * (count * LOG_2PI + logdet + y[keep] @ P @ y[keep])
    slopes = [D[np.ix_(keep, keep)] for D in V_dot]
    Py = P @ y[keep]
    trace_of = inverse if ml else P
    score = np.array([-0.5 * (np.sum(trace_of * D) - Py @ D @ Py) for D in slopes])
    F = np.column_stack([D @ Py for D in slopes])
    return beta, prediction, np.sqrt(np.diag(error)), loglik, score, 0.5 * F.T @ P @ F


@pytest.mark.parametrize(("name", "ml"), [*((name, False) for name in NAMES), *((name, True) for name in NAMES[::6])])
def test_exact_parts_and_what_the_step_is_made_of(name, ml):
    fit, oracle, theta = fit_at(name, ml)
    cases = cases_of(fit, None)
    some = [0, len(cases.records) // 2]
    V, V_dot = oracle.V(theta), oracle.V_dot(theta)
    inverse, C, P = oracle.projection(theta)
    products = [(inverse if ml else P) @ D for D in V_dot]
    size = np.sqrt([0.5 * np.sum(a * a.T) for a in products])  # by the expected information
    whole = oracle.loglik(theta, ml)
    level = cases_of(fit, fit.specification.random[0].name)
    for these, numbers in ((cases, some), (level, [int(np.argmin([len(h) for h in level.records]))])):
        step = OneStep(fit)
        seen = []
        step.without = lambda found, root, seen=seen, step=step: (
            seen.extend(step.reduced(found, root)) or np.zeros((len(found), len(theta)))
        )
        left = Without(fit, these, step)
        left.leave_out(numbers)
        turn = fit._optimum.turn(np.eye(len(theta)))  # ∂θ'/∂θ: the step is taken in θ' where effects are turned
        for number, (score, information) in zip(numbers, seen, strict=True):
            score, information = turn.T @ score, turn.T @ information @ turn
            expected = without(oracle, V, V_dot, these.records[number], ml)
            np.testing.assert_allclose(fit.beta + left.beta[number], expected[0], **CLOSE)
            np.testing.assert_allclose(left.predicted[number][0], expected[1], **CLOSE)
            np.testing.assert_allclose(left.predicted[number][1], expected[2], **CLOSE)
            assert left.rows[number, 2] == pytest.approx(expected[3] - whole, abs=1e-8)
            gap = fit._optimum.point.score.solution is not fit._solution  # beside a singular Σ by 1e-10 of its size
            close = 1e-5 if gap else 1e-8
            np.testing.assert_allclose(score / size, expected[4] / size, rtol=close, atol=close)
            np.testing.assert_allclose(
                information / np.outer(size, size), expected[5] / np.outer(size, size), rtol=1e-8, atol=1e-8
            )
            change = expected[0] - fit.beta
            assert left.rows[number, 0] == pytest.approx(change @ np.linalg.solve(C, change) / len(change), abs=1e-8)


@pytest.mark.parametrize("name", ["us2", "us3", "vm_us", "two_us"])
def test_components_of_turned_effects_move_as_those_that_are_not(name):
    turned, plain = (fit_at(f"{kind}: {name}")[0] for kind in ("turned", "model"))
    assert turned._optimum.turned is not None
    assert plain._optimum.turned is None
    one, other = (fit.influence().components.to_numpy() for fit in (turned, plain))
    size = np.abs(other).max(axis=0)
    np.testing.assert_allclose(one / size, other / size, atol=1e-8)


@pytest.fixture(scope="module")
def sleep():
    d = rb.datasets.load("sleepstudy")
    formula = "Reaction ~ Days + (1 + Days | Subject)"
    return d, formula, rb.MixedModel(formula, d).fit(progress=False)


def test_levels_against_refits_without_them(sleep):
    """Exact parts to 1e-8. The step: within an eighth of the furthest change of a component, in standard errors."""
    d, formula, fit = sleep
    found = fit.influence("Subject")
    assert found.what == "1 + Days | Subject" and list(found.table["records"]) == [10] * 18
    error = fit.variance_components["std_error"].to_numpy()
    for number, subject in enumerate(found.table.index):
        if number not in (0, 3, 5, 8):
            continue
        rest = d["Subject"].astype(str) != str(subject)
        model = rb.MixedModel(formula, d[rest])
        held = model.solve(fit.variances)
        np.testing.assert_allclose(found.fixed_effects.loc[subject], held.beta - fit.beta, rtol=1e-8, atol=1e-9)
        predicted = held.predict(d[~rest], new_levels="population")
        own = found.predictions.loc[subject]
        np.testing.assert_allclose(own["prediction"], predicted["prediction"], rtol=1e-8)
        np.testing.assert_allclose(own["std_error"], np.sqrt(predicted["std_error"] ** 2 + fit.theta[-1]), rtol=1e-8)
        assert found.table.loc[subject, "loglik_change"] == pytest.approx(held.loglik - fit.loglik, abs=1e-8)
        ratio = np.linalg.det(held.beta_covariance) / np.linalg.det(fit.beta_covariance)
        assert found.table.loc[subject, "covratio"] == pytest.approx(ratio, rel=1e-8)
        np.testing.assert_allclose(found.random_effects.loc[subject, "estimate_without"], 0.0, atol=1e-9)
        refit = (model.fit(progress=False).theta - fit.theta) / error
        step = found.components.loc[subject].to_numpy() / error
        assert np.max(np.abs(step - refit)) < 0.125 * np.max(np.abs(refit)) + 0.01


def test_a_step_of_a_single_variance_is_the_refit():
    """y'Py/(n − p) of the records that stay: exact, however far away."""
    rng = np.random.default_rng(5)
    d = pd.DataFrame({"x": rng.normal(size=25), "y": rng.normal(size=25)})
    d.loc[4, "y"] = 6.0
    fit = rb.MixedModel("y ~ x", d).fit(progress=False)
    found = fit.influence()
    for record in (4, 11):
        other = rb.MixedModel("y ~ x", d.drop(record)).fit(progress=False)
        assert fit.theta[0] + found.components.loc[record, "residual"] == pytest.approx(other.theta[0], rel=1e-8)
    assert found.table["cooks_distance"].idxmax() == 4 and "hang most on 4 " in found.verdict


def test_an_animal_left_out_is_predicted_by_its_relatives():
    rng = np.random.default_rng(2)
    ids = list(range(1, 31))
    sires, dams = [0] * 8 + [1 + k % 4 for k in range(22)], [0] * 8 + [5 + k % 4 for k in range(22)]
    given = {"A": rb.Pedigree(ids, sires, dams)}
    d = pd.DataFrame({"id": np.repeat(ids, 2)})
    d["y"] = rng.normal(size=30)[d["id"] - 1] + rng.normal(size=60)
    fit = rb.MixedModel("y ~ 1 + (1 | vm(id, A))", d, given).fit(
        fix={"vm(id, A)": 1.0, "residual": 0.8}, progress=False
    )
    found = fit.influence("vm(id, A)", components=False)
    assert found.components.shape == (30, 0) and "components_distance" not in found.table
    for animal in (3, 17, 30):
        held = rb.MixedModel("y ~ 1 + (1 | vm(id, A))", d[d["id"] != animal], given).solve(fit.variances)
        u = held.blup("vm(id, A)").loc[animal].iloc[0]
        rows = found.random_effects.loc[animal]
        assert rows["estimate_without"].iloc[0] == pytest.approx(u, abs=1e-8) and abs(u) > 1e-3
        assert rows["estimate"].iloc[0] == pytest.approx(fit.blup("vm(id, A)").loc[animal].iloc[0], abs=1e-12)


def test_a_component_on_a_boundary_stays_there_and_others_within_their_bounds():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2")).fit(progress=False)
    found = fit.influence("Batch")
    assert np.all(found.components["Batch"] == 0.0) and np.all(fit.theta[1] + found.components["residual"] > 0.0)
    without_a = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2").query("Batch != 'A'"))
    refit = without_a.fit(progress=False)
    assert refit.theta[0] == 0.0
    assert found.components.loc["A", "residual"] == pytest.approx(refit.theta[1] - fit.theta[1], rel=1e-8)


def test_what_is_not_estimable_without_a_case_is_missing_and_said():
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"g": np.repeat(list("abcde"), 4), "y": rng.normal(size=20)})
    d["own"] = np.where(d["g"] == "e", "y", "n")
    fit = rb.MixedModel("y ~ own + (1 | g)", d).fit(fix={"g": 0.5, "residual": 1.0}, progress=False)
    found = fit.influence("g")
    assert found.fixed_effects.loc["e"].isna().all() and found.fixed_effects.drop("e").notna().all(axis=None)
    assert found.table.loc["e", ["cooks_distance", "loglik_change"]].isna().all()
    assert found.predictions.loc["e", "prediction"].isna().all()
    assert "Without 1 of them the fixed effects cannot all be estimated" in found.verdict


def test_by_a_column_and_in_standard_errors(sleep):
    _, _, fit = sleep
    found = fit.influence("Days", components=False)
    assert list(found.table.index) == list(range(10)) and found.random_effects is None
    expected = found.fixed_effects / fit.fixed_effects["std_error"]
    np.testing.assert_allclose(found.standardized, expected)
    assert "levels of 'Days'" in repr(found)


def test_it_is_drawn_with_names(sleep):
    _, _, fit = sleep
    found = fit.influence("Subject")
    left, right = found.plot()
    order = found.table["cooks_distance"].sort_values()
    assert [t.get_text() for t in left.get_yticklabels()] == [f"{name} (10)" for name in order.index]
    np.testing.assert_allclose(left.lines[0].get_xdata(), order)
    error = fit.variance_components["std_error"].to_numpy()
    drawn = {line.get_label(): line.get_xdata() for line in right.lines}
    np.testing.assert_allclose(drawn["residual"], found.components.loc[order.index, "residual"] / error[3])
    (one,) = fit.plot_influence("Days", components=False)
    assert len(one.get_yticklabels()) == 10


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("nobody",), rb.OptionError, "'nobody' is neither a random term .*'1 \\+ Days | Subject'.*nor a column"),
        ((3,), rb.OptionError, "term=3 must be the name"),
        ((None, "yes"), rb.OptionError, "components='yes' must be True or False"),
    ],
)
def test_named_errors(sleep, arguments, error, text):
    with pytest.raises(error, match=text):
        sleep[2].influence(*arguments)


def test_a_level_with_all_records_is_refused():
    d = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "one": "a"})
    fit = rb.MixedModel("y ~ 1", d).fit(progress=False)
    with pytest.raises(rb.ModelError, match="all records belong to 'a' of 'one'"):
        fit.influence("one")


def test_the_verdict_says_where_one_step_is_not_enough():
    rng = np.random.default_rng(8)
    d = pd.DataFrame({"g": np.repeat(list("abcdefgh"), 5), "y": rng.normal(size=40)})
    d.loc[d["g"] == "c", "y"] += 12.0
    found = rb.MixedModel("y ~ 1 + (1 | g)", d).fit().influence("g")
    assert found.table["components_distance"].idxmax() == "c" and found.table["components_distance"].max() > 3.0
    assert "Without 'c' the components move by more than 3 standard errors" in found.verdict
