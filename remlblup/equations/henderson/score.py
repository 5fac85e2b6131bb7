"""The slopes of ℓ by Σ or Λ from the selected inverse: no inverse of V or C is ever formed.

For Λ of term k (factor form) and r = Z'Py,

    ∂ℓ/∂Λ_ia = r_i' b̂_a − ½ ∂log|C|/∂Λ_ia,      ∂log|C|/∂λ = 2 T λ,

and since dΣ = dΛ D Λ' + Λ D dΛ', the score matrix S = ∂ℓ/∂Σ solves 2 S Λ D = ∂ℓ/∂Λ on the
slots; a structure written in Λ itself takes ∂ℓ/∂Λ as it is.

At a singular Λ the slots do not determine S, so the score is taken at a *nudged* Σ, larger by a
1e-10th part of the variance of y given X: its relative error is of that size.
"""

from __future__ import annotations

from operator import mul
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.henderson.determined import sharpened
from remlblup.equations.henderson.information import average_information
from remlblup.equations.henderson.system import Solution, System
from remlblup.equations.solution import ScoreMatrices
from remlblup.model.design import RandomDesign
from remlblup.structure.cholesky import signed_cholesky
from remlblup.structure.edge.cone import Chart

NUDGE = 1e-10
# Entries of C beyond which the information comes first, and is kept: its vectors do not stand beside the inverse.
LARGE = 2_000_000


def score_matrices(equations: System, solution: Solution, units: list[Array], ml: bool) -> ScoreMatrices:
    """S of each term (∂ℓ/∂Λ of one written in Λ itself) and the moments of the residual, from the selected inverse."""
    solution = nudged(equations, solution, units, ml)
    if equations.layout.nnz > LARGE:
        average_information(equations, solution)
    T, traces = equations.slot_traces(solution, ml=ml)
    r_blocks = equations.term_blocks(equations.effect_scores(solution))
    b_blocks = equations.factor_blocks(solution.b)
    products = map(slot_products, equations.random, r_blocks, b_blocks)
    of_slots = equations.of_slots(list(products)) - T @ solution.slots
    of_factor, traces = sharpened(equations, solution, equations.on_slots(of_slots), traces, ml)
    moments = equations.residual.pattern.moments(solution.residual) + traces
    of_sigma: list[Array | None] = []
    kept: list[Array | None] = []
    for design, slopes, factor in zip(equations.random, of_factor, solution.factors, strict=True):
        own = design.structure.in_factor
        of_sigma.append(None if own else score_matrix(slopes, *factor))
        kept.append(slopes if own else None)
    return ScoreMatrices(solution, tuple(of_sigma), tuple(kept), moments)


def slot_products(design: RandomDesign, r: Array, b: Array) -> Array:
    """r_i'b_a at the slots (i, a) of Λ, (t, n_factors), for r (t, q) and b (n_factors, q)."""
    slots = design.structure.slots
    if 2 * len(slots) >= design.t * len(b):
        return np.asarray(r @ b.T)
    out = np.zeros((design.t, len(b)))
    for i, a in slots:
        out[i, a] = r[i] @ b[a]
    return out


def score_matrix(gradient: Array, factor: Array, signs: Array) -> Array:
    """S symmetric with 2 S Λ D = `gradient` on the lower triangle, by back-substitution from the last column."""
    t = len(signs)
    S = 0.5 * gradient * signs
    if t == 1:
        return np.asarray(S / factor)
    rows = S.tolist()
    for a, column in reversed(list(enumerate(factor.T.tolist()))):
        below = column[a + 1 :]
        for i in range(t - 1, a - 1, -1):
            rows[i][a] = rows[a][i] = (rows[i][a] - sum(map(mul, rows[i][a + 1 :], below))) / column[a]
    return np.array(rows)


def nudged(equations: System, solution: Solution, units: list[Array], ml: bool) -> Solution:
    """The same solution, or one at a slightly larger Σ for each term whose Λ is singular."""
    if all(np.count_nonzero(factor.diagonal()) == len(signs) for factor, signs in solution.factors):
        return solution
    pairs = list(zip(equations.random, solution.factors, strict=True))
    singular = [
        not design.structure.in_factor and np.count_nonzero(factor.diagonal()) < design.t
        for design, (factor, _) in pairs
    ]
    if not any(singular):
        return solution
    factors = []
    parts = equations.spec.parameters.split_terms(solution.theta)
    for nudge, (design, pair), theta, unit in zip(singular, pairs, parts, units, strict=True):
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
    chart = Chart.at(sigma, np.asarray(np.linalg.cholesky(unit), np.float64))
    L = chart.L.copy()
    empty = np.arange(chart.rank, len(L))
    L[empty, empty] = np.sqrt(NUDGE)
    rows = np.empty_like(L)
    rows[chart.order] = L
    upper: Any = np.linalg.qr((chart.root @ rows).T, mode="r")
    signs = np.sign(np.diag(upper))
    return (upper * np.where(signs == 0.0, 1.0, signs)[:, None]).T
