"""How fast the spread of an estimate grows with what it estimates: the acceleration of BCa intervals (Efron 1987).

A sixth of the skewness of the score in the least favourable direction. With U_i = ½ (y'PV̇_iPy − tr PV̇_i), F its
covariance, δ = F⁻¹∇g and V̇ = Σ δ_i V̇_i (all at θ̂),

    κ₂ = ½ tr (PV̇)² = δ'Fδ,   κ₃ = tr (PV̇)³,   a = κ₃ / (6 κ₂^{3/2})

(Efron 1987, J. Am. Stat. Assoc. 82:171; DiCiccio & Efron 1992, Biometrika 79:231). a depends neither on how θ nor on
how g is written. From V itself for few records; beyond, U of drawn records, and the moments of these.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.slopes import slope_times
from remlblup.equations.variance.expected_information import ExpectedInformation
from remlblup.errors import ModelError, NotPositiveDefiniteError
from remlblup.fit.estimates import Estimates
from remlblup.inference.resampling.simulate import Simulator, batches, seeds
from remlblup.linalg.scaled_solve import scaled_inverse

# Records up to which PV̇ is held as a matrix.
RECORDS = 1000
# Draws of the score beyond: a sixth of the skewness is known to ±.01.
DRAWS = 2000


def accelerations(fit: Estimates, gradients: Array, seed: int) -> Array:
    """a of functions with these slopes by θ (k, n_parameters); zero of those without (fixed effects, whose score is
    symmetric), NaN where the score has no moments."""
    out = np.zeros(len(gradients))
    free = np.array([status != "fixed" for status in fit.status])
    asked = np.flatnonzero(np.any(gradients[:, free] != 0.0, axis=1))
    gradients = fit._optimum.turned_slopes(gradients)
    if not len(asked):
        return out
    if fit.specification.n <= RECORDS:
        out[asked] = of_matrices(fit, gradients[asked], free)
    else:
        out[asked] = of_draws(drawn_scores(fit, seed)[:, free], gradients[asked][:, free])
    return out


def of_matrices(fit: Estimates, gradients: Array, free: np.ndarray) -> Array:
    """By traces."""
    try:
        optimum = fit._optimum.precise
        expected = ExpectedInformation(optimum.equations.spec, False)
        weighted = [A for A, own in zip(expected.weighted(optimum.point.theta, False), free, strict=True) if own]
        F = expected.of(weighted)
    except (NotPositiveDefiniteError, ModelError):
        return np.full(len(gradients), np.nan)
    directions = gradients[:, free] @ scaled_inverse(F)
    third = []
    for direction in directions:
        A = np.tensordot(direction, weighted, 1)
        third.append(np.sum((A @ A) * A.T))
    return skewness(np.einsum("ki,ij,kj->k", directions, F, directions), np.array(third))


def of_draws(scores: Array, gradients: Array) -> Array:
    """By the moments of scores (draws, n_parameters)."""
    scores = scores - scores.mean(axis=0)
    F = scores.T @ scores / len(scores)
    along = scores @ (gradients @ scaled_inverse(F)).T
    return skewness(np.mean(along**2, axis=0), np.mean(along**3, axis=0))


def skewness(second: Array, third: Array) -> Array:
    """A sixth of κ₃/κ₂^{3/2}."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(third / (6.0 * second**1.5))


def drawn_scores(fit: Estimates, seed: int) -> Array:
    """½ y'PV̇_iPy of records drawn at θ̂, (DRAWS, n_parameters)."""
    equations, solution = fit._optimum.precise.searched, fit._optimum.precise.point.score.solution
    simulator = Simulator(fit.specification, fit.beta, fit.theta)
    out = []
    for part in batches(DRAWS, fit.specification.n):
        drawn = simulator.draw(seeds(seed, part)) - simulator.mean[:, None]
        out.append(0.5 * quadratics(equations, solution.theta, equations.respond(solution, drawn)[1]))
    return np.vstack(out)


def quadratics(equations: Equations, theta: Array, W: Array) -> Array:
    """w'V̇_iw of the columns of W (n, c), (c, n_parameters)."""
    return np.einsum("nc,inc->ci", W, slope_times(equations, theta, np.eye(len(theta)), W), optimize=True)
