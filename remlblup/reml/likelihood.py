"""The REML and ML log-likelihoods, with every constant, and the two other conventions in use."""

from __future__ import annotations

import numpy as np

from remlblup.equations.mme import MixedModelEquations, Solution

LOG_2PI = float(np.log(2.0 * np.pi))


def log_likelihood(equations: MixedModelEquations, solution: Solution, ml: bool = False) -> float:
    """The log-likelihood at the solution's variances.

    REML: ℓ = −½[(n−p) log 2π + log|V| + log|X'V⁻¹X| + y'Py] (Harville 1977; X cut to p
    independent columns); ML: ℓ = −½[n log 2π + log|V| + y'Py]. The log-determinants come from
    log|C| in factor form (see `remlblup.equations.mme`).
    """
    spec = equations.spec
    phi = solution.theta[spec.parameters.slices[-1]]
    common = spec.residual.logdet(phi) + equations.log_k + solution.quadratic
    if ml:
        assert solution.logdet_random is not None
        return -0.5 * (spec.n * LOG_2PI + common + solution.logdet_random)
    logdet = solution.logdet - 2.0 * spec.fixed.logdet_transform
    return -0.5 * ((spec.n - spec.p) * LOG_2PI + common + logdet)


def asreml_convention(loglik: float, n: int, p: int) -> float:
    """ℓ without the 2π term, as ASReml, GCTA and WOMBAT print it."""
    return loglik + 0.5 * (n - p) * LOG_2PI


def nlme_convention(loglik: float, logdet_xx: float) -> float:
    """ℓ + ½ log|X'X|: Harville's (1974) restricted likelihood, invariant to the coding of X.

    Older descriptions of nlme give this constant; nlme 3.1-162 itself prints ℓ with all constants.
    """
    return loglik + 0.5 * logdet_xx
