"""The average information from W'R⁻¹W: without a vector over the records for any parameter of G.

The working variates are F = [WE  F_R], E = (Σ̇_i ⊗ I)h of the parameters of G (`Equations.working_effects`) and
R⁻¹F_R = −Σ_r ρ̇_r D_r ê of those of R. With M = W'R⁻¹W and A = W'R⁻¹F = [ME  W'R⁻¹F_R],

    2 AI = F'PF = F'R⁻¹F − A'C⁻¹A,    F'R⁻¹F = [ E'A_G         E'A_R      ]
                                              [ A_R'E    F_R'R⁻¹F_R       ]

(C⁻¹ in factor form: T'A in the place of A).
"""

from __future__ import annotations

import time

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.henderson.system import Solution, System


def average_information(equations: System, solution: Solution) -> Array:
    """AI (n_parameters, n_parameters)."""
    of, information = solution.kept.get("information", (None, None))
    if of is not equations.spec:
        E = equations.working_effects(solution)
        k = E.shape[1]
        A, corner = products_with(equations, solution, E)
        across = E.T @ A
        del E
        columns = equations.to_factor(A, solution.factors)
        del A  # of a large model every vector counts
        products = -products_of(equations, solution, columns)
        products[:k] += across
        products[k:, :k] += across[:, k:].T
        products[k:, k:] += corner
        information = 0.25 * (products + products.T)
        solution.kept["information"] = equations.spec, information
    return information


def products_of(equations: System, solution: Solution, columns: Array) -> Array:
    """Columns' C⁻¹ columns, at the solution's θ."""
    equations.require(solution)
    started = time.perf_counter()
    out = equations.factor.products_of(columns)
    equations._spent("solve", started)
    return out


def products_with(equations: System, solution: Solution, E: Array) -> tuple[Array, Array]:
    """A = W'R⁻¹F and F_R'R⁻¹F_R."""
    of_residual, corner = residual_products(equations, solution)
    return np.concatenate([equations.cross_products.times(solution.rho, E), of_residual], axis=1), corner


def residual_products(equations: System, solution: Solution) -> tuple[Array, Array]:
    """W'R⁻¹F_R (m, n_φ) and F_R'R⁻¹F_R (n_φ, n_φ)."""
    residual = equations.residual
    phi = solution.theta[equations.spec.parameters.of_residual]
    slopes = residual.jacobian(phi)
    if len(solution.rho) == 1:  # R⁻¹ = ρD, so that R⁻¹F_R is −(ρ̇/ρ) Py
        share = -slopes[:, 0] / solution.rho[0]
        quadratic = float(solution.residual @ solution.weighted_residual)
        return equations.effect_scores(solution)[:, None] * share, quadratic * share[:, None] * share
    weighted = np.empty((len(solution.residual), len(slopes)), order="F")
    for column, slope in enumerate(slopes):
        weighted[:, column] = -residual.pattern.times(slope, solution.residual)
    return equations.Wt @ weighted, weighted.T @ residual.multiply(phi, weighted)
