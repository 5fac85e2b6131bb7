"""Mrode (4th ed.) section 17.7: AI-REML and EM by hand on five calves, the figures as printed in the book."""

from __future__ import annotations

import numpy as np
import pytest

import remlblup as rb
from remlblup import datasets

ANIMAL = "vm(animal, A)"
START = {"residual": 0.4, ANIMAL: 0.2}
RESIDUAL = [0.4000, 0.4838, 0.4910, 0.4839, 0.4835, 0.4835]
ADDITIVE = [0.2000, 0.3695, 0.5126, 0.5500, 0.5514, 0.5514]
LOGLIK = [-2.3852, -2.2021, -2.1821, -2.1817]
OPTIMUM = [0.55135558, 0.48351051]  # the zero of the score, from dense matrices


def model() -> rb.MixedModel:
    pedigree = rb.Pedigree.from_frame(datasets.mrode_pedigree())
    return rb.MixedModel(f"gain ~ 0 + sex + (1 | {ANIMAL})", datasets.load("mrode_preweaning"), {"A": pedigree})


def test_average_information_rounds():
    history = model().fit(algorithm="ai", start=START).history
    np.testing.assert_allclose(history["residual"][:6], RESIDUAL, atol=5.01e-5)
    np.testing.assert_allclose(history[ANIMAL][:6], ADDITIVE, atol=5.01e-5)
    assert set(history["step"][1:]) == {"AI"}


def test_log_likelihoods():
    fit = model().fit(algorithm="ai", start=START)
    shift = fit.loglik_asreml - fit.loglik
    printed = np.trunc((fit.history["loglik"][:4] + shift) * 1e4) / 1e4  # the book cuts: −2.18217 is −2.1821
    np.testing.assert_allclose(printed, LOGLIK, rtol=0, atol=1e-9)
    assert model().solve(START).loglik_asreml == pytest.approx(-2.3852, abs=5e-5)


def test_inverse_average_information_at_convergence():
    # The book's figures are those at the estimates as printed, to four decimals.
    equations = model()._equations
    information = equations.average_information(equations.solve(np.array([ADDITIVE[-1], RESIDUAL[-1]])))
    np.testing.assert_allclose(np.linalg.inv(information), [[5.3481, -3.2532], [-3.2532, 2.4436]], atol=5e-5)


def test_first_round_of_em():
    history = model().fit(algorithm="em", start=START, max_iterations=1).history
    assert history[ANIMAL][1] == pytest.approx(0.212463, abs=5e-7)
    assert history["residual"][1] == pytest.approx(0.505663, abs=5e-7)


@pytest.mark.parametrize("algorithm", ["em", "px-em"])
def test_em_climbs_to_the_same_optimum(algorithm):
    fit = model().fit(algorithm=algorithm, start={"residual": 0.45, ANIMAL: 0.6}, tolerance=1e-6)
    assert fit.converged
    assert (np.diff(fit.history["loglik"]) >= -1e-12).all()
    assert fit.loglik_asreml == pytest.approx(-2.181732099, abs=1e-9)
    np.testing.assert_allclose(fit.theta, OPTIMUM, atol=1e-5)


@pytest.mark.parametrize("start", [None, {ANIMAL: 5.0, "residual": 0.01}, {ANIMAL: 1e-4, "residual": 3.0}])
def test_every_start_ends_at_the_optimum(start):
    fit = model().fit(start=start)
    assert fit.converged
    np.testing.assert_allclose(fit.theta, OPTIMUM, atol=1e-6)
