"""What is told of estimates does not hang on the units of the response or of a covariate: information matrices are
inverted in units of their own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.crosschecking.judge.evaluation import evaluate, model_of
from remlblup.datasets import load as dataset

DAY = 86400.0
#: Powers of the unit of Days in the variance components of a random slope.
POWERS = np.array([0.0, 1.0, 2.0, 0.0])


@pytest.fixture(scope="module", params=[1e-3, DAY, 1e3 * DAY])
def slopes(request):
    """Fits of sleepstudy with Days in days and in another unit, and the factors of the components."""
    d = dataset("sleepstudy")
    formula = "Reaction ~ Days + (1 + Days | Subject)"
    one, other = (
        rb.MixedModel(formula, d.assign(Days=d["Days"] * unit)).fit(starts=1) for unit in (1.0, request.param)
    )
    return one, other, request.param**POWERS


def test_accelerations(slopes):
    one, other, _ = slopes
    a, b = (f.bootstrap(2, seed=1, progress=False).acceleration.to_numpy() for f in (one, other))
    np.testing.assert_allclose(b[:4], a[:4], rtol=1e-5)


@pytest.mark.parametrize("kind", ["observed", "expected", "average"])
def test_information(slopes, kind):
    one, other, factors = slopes
    a, b = one.information(kind).to_numpy(), other.information(kind).to_numpy()
    np.testing.assert_allclose(b / np.outer(factors, factors), a, rtol=2e-3, atol=1e-6 * np.abs(a).min())


def test_one_step(slopes):
    one, other, factors = slopes
    a, b = (f.influence("Subject", progress=False).components.to_numpy() for f in (one, other))
    assert np.all(np.abs(b * factors - a) < 1e-4 * np.abs(a).max(axis=0))


def test_predictions_without_a_level_of_traits_in_unlike_units():
    rng = np.random.default_rng(2)
    d = pd.DataFrame({"g": np.repeat([f"g{i}" for i in range(12)], 4)})
    u = rng.normal(size=12).repeat(4)
    d["a"], d["b"] = u + rng.normal(size=48), u + rng.normal(size=48)
    errors = []
    for unit in (1.0, 1e8):
        model = rb.MixedModel(
            "c(a, b) ~ trait + us(trait | g)", d.assign(b=d["b"] * unit), residual="us(trait | units)"
        )
        errors.append(model.fit(starts=1).influence("g", progress=False).predictions["std_error"].to_numpy())
    ratio = errors[1] / errors[0]
    assert np.allclose(np.minimum(np.abs(ratio - 1.0), np.abs(ratio / 1e8 - 1.0)), 0.0, atol=1e-4)


def test_what_a_step_would_gain(slopes):
    one, other, factors = slopes
    there = one.theta * np.array([1.0, 1.0, 1.5, 1.0])
    gains = [
        evaluate(model_of(f), theta, "REML").expected_gain for f, theta in ((one, there), (other, there / factors))
    ]
    assert gains[1] == pytest.approx(gains[0], rel=1e-6) and gains[0] > 0.3
