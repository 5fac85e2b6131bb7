"""The expected information along directions of θ, by solves with the factor at hand.

With the columns E of the unit matrix, some at a time,

    ½ tr (P V̇_a P V̇_b) = ½ Σ ⟨V̇_a P E, P V̇_b E⟩,

for ML with V⁻¹ = P + H (X'V⁻¹X) H', H = V⁻¹X(X'V⁻¹X)⁻¹, in place of P: a solve for each record and direction, and
nothing larger than a block of columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations, columns_at_once
from remlblup.equations.slopes import slope_times

# Records up to which that is done.
RECORDS = 10_000


def expected_by_solves(equations: Equations, theta: Array, directions: Array, ml: bool) -> Array:
    """(c, c) along the columns of `directions` (n_parameters, c)."""
    n, count = equations.spec.n, directions.shape[1]
    solution = equations.solve(theta)
    project = whole(equations, solution) if ml else lambda V: equations.respond(solution, V)[1]
    out, step = np.zeros((count, count)), columns_at_once(equations.m)
    for first in range(0, n, step):
        E = np.eye(n, min(step, n - first), -first)
        left = slope_times(equations, theta, directions, project(E))
        right = slope_times(equations, theta, directions, E)
        for b, moved in enumerate(right):
            out[:, b] += 0.5 * np.tensordot(left, project(moved), 2)
    return 0.5 * (out + out.T)


def whole(equations: Equations, solution: Any) -> Any:
    """V⁻¹ times columns."""
    if not equations.p:
        return lambda V: equations.respond(solution, V)[1]
    parts = list(equations.fixed_responses(solution))
    Phi, H = np.hstack([part[1] for part in parts]), np.hstack([part[2] for part in parts])[: equations.spec.n]
    back = np.linalg.solve(0.5 * (Phi + Phi.T), H.T)
    return lambda V: equations.respond(solution, V)[1] + back.T @ (H.T @ V)
