"""A generalised M step of a residual structure: one scoring step that never lowers the expected log-likelihood."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import NotPositiveDefiniteError
from remlblup.structure.residual.base import ResidualStructure

# A step is halved at most this often before φ stays where it is.
HALVINGS = 40


def expected_loglik(structure: ResidualStructure, phi: Array, moments: Array) -> float:
    """E[log p(e | φ)] up to a constant, −½(log|R| + Σ_r ρ_r E[e'D_r e]); −inf where R is not positive definite."""
    inside = np.all((phi > structure.lower) & (phi < structure.upper))
    if not inside or not structure.feasible(phi):
        return -np.inf
    try:
        return -0.5 * (structure.logdet(phi) + float(structure.coefficients(phi) @ moments))
    except NotPositiveDefiniteError:
        return -np.inf


def scoring_step(structure: ResidualStructure, phi: Array, moments: Array) -> Array:
    """I⁻¹ times the score; zero along a direction without information (two effects never seen on one unit)."""
    score = structure.score(phi, moments)
    information = structure.information(phi)
    size = np.sqrt(np.diag(information))
    size = np.where(size > 0.0, size, 1.0)
    return np.linalg.lstsq(information / np.outer(size, size), score / size, rcond=1e-12)[0] / size


def ascend(
    structure: ResidualStructure,
    phi: Array,
    moments: Array,
    fallback: Callable[[Array, Array], Array] | None = None,
) -> Array:
    """φ after a scoring step that raises the expected log-likelihood: the full step, else `fallback`,
    else a shorter one."""
    here = expected_loglik(structure, phi, moments)
    step = scoring_step(structure, phi, moments)
    if expected_loglik(structure, phi + step, moments) >= here:
        return phi + step
    if fallback is not None:
        return fallback(phi, moments)
    for _ in range(HALVINGS):
        step = 0.5 * step
        if expected_loglik(structure, phi + step, moments) >= here:
            return phi + step
    return phi
