"""Every structure of Σ and of R, on both engines, against dense matrices: ℓ, β̂, û, PEV, var(β̂) and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from equations.structures import NAMES, RESIDUALS, STRUCTURED, case

from remlblup.equations.prediction_error import fixed_variances, level_covariances, variance_derivatives
from remlblup.reml.likelihood import log_likelihood
from remlblup.structure.table import STRUCTURES

CLOSE = {"rtol": 1e-8, "atol": 1e-9}
EACH = pytest.mark.parametrize("name", NAMES)
ENGINES = pytest.mark.parametrize("engine", ["dense", "sparse"])


def test_every_structure_is_here():
    written = {text.partition("(")[0] for text, *_ in STRUCTURED.values()}
    assert written >= {k for k, cls in STRUCTURES.items() if cls.__module__.startswith("remlblup.")}
    assert len(NAMES) == 2 * len(STRUCTURED) + len(RESIDUALS)


@EACH
@ENGINES
def test_likelihood_and_solutions(name, engine):
    c = case(name)
    equations, theta, oracle = c.equations(engine), c.theta, c.oracle
    for ml in (True, False):
        solution = equations.solve(theta, ml=ml)
        assert log_likelihood(equations, solution, ml) == pytest.approx(oracle.loglik(theta, ml), rel=1e-10)
    p, n = equations.p, equations.spec.n
    beta = solution.effects[:p] + equations.beta_ols
    np.testing.assert_allclose(beta, oracle.beta(theta), **CLOSE)
    Py = oracle.projection(theta)[2] @ oracle.y
    assert solution.quadratic == pytest.approx(oracle.quadratic(theta), rel=1e-10)
    np.testing.assert_allclose(solution.weighted_residual[:n], Py, **CLOSE)
    np.testing.assert_allclose(solution.weighted_residual[n:], 0.0, atol=1e-10)  # the cells filled in say nothing
    error = level_covariances(equations, solution)
    for k, (term, u) in enumerate(zip(oracle.terms, equations.term_blocks(solution.effects[:m_of(equations)]), strict=True)):
        np.testing.assert_allclose(u, oracle.u(k, theta), **CLOSE)
        q = len(term.K)
        full = oracle.pev(k, theta).reshape(term.t, q, term.t, q)
        np.testing.assert_allclose(error[k], np.einsum("iljl->lij", full), **CLOSE)


def m_of(equations) -> int:
    """Columns of X and Z, without the cells filled in."""
    return equations.W.shape[1] - equations.residual.n_filled


@EACH
@ENGINES
def test_variances_of_the_fixed_effects_and_their_derivatives(name, engine):
    if name.startswith("known_singular"):
        pytest.skip("the derivatives are asked for at nonsingular Σ only")
    c = case(name)
    equations = c.equations(engine)
    solution = equations.solve(c.theta)
    variance, derivative = variance_derivatives(equations, solution)
    covariance = np.diag(c.oracle.beta_covariance(c.theta))
    np.testing.assert_allclose(variance, covariance, rtol=1e-9)
    np.testing.assert_allclose(fixed_variances(equations, solution), covariance, rtol=1e-9)
    expected = c.oracle.beta_variance_derivatives(c.theta)
    np.testing.assert_allclose(derivative, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
