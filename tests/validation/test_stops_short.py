"""Who is right where two answers differ: the excuse "theirs stops short" is earned, and hides no error of ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from remlblup import MixedModel, datasets
from remlblup.validation.answers import Answer, compare_answer
from remlblup.validation.compare import Verdict
from remlblup.validation.standing import VISIBLE, Standing, variances_of


@pytest.mark.parametrize(
    ("standing", "verdict"),
    [
        (Standing(-10.0, -10.0, 0.0, -10.0, True), Verdict.OK),
        (Standing(-10.0, -10.0 - 1e-3, 2e-3, -10.001, True), Verdict.SHORT),
        (Standing(-10.0, -10.0 - 1e-3, 1.0, -10.001, True), Verdict.OK),  # too far for that gain: no excuse
        (Standing(-10.0, -10.0 - 1e-3, 2e-3, -9.5, False), Verdict.OK),  # another likelihood: no excuse
        (Standing(-10.0, -10.0 - 0.5 * VISIBLE, 1e-9, -10.0, True), Verdict.OK),  # not visible: no excuse
        (Standing(-10.0 - 1e-3, -10.0, 2e-3, -10.0, True), Verdict.FAIL),
        (Standing(np.nan, -10.0, 0.0, -10.0, True), Verdict.FAIL),
    ],
)
def test_standing(standing, verdict):
    assert standing.comparison("c").verdict is verdict
    assert standing.theirs_stops_short is (verdict is Verdict.SHORT)


@pytest.fixture(scope="module")
def ours():
    model = MixedModel("Reaction ~ Days + (1 + Days | Subject)", datasets.load("sleepstudy"))
    return model, model.fit(progress=False)


def answer_at(model, fit, factor):
    """What a program says that stopped with its random variances at ours times a factor."""
    table = fit.variance_components
    factor = np.where(table["term"] == "residual", 1.0, factor)
    keys = pd.MultiIndex.from_frame(table[["term", "parameter"]])
    components = pd.Series(table["estimate"].to_numpy() * factor, index=keys)
    there = model.solve(variances_of(components))
    effects = {
        key: pd.Series(t["estimate"].to_numpy(), index=t["level"].astype(str))
        for key, t in there.random_effects.groupby(["term", "effect"])
    }
    fixed = there.fixed_effects
    return Answer("them", components, None, there.loglik, fixed["estimate"], fixed["std_error"], effects)


def verdicts(rows):
    return {r.verdict for r in rows}


def test_the_same_answer_agrees(ours):
    assert verdicts(compare_answer("c", *ours, answer_at(*ours, 1.0))) == {Verdict.OK}


def test_an_answer_before_the_optimum_stops_short(ours):
    rows = compare_answer("c", *ours, answer_at(*ours, 0.97))
    assert Verdict.SHORT in verdicts(rows)
    assert not any(r.failed for r in rows)
    again = [r for r in rows if "at theirs" in r.quantity and r.quantity.startswith(("fixed", "BLUP", "s.e."))]
    assert len(again) == 4  # fixed effects, their errors, intercepts and slopes, compared at their variances
    assert all(r.verdict is Verdict.OK for r in again)


def test_effects_that_are_wrong_at_their_own_variances_fail(ours):
    answer = answer_at(*ours, 0.97)
    key = next(iter(answer.effects))
    wrong = replace(answer, effects={**answer.effects, key: answer.effects[key] * 1.001})
    failed = [r for r in compare_answer("c", *ours, wrong) if r.failed]
    assert [r.quantity.split(" of ")[0] for r in failed] == ["BLUPs at theirs"]


def test_another_likelihood_is_no_excuse(ours):
    answer = answer_at(*ours, 0.97)
    rows = compare_answer("c", *ours, replace(answer, loglik=answer.loglik + 0.01))
    assert Verdict.SHORT not in verdicts(rows)
    assert {r.quantity for r in rows if r.failed} >= {"loglik", "loglik at theirs", "s.e. of fixed effects"}


def test_without_a_reported_loglik_there_is_no_excuse(ours):
    rows = compare_answer("c", *ours, replace(answer_at(*ours, 0.97), loglik=None))
    assert Verdict.SHORT not in verdicts(rows)
    assert any(r.failed for r in rows)


def test_when_ours_is_the_one_that_stops_short_it_fails(ours):
    model, fit = ours
    start = {"1 + Days | Subject": np.diag([9e3, 900.0]), "residual": 90.0}
    early = model.fit(start=start, algorithm="ai", max_iterations=2)
    assert not early.converged
    failed = {r.quantity for r in compare_answer("c", model, early, answer_at(model, fit, 1.0)) if r.failed}
    assert failed >= {"convergence", "loglik at ours | at theirs", "loglik", "residual"}
