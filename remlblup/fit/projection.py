"""What the equations at hand answer to other records: BLUE and BLUP are linear in y."""

from __future__ import annotations

import numpy as np

from remlblup.equations.mme import MixedModelEquations, Solution
from remlblup.structure.base import Array

# Columns solved at once.
CHUNK = 128


def respond(equations: MixedModelEquations, solution: Solution, V: Array) -> tuple[Array, Array]:
    """Effects (β_work, û) for the columns of V (n, c) as records, shape (m, c), and P V, shape (n, c).

    P V = R⁻¹(V − W C⁻¹W'R⁻¹V), P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹ (Searle, Casella & McCulloch 1992, section 7.6).
    """
    spec = equations.spec
    phi = solution.theta[spec.parameters.slices[-1]]
    full = np.zeros((spec.residual.size, V.shape[1]))
    full[: len(V)] = V
    rhs = equations.to_factor(equations.Wt @ spec.residual.precision(phi, full), solution.factors)
    effects = equations.from_factor(equations.solve_columns(solution, rhs), solution.factors)
    projected = spec.residual.precision(phi, full - equations.W @ effects)
    return effects, projected[: len(V)]
