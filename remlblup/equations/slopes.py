"""V̇ times vectors, V̇ the slope of V along a direction of θ, by any engine and without forming either."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations


def slope_times(equations: Equations, theta: Array, directions: Array, columns: Array) -> Array:
    """V̇_d v of directions d (n_parameters, k) and columns v (n, c), (k, n, c).

    Of the effects Z (Σ̇ ⊗ K) Z'v; of the errors Ṙv = −R (R⁻¹)˙ R v.
    """
    spec = equations.spec
    parts, places = spec.parameters.split(theta), spec.parameters.slices
    n, c = columns.shape
    full = np.zeros((spec.residual.size, c))
    full[:n] = columns
    of_effects = np.zeros((directions.shape[1], equations.W.shape[1], c))
    blocks = equations.term_blocks(equations.Wt @ full)
    for k, (design, block) in enumerate(zip(equations.random, blocks, strict=True)):
        related = design.relate(block).reshape(design.t, -1)
        slopes = np.tensordot(directions[places[k]].T, design.structure.derivatives(parts[k]), 1)
        of_effects[:, equations.of_effects[k]] = (slopes @ related).reshape(len(slopes), -1, c)
    phi, own = parts[-1], directions[places[-1]]
    spread = spec.residual.multiply(phi, full)
    coefficients = own.T @ spec.residual.jacobian(phi)
    out = np.empty((directions.shape[1], n, c))
    for k, rho_dot in enumerate(coefficients):
        of_errors = -spec.residual.multiply(phi, spec.residual.pattern.times(rho_dot, spread))
        out[k] = (equations.W @ of_effects[k] + of_errors)[:n]
    return out
