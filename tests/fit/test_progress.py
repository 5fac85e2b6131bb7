"""What a fit tells while it runs: `callback=`, and the logger."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import remlblup as rb


@pytest.fixture(scope="module")
def model():
    return rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff"))


def test_a_callback_is_told_every_row_of_the_history(model):
    rows = []
    fit = model.fit(callback=rows.append, progress=False)
    assert [row.iteration for row in rows] == list(fit.history["iteration"])
    assert [row.step for row in rows] == list(fit.history["step"]) and rows[0].step == "moments"
    np.testing.assert_array_equal([row.loglik for row in rows], fit.history["loglik"])
    np.testing.assert_array_equal([row.theta for row in rows], fit.history[["Batch", "residual"]])
    assert all(row.seconds >= 0.0 and row.gradient >= 0.0 for row in rows)


def test_a_callback_stops_a_fit_as_a_ctrl_c_does(model):
    def stop(row):
        if row.iteration == 1:
            raise KeyboardInterrupt

    with pytest.raises(rb.FitInterrupted) as caught:
        model.fit(start={"Batch": 10.0}, callback=stop, progress=False)
    assert len(caught.value.fit.history) == 2 and caught.value.fit.convergence.status == "interrupted"


def test_what_a_callback_raises_comes_out(model):
    with pytest.raises(ZeroDivisionError):
        model.fit(callback=lambda row: 1 / 0, progress=False)


def test_the_log_holds_rows_and_the_verdict(model, caplog):
    with caplog.at_level(logging.DEBUG, logger="remlblup"):
        fit = model.fit(progress=False)
    rows = [r for r in caplog.records if r.levelno == logging.DEBUG]
    assert len(rows) == len(fit.history) and f"{fit.loglik:.6f}" in rows[-1].message
    (verdict,) = (r for r in caplog.records if r.levelno == logging.INFO)
    assert str(fit.convergence) in verdict.message and "Batch" in verdict.message
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="remlblup"), pytest.warns(rb.ConvergenceWarning):
        model.fit(max_iterations=1, algorithm="ai", progress=False)
    (told,) = caplog.records
    assert told.levelno == logging.WARNING and "NOT CONVERGED" in told.message


def test_a_callback_must_be_callable(model):
    with pytest.raises(rb.OptionError, match="callback='print' must be a function"):
        model.fit(callback="print")
