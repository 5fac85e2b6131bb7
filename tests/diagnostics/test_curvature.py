"""Score, informations, correlations of estimates and flat directions: against the dense definitions and in words."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from equations.models import case

import remlblup as rb


@pytest.fixture(scope="module")
def sleep():
    return rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy")).fit(progress=False)


@pytest.fixture(scope="module")
def confounded():
    records = pd.DataFrame({"y": [3.1, 4.0, 2.2, 5.3, 4.4, 3.9], "plot": range(6)})
    with pytest.warns(rb.ConvergenceWarning):
        return rb.MixedModel("y ~ 1 + (1 | plot)", records).fit(progress=False)


@pytest.mark.parametrize("name", ["us2", "diag2", "vm_us"])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_informations_and_score_are_those_of_the_definitions(name, method):
    one = case(name)
    fit = one.model.fit(method, progress=False)
    assert fit.converged and set(fit.status) == {"free"}
    columns = list(fit.specification.parameters.columns)
    size = np.sqrt(np.diag(one.oracle.expected_information(fit.theta, method == "ML")))
    scale = np.outer(size, size)
    expected = fit.information("expected")
    assert list(expected.index) == list(expected.columns) == columns
    np.testing.assert_allclose(
        expected / scale, one.oracle.expected_information(fit.theta, method == "ML") / scale, atol=1e-8
    )
    np.testing.assert_allclose(fit.information() / scale, one.oracle.average_information(fit.theta) / scale, atol=1e-8)
    h = 1e-4 / size
    slopes = np.array(
        [
            (one.oracle.score(fit.theta + step, method == "ML") - one.oracle.score(fit.theta - step, method == "ML"))
            / (2.0 * h[k])
            for k, step in enumerate(np.diag(h))
        ]
    )
    np.testing.assert_allclose(fit.information("observed") / scale, -slopes / scale, atol=2e-6)
    score = fit.score
    assert list(score.index) == columns
    np.testing.assert_allclose(score / size, one.oracle.score(fit.theta, method == "ML") / size, atol=1e-7)


def test_what_cannot_move_has_no_observed_information():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2")).fit(progress=False)
    assert fit.status == ("boundary", "free")
    observed = fit.information("observed")
    assert observed.loc["Batch"].isna().all() and observed.loc["residual", "residual"] > 0.0
    assert fit.score["Batch"] < 0.0  # outward
    n, p = 30, 1
    assert observed.loc["residual", "residual"] == pytest.approx((n - p) / (2.0 * fit.theta[1] ** 2), rel=1e-6)


def test_correlations_of_estimates_and_the_strong_ones_in_words(sleep):
    table, covariance = sleep.correlation_of_estimates, sleep.variance_covariance
    size = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(table, covariance / np.outer(size, size), atol=1e-12)
    assert table.attrs["confounded"] == [] and table.note == ""
    rng = np.random.default_rng(3)
    # Two records on few levels: hardly any to tell the variance of a level from that of a record.
    d = pd.DataFrame({"g": [*range(200), 0], "y": rng.normal(size=201)})
    d.loc[200, "y"] = d.loc[0, "y"] + 1.0
    fit = rb.MixedModel("y ~ 1 + (1 | g)", d).fit(progress=False)
    assert set(fit.status) == {"free"}
    pairs = fit.correlation_of_estimates.attrs["confounded"]
    assert [pair[:2] for pair in pairs] == [("g", "residual")] and pairs[0][2] < -0.9
    assert "the data tell their sum better than each" in repr(fit.correlation_of_estimates)


def test_a_confounded_model_says_what_is_flat(confounded):
    table = confounded.correlation_of_estimates
    assert table.isna().all(axis=None)
    assert "'plot', 'residual' move together: the data cannot tell them apart" in table.note
    with pytest.raises(rb.ModelError, match="flat in a direction of 'plot', 'residual'"):
        confounded.information("observed")
    assert confounded.information().shape == (2, 2)


def test_a_flat_direction_is_one_along_which_the_likelihood_stays(confounded):
    direction = confounded.flat_direction()
    assert direction.flat and set(direction.change.index) == {"plot", "residual"}
    assert direction.change["plot"] == pytest.approx(-direction.change["residual"], rel=1e-9)
    table = direction.table
    model = rb.MixedModel("y ~ 1 + (1 | plot)", confounded.specification.records.frame)
    for row in table.iloc[[1, 10, -2]].itertuples(index=False):
        assert row.loglik == pytest.approx(model.loglik({"plot": row.plot, "residual": row.residual}), abs=1e-9)
    assert table["below"].abs().max() < 1e-9
    assert table["plot"].min() == pytest.approx(0.0, abs=1e-12) and np.ptp(table["plot"]) > 0.5
    assert direction.verdict.startswith("The likelihood is the same along this line: '")
    assert "'plot' goes from" in direction.verdict and "'residual' goes from" in direction.verdict


def test_without_a_flat_direction_it_is_the_one_with_least_information(sleep):
    direction = sleep.flat_direction()
    assert not direction.flat and "say least about this one" in str(direction)
    d = np.zeros(4)
    d[[list(sleep.history.columns[-4:]).index(name) for name in direction.change.index]] = direction.change
    scaled = d / np.sqrt(np.diag(np.linalg.inv(sleep.information())))
    # A step is one standard error: the information along it is 1 but for what has been left out.
    assert d @ sleep.information().to_numpy() @ d == pytest.approx(1.0, rel=0.05)
    assert np.abs(scaled).max() > 0.5
    assert direction.table.loc[direction.table["step"] == 0.0, "below"].iloc[0] == pytest.approx(0.0, abs=1e-9)


def test_named_errors(sleep):
    with pytest.raises(rb.OptionError, match="kind='fisher' is not known"):
        sleep.information("fisher")
    held = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff")).fit(
        fix={"Batch": 1.0, "residual": 2.0}, progress=False
    )
    with pytest.raises(rb.ModelError, match="no parameter of this fit is free to move"):
        held.flat_direction()
    assert held.correlation_of_estimates.isna().all(axis=None)


def test_a_direction_that_reaches_a_residual_variance_of_zero_warns_of_nothing():
    rng = np.random.default_rng(5)
    d = pd.DataFrame({"y": rng.normal(size=30), "unit": np.arange(30), "g": np.repeat(list("abcdef"), 5)})
    with pytest.warns(rb.ConvergenceWarning):
        fit = rb.MixedModel("y ~ 1 + (1 | unit) + (1 | g)", d).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert fit.flat_direction().flat
