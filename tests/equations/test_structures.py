"""Every structure of Σ and of R, on both engines, against dense matrices: ℓ, β̂, û, PEV, var(β̂) and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from equations.structures import NAMES, RESIDUALS, STRUCTURED, case
from remlblup.equations.fixed_errors import variance_derivatives
from remlblup.equations.henderson.errors import fixed_variances, level_covariances
from remlblup.reml.likelihood import log_likelihood
from remlblup.structure.table import STRUCTURES

CLOSE = {"rtol": 1e-8, "atol": 1e-9}
EACH = pytest.mark.parametrize("name", NAMES)
ENGINES = ("dense", "sparse")


def test_every_structure_is_here():
    written = {text.partition("(")[0] for text, *_ in STRUCTURED.values()}
    assert written >= {k for k, cls in STRUCTURES.items() if cls.__module__.startswith("remlblup.")}
    assert len(NAMES) == 2 * len(STRUCTURED) + len(RESIDUALS)


@EACH
def test_likelihood_and_solutions(name):
    c = case(name)
    theta, oracle = c.theta, c.oracle
    loglik = [oracle.loglik(theta, ml) for ml in (True, False)]
    Py = oracle.projection(theta)[2] @ oracle.y
    for engine in ENGINES:
        equations = c.equations(engine)
        found = [log_likelihood(equations, equations.solve(theta, ml=ml), ml) for ml in (True, False)]
        np.testing.assert_allclose(found, loglik, rtol=1e-10)
        solution, p, n = equations.solve(theta), equations.p, equations.spec.n
        np.testing.assert_allclose(solution.effects[:p] + equations.beta_ols, oracle.beta(theta), **CLOSE)
        assert solution.quadratic == pytest.approx(oracle.quadratic(theta), rel=1e-10)
        np.testing.assert_allclose(solution.weighted_residual[:n], Py, **CLOSE)
        # The cells filled in say nothing.
        np.testing.assert_allclose(solution.weighted_residual[n:], 0.0, atol=1e-10)
        blocks, errors = equations.term_blocks(solution.effects), level_covariances(equations, solution)
        for k, (term, u, error) in enumerate(zip(oracle.terms, blocks, errors, strict=True)):
            q = len(term.K)
            np.testing.assert_allclose(u, oracle.u(k, theta), **CLOSE)
            full = oracle.pev(k, theta).reshape(term.t, q, term.t, q)
            np.testing.assert_allclose(error, np.einsum("iljl->lij", full), **CLOSE)


@EACH
def test_variances_of_the_fixed_effects_and_their_derivatives(name):
    if name.startswith("known_singular"):
        pytest.skip("the derivatives are asked for at nonsingular Σ only")
    c = case(name)
    covariance = np.diag(c.oracle.beta_covariance(c.theta))
    expected = c.oracle.beta_variance_derivatives(c.theta)
    for engine in ENGINES:
        equations = c.equations(engine)
        solution = equations.solve(c.theta)
        variance, derivative = variance_derivatives(equations, solution)
        np.testing.assert_allclose(variance, covariance, rtol=1e-9)
        np.testing.assert_allclose(fixed_variances(equations, solution), covariance, rtol=1e-9)
        np.testing.assert_allclose(derivative, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
