"""Steps in the precisions of the strata: in balanced data the first one lands on the maximum."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.reml.newton import Newton
from remlblup.reml.secant import Secant


def nested() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    a, b, _ = (each.ravel() for each in np.indices((12, 5, 4)))
    y = 2.0 * rng.normal(size=12)[a] + rng.normal(size=(12, 5))[a, b] + rng.normal(size=len(a))
    return pd.DataFrame({"a": a, "b": b, "y": y})


def load(name: str) -> pd.DataFrame:
    return nested() if name == "nested" else rb.datasets.load(name)


BALANCED = [
    ("dyestuff", "Yield ~ 1 + (1 | Batch)"),
    ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    ("nested", "y ~ 1 + (1 | a/b)"),
    ("sleepstudy", "Reaction ~ Days + (1 + Days | Subject)"),
]


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize(("name", "formula"), BALANCED)
def test_the_first_step_lands_on_the_maximum_of_balanced_data(name, formula, method, monkeypatch):
    monkeypatch.setattr("remlblup.reml.loop.closed_form", lambda space: None)  # which is there already
    fit = rb.MixedModel(formula, load(name)).fit(method)
    assert fit.converged and fit.history["step"][1] == "strata"
    # The mean is estimated in a stratum of its own, of which ML does not free the others where terms cross.
    if method == "REML" or name != "penicillin":
        assert fit.history["gradient"][1] < 1e-9
        assert len(fit.history) <= 3  # the second step, if any, is one within rounding


def test_it_lands_there_from_other_starts_too():
    model = rb.MixedModel("y ~ 1 + (1 | a/b)", nested())
    maximum = model.fit(algorithm="ai")
    start = {
        term: factor * maximum.variances[term] for term, factor in zip(maximum.variances, (3, 0.5, 2), strict=True)
    }
    fit = model.fit(start=start)
    assert fit.history["gradient"][1] < 1e-9 < maximum.history["gradient"][1]
    np.testing.assert_allclose(fit.theta, maximum.theta, rtol=1e-7)


def test_a_negative_variance_is_reached_in_one_step_where_it_may_be_one():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2")).fit(constrain=False)
    between, within = fit.theta[0] * 5 + fit.theta[1], fit.theta[1]
    assert fit.theta[0] < 0.0 and between > 0.0 and within > between
    assert fit.history["step"][1] == "strata" and fit.history["gradient"][1] < 1e-9


def test_the_first_step_goes_no_further_than_to_a_tenth():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2")).fit()
    assert fit.converged and fit.theta[0] == 0.0
    steps, batch = fit.history["step"], fit.history["Batch"]
    assert steps[1] == "strata" and batch[1] == pytest.approx(0.1 * batch[0])
    assert "strata" not in list(steps[batch == 0.0][:1])  # the bound itself is reached by AI


def test_held_values_stay_and_the_rest_lands_on_its_maximum():
    fit = rb.MixedModel("y ~ 1 + (1 | a/b)", nested()).fit(fix={"residual": 1.3})
    assert fit.converged and fit.history["step"][1] == "strata"
    assert (fit.history["residual"] == 1.3).all() and fit.history["gradient"][1] < 1e-9


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | vm(id, A))", "y ~ 1 + ar1(time | g)"])
def test_no_strata_without_records_left_for_the_residual_nor_with_correlations(formula):
    rng = np.random.default_rng(5)
    time, g = (each.ravel() for each in np.indices((5, 12)))
    d = pd.DataFrame({"id": np.arange(60) + 1, "time": time, "g": g})
    d["y"] = rng.normal(size=12)[g] + rng.normal(size=60)
    parents = [0] * 12 + list(range(1, 49))
    A = rb.Pedigree(d["id"], parents, [0] * 60)
    fit = rb.MixedModel(formula, d, {"A": A}).fit()
    assert not fit.history["step"].str.startswith("strata").any()


def test_unbalanced_crossed_factors_take_few_iterations():
    rng = np.random.default_rng(11)
    s, d = rng.integers(0, 120, 2000), rng.integers(0, 60, 2000)
    y = 0.3 * rng.normal(size=120)[s] + 0.5 * rng.normal(size=60)[d] + 1.2 * rng.normal(size=2000)
    fit = rb.MixedModel("y ~ 1 + (1 | s) + (1 | d)", pd.DataFrame({"s": s, "d": d, "y": y})).fit()
    assert fit.converged and len(fit.history) - 1 <= 5


def test_the_secant_learns_what_the_model_misses_not_how_it_changes():
    # ℓ' = −(2 + .25) x − 1.5 x², of which the model knows the curvature but for .25.
    def model(x):
        slope, curvature = -2.25 * x - 1.5 * x**2, 2.0 + 3.0 * x
        free, plain = np.ones(1, dtype=bool), np.arange(1)
        return Newton(np.array([slope]), np.array([[curvature]]), free, {}, plain, np.array([x]))

    secant = Secant()
    secant.learn(model(0.1), 0.05)
    assert secant.corrected() is None
    secant.learn(model(0.02), 0.001)
    np.testing.assert_allclose(secant.correction, [[0.25]], rtol=1e-10)
    np.testing.assert_allclose(secant.corrected().hessian, [[2.31]], rtol=1e-10)
