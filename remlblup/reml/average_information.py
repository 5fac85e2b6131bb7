"""The average information matrix from working variates: one solve per parameter, no traces.

AI_ij = ½ f_i'P f_j with the working variate f_i = V̇_i P y (Gilmour, Thompson & Cullis 1995;
Johnson & Thompson 1995). For a parameter of G: f_i = Z (Σ̇_i ⊗ I) h, with h = (I ⊗ K) Z'Py; for one of R: R⁻¹f_i = −Σ_r ρ̇_r D_r ê. And P f = R⁻¹f − R⁻¹W C⁻¹W'R⁻¹f.
"""

from __future__ import annotations

import numpy as np

from remlblup.equations.mme import MixedModelEquations, Solution
from remlblup.structure.base import Array


def average_information(equations: MixedModelEquations, solution: Solution) -> Array:
    """AI (n_parameters, n_parameters), at a solution with nonsingular Λ (see `score.nudged`)."""
    spec = equations.spec
    phi = solution.theta[spec.parameters.slices[-1]]
    n_random = spec.parameters.slices[-1].start
    shape = (len(solution.residual), len(solution.theta))
    variates, weighted = np.empty(shape, order="F"), np.empty(shape, order="F")
    variates[:, :n_random] = equations.W @ working_effects(equations, solution)
    weighted[:, :n_random] = spec.residual.precision(phi, variates[:, :n_random])
    for column, rho_dot in enumerate(spec.residual.jacobian(phi), start=n_random):
        weighted[:, column] = -spec.residual.pattern.times(rho_dot, solution.residual)
    variates[:, n_random:] = spec.residual.multiply(phi, weighted[:, n_random:])
    columns = equations.to_factor(equations.Wt @ weighted, solution.factors)
    ai = 0.5 * (variates.T @ weighted - columns.T @ equations.solve_columns(solution, columns))
    return 0.5 * (ai + ai.T)


def working_effects(equations: MixedModelEquations, solution: Solution) -> Array:
    """(Σ̇_i ⊗ I) h of every parameter of G, as columns over the effects of W: (m, n_parameters of G)."""
    spec = equations.spec
    places, parts = spec.parameters.slices, spec.parameters.split(solution.theta)
    out = np.zeros((len(solution.effects), places[-1].start))
    scores, solved = equations.term_blocks(equations.effect_scores(solution)), equations.factor_blocks(solution.b)
    for k, (design, r, b) in enumerate(zip(spec.random, scores, solved, strict=True)):
        h = equations.relate(k, solution, r, b)
        variates = design.structure.derivatives(parts[k]).reshape(-1, design.t) @ h
        out[equations.of_effects[k], places[k]] = variates.reshape(-1, design.t * design.q).T
    return out
