"""Variances of the fixed effects and how they depend on the variance components, by any engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations

# Effects from which on their pairs are not listed.
MANY = 16


def variance_derivatives(equations: Equations, solution: Any) -> tuple[Array, Array]:
    """var(β̂_j), shape (p,), and its derivatives by θ, shape (p, n_parameters).

    ∂(X'V⁻¹X)⁻¹/∂θ_i = H' V̇_i H with H = V⁻¹X(X'V⁻¹X)⁻¹. The solution must have nonsingular Λ.
    """
    spec = equations.spec
    parts = spec.parameters.split(solution.theta)
    phi = parts[-1]
    rho_dot = spec.residual.jacobian(phi)
    variance, derivative = np.empty(spec.p), np.empty((spec.p, len(solution.theta)))
    for chunk, own, H, RH, columns in equations.fixed_responses(solution):
        variance[chunk] = own[np.arange(chunk.start, chunk.stop), np.arange(chunk.stop - chunk.start)]
        ZtH = equations.Wt @ H
        of_effects, of_factors = equations.term_blocks(ZtH), equations.factor_blocks(columns)
        for k, (design, r, b) in enumerate(zip(equations.random, of_effects, of_factors, strict=True)):
            h = equations.relate(k, solution, r, b)
            shape = (design.t, design.q, own.shape[1])
            place = spec.parameters.slices[k]
            if design.t > MANY:  # Σ̇ never held for all parameters, nor products of all pairs of effects
                changed = design.structure.changes(parts[k], h.reshape(design.t, -1)).reshape(-1, *shape)
                derivative[chunk, place] = np.einsum("iqc,piqc->cp", r.reshape(shape), changed)
                continue
            cross = np.einsum("iqc,jqc->cij", r.reshape(shape), h.reshape(shape))
            derivative[chunk, place] = np.einsum("cij,pij->cp", cross, design.structure.derivatives(parts[k]))
        derivative[chunk, spec.parameters.of_residual] = -(rho_dot @ spec.residual.pattern.moments(RH)).T
    return variance, derivative
