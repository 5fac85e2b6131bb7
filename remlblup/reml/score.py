"""The score ∂ℓ/∂θ from the selected inverse: no inverse of V or C is ever formed.

For Λ of term k (factor form) and r = Z'Py,

    ∂ℓ/∂Λ_ia = r_i' b̂_a − ½ ∂log|C|/∂Λ_ia,      ∂log|C|/∂λ = 2 T λ,

and since dΣ = dΛ D Λ' + Λ D dΛ', the score matrix S = ∂ℓ/∂Σ solves 2 S Λ D = ∂ℓ/∂Λ on the
slots; a structure written in Λ itself takes ∂ℓ/∂Λ as it is. For the residual, with the conditional moments
m_r = ê'D_r ê + τ_r = E[e'D_r e | y], τ_r = ∂log|C|/∂ρ_r,

    ∂ℓ/∂φ = −½ [ ∂log|R|/∂φ + Σ_r m_r ∂ρ_r/∂φ ].

At a singular Λ the slots do not determine S, so the score is taken at a *nudged* Σ, larger by a
1e-10th part of the variance of y given X: its relative error is of that size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.henderson.system import Solution
from remlblup.reml.chart import Chart
from remlblup.structure.cholesky import signed_cholesky

NUDGE = 1e-10


@dataclass(frozen=True)
class Score:
    """First derivatives of ℓ at θ.

    Attributes
    ----------
    gradient : (n_parameters,) ∂ℓ/∂θ
    matrices : S_k = ∂ℓ/∂Σ_k (t, t) of each random term (only its slots where Λ is diagonal), or ∂ℓ/∂Λ_k
        (t, n_factors) where the structure is written in Λ itself
    moments : (n_coefficients,) E[e'D_r e | y]
    solution : the solution they were taken at (nudged where Σ is singular)
    ml : whether ℓ is the full likelihood
    """

    gradient: Array
    matrices: list[Array]
    moments: Array
    solution: Any
    ml: bool = False


def score(equations: Equations, solution: Any, units: list[Array], ml: bool = False) -> Score:
    """∂ℓ/∂θ at a solution; `units` (t, t) per term are the covariance matrices that count as 1 for a nudge."""
    if isinstance(equations, MixedModelEquations):
        solution = nudged(equations, solution, units, ml)
        matrices, moments = from_slots(equations, solution, ml)
    else:
        matrices, moments = equations.score_matrices(solution, ml)
    spec = equations.spec
    gradient = np.empty(len(solution.theta))
    parts = spec.parameters.split(solution.theta)
    for S, design, theta, place in zip(matrices, spec.random, parts, spec.parameters.slices, strict=False):
        structure = design.structure
        derivatives = structure.factor_derivatives(theta) if structure.in_factor else structure.derivatives(theta)
        gradient[place] = derivatives.reshape(len(derivatives), -1) @ S.ravel()
    gradient[spec.parameters.slices[-1]] = spec.residual.score(parts[-1], moments)
    return Score(gradient, matrices, moments, solution, ml)


def from_slots(equations: MixedModelEquations, solution: Solution, ml: bool) -> tuple[list[Array], Array]:
    """S of each term (∂ℓ/∂Λ of one written in Λ itself) and the moments of the residual, from the selected inverse."""
    T, traces = equations.slot_traces(solution, ml=ml)
    weighted = T @ solution.slots
    moments = equations.residual.pattern.moments(solution.residual) + traces
    r_blocks = equations.term_blocks(equations.effect_scores(solution))
    b_blocks = equations.factor_blocks(solution.b)
    matrices = [np.zeros((d.t, d.structure.n_factors)) for d in equations.random]
    for position, slot in enumerate(equations.layout.slots):
        if slot.term >= 0:
            quadratic = r_blocks[slot.term][slot.i] @ b_blocks[slot.term][slot.a]
            matrices[slot.term][slot.i, slot.a] = quadratic - weighted[position]
    for k, design in enumerate(equations.random):
        if not design.structure.in_factor:
            matrices[k] = score_matrix(matrices[k], *solution.factors[k])
    return matrices, moments


def score_matrix(gradient: Array, factor: Array, signs: Array) -> Array:
    """S symmetric with 2 S Λ D = `gradient` on the lower triangle, by back-substitution from the last column."""
    t = len(signs)
    S = 0.5 * gradient * signs
    if t == 1:
        return np.asarray(S / factor)
    for a in range(t - 1, -1, -1):
        for i in range(t - 1, a - 1, -1):
            S[i, a] = S[a, i] = (S[i, a] - S[i, a + 1 :] @ factor[a + 1 :, a]) / factor[a, a]
    return S


def nudged(equations: MixedModelEquations, solution: Solution, units: list[Array], ml: bool) -> Solution:
    """The same solution, or one at a slightly larger Σ for each term whose Λ is singular."""
    pairs = list(zip(equations.random, solution.factors, strict=True))
    singular = [
        not design.structure.in_factor and np.count_nonzero(factor.diagonal()) < design.t
        for design, (factor, _) in pairs
    ]
    if not any(singular):
        return solution
    factors = []
    parts = equations.spec.parameters.split(solution.theta)
    for nudge, (design, pair), theta, unit in zip(singular, pairs, parts, units, strict=False):
        if not nudge:
            factors.append(pair)
            continue
        sigma = design.structure.covariance(theta)
        if np.any(pair[1] < 0.0):  # without constraints: zero beside negative components
            factors.append(signed_cholesky(sigma + NUDGE * unit))
        else:
            factors.append((nudged_factor(sigma, unit), np.ones(design.t)))
    return equations.solve(solution.theta, ml=ml, factors=factors)


def nudged_factor(sigma: Array, unit: Array) -> Array:
    """Λ (t, t) lower triangular of Σ with its zero pivots raised to `NUDGE` units.

    The small pivots are set in the factor, not added to Σ: there they would drown in rounding where
    effects are highly correlated (a slope on a covariate far from its origin).
    """
    chart = Chart.at(sigma, np.linalg.cholesky(unit))
    L = chart.L.copy()
    empty = np.arange(chart.rank, len(L))
    L[empty, empty] = np.sqrt(NUDGE)
    rows = np.empty_like(L)
    rows[chart.order] = L
    upper = np.linalg.qr((chart.root @ rows).T, mode="r")
    signs = np.sign(np.diag(upper))
    return (upper * np.where(signs == 0.0, 1.0, signs)[:, None]).T
