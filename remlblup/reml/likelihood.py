"""The REML and ML log-likelihoods, with every constant, and the two other conventions in use."""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import NotPositiveDefiniteError

LOG_2PI = float(np.log(2.0 * np.pi))


def log_likelihood(equations: Equations, solution: Any, ml: bool = False) -> float:
    """The log-likelihood at the solution's variances.

    REML: ℓ = −½[(n−p) log 2π + log|V| + log|X'V⁻¹X| + y'Py] (Harville 1977; X cut to p
    independent columns); ML: ℓ = −½[n log 2π + log|V| + y'Py].
    """
    spec = equations.spec
    freedom = spec.n if ml else spec.n - spec.p
    return -0.5 * (freedom * LOG_2PI + equations.log_determinant(solution, ml) + solution.quadratic)


def likelihood_at(equations: Equations, theta: Array, ml: bool) -> tuple[float, Any | None]:
    """ℓ at θ and the equations solved there; −∞ and None where V is not positive definite."""
    try:
        solution = equations.solve(theta, ml=ml)
    except NotPositiveDefiniteError:
        return -np.inf, None
    value = log_likelihood(equations, solution, ml)
    return (value, solution) if np.isfinite(value) else (-np.inf, None)


def asreml_convention(loglik: float, n: int, p: int) -> float:
    """ℓ without the 2π term, as ASReml, GCTA and WOMBAT print it."""
    return loglik + 0.5 * (n - p) * LOG_2PI


def nlme_convention(loglik: float, logdet_xx: float) -> float:
    """ℓ + ½ log|X'X|: Harville's (1974) restricted likelihood, invariant to the coding of X.

    Older descriptions of nlme give this constant; nlme 3.1-162 itself prints ℓ with all constants.
    """
    return loglik + 0.5 * logdet_xx
