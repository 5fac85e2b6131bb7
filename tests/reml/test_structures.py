"""Every structure of Σ and of R: score, average information and the EM rounds against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from equations.structures import NAMES, case

from remlblup.reml.average_information import average_information
from remlblup.reml.em import em_update, px_em_update
from remlblup.reml.score import score
from remlblup.reml.start import residual_variance, unit_matrices

EACH = pytest.mark.parametrize("name", NAMES)
ENGINES = ("dense", "sparse")
ML = pytest.mark.parametrize("ml", [False, True], ids=["REML", "ML"])


def units_of(equations):
    return unit_matrices(equations, residual_variance(equations))


def score_of(equations, theta, ml: bool):
    return score(equations, equations.solve(theta, ml=ml), units_of(equations), ml)


@EACH
@ML
def test_score_against_the_derivative_of_the_oracle_likelihood(name, ml):
    c = case(name)
    expected = c.oracle.numeric_score(c.theta, ml)
    size = np.sqrt(np.diag(c.oracle.expected_information(c.theta, ml)))
    for engine in ENGINES:
        found = score_of(c.equations(engine), c.theta, ml).gradient
        np.testing.assert_allclose(found / size, expected / size, rtol=1e-8, atol=1e-8)


@EACH
def test_average_information(name):
    c = case(name)
    expected = c.oracle.average_information(c.theta)
    size = np.sqrt(np.diag(expected))
    for engine in ENGINES:
        equations = c.equations(engine)
        found = average_information(equations, score_of(equations, c.theta, False).solution)
        np.testing.assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), rtol=1e-7, atol=1e-8)


@EACH
@ML
@pytest.mark.parametrize("update", [em_update, px_em_update])
def test_a_round_of_em_raises_the_likelihood(name, update, ml):
    c = case(name)
    equations, held = c.equations("dense"), np.zeros(len(c.theta), dtype=bool)
    before = c.oracle.loglik(c.theta, ml)
    new = update(equations, score_of(equations, c.theta, ml), held, units_of(equations))
    assert c.oracle.loglik(new, ml) >= before
