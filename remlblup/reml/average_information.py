"""The average information matrix from working variates: one solve per parameter, no traces.

AI_ij = ½ f_i'P f_j with the working variate f_i = V̇_i P y (Gilmour, Thompson & Cullis 1995;
Johnson & Thompson 1995). For a parameter of G: f_i = Z (Σ̇_i ⊗ I) h, with h = (I ⊗ K) Z'Py; for one of R: R⁻¹f_i = −Σ_r ρ̇_r D_r ê. And P f = R⁻¹f − R⁻¹W C⁻¹W'R⁻¹f.
"""

from __future__ import annotations

from typing import Any

from remlblup.arrays import Array
from remlblup.equations.base import Equations


def average_information(equations: Equations, solution: Any) -> Array:
    """AI (n_parameters, n_parameters), at a solution with nonsingular Λ (see `score.nudged`)."""
    ai = 0.5 * equations.products(solution, *equations.working_variates(solution))
    return 0.5 * (ai + ai.T)
