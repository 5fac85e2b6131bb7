"""Variances of the fixed effects and how they depend on the variance components, by any engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.arrays import Array, chunks_of
from remlblup.equations.base import Equations
from remlblup.linalg.threads import side_by_side

# Fixed effects whose columns of C⁻¹ are looked at together: few enough to stay in the cache.
TOGETHER = 32


def variance_derivatives(equations: Equations, solution: Any) -> tuple[Array, Array]:
    """var(β̂_j), shape (p,), and its derivatives by θ, shape (p, n_parameters).

    ∂(X'V⁻¹X)⁻¹/∂θ_i = H' V̇_i H with H = V⁻¹X(X'V⁻¹X)⁻¹. The solution must have nonsingular Λ.
    """
    spec = equations.spec
    *parts, phi = spec.parameters.split(solution.theta)
    rho_dot = spec.residual.jacobian(phi)
    variance, derivative = np.empty(spec.p), np.empty((spec.p, len(solution.theta)))
    equations.require(solution)

    def take(chunk: slice) -> None:
        variance[chunk], of_terms, moments = equations.fixed_products(solution, chunk)
        for design, theta, products, place in zip(spec.random, parts, of_terms, spec.parameters.of_terms, strict=True):
            derivative[chunk, place] = design.structure.scores(theta, products)
        derivative[chunk, spec.parameters.of_residual] = -(rho_dot @ moments).T

    side_by_side(take, [(chunk,) for chunk in chunks_of(spec.p, TOGETHER)])
    return variance, derivative
