"""The score where records determine the effects of a term: many for each level, variances far above the residual's.

∂ℓ/∂Λ = r b̂' − Tλ is then a small difference of what all levels share with the fixed effects, and of X'V⁻¹X, itself what
X'R⁻¹X leaves after every level's part, few digits are left. The equations of b say the same without cancellation,
Λ'r = D b̂ K⁻¹ and T'MT C⁻¹ = I − (D ⊗ K⁻¹) C⁻¹:

    Λ' ∂ℓ/∂Λ = D b̂ K⁻¹ b̂' − q I + D A,      A_ab = tr(K⁻¹ C^{ab}).

The data determine b̂ and C^{ab} but for the share S⁻¹ = (X'V⁻¹X)⁻¹ has in the latter. With Y = [I; −C_bb⁻¹C_bX], whose
errors are of second order here, S = Y'CY is a sum of squares: S = (WTY)'R⁻¹WTY + Y_b'(D ⊗ K⁻¹)Y_b.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.henderson.system import Solution, System, back_substituted
from remlblup.equations.scales import signal
from remlblup.model.design import RandomDesign

ROUNDING = float(np.finfo(float).eps)
# Error of the score, in standard errors, that is worth solves for the fixed effects; up to so many elements of WTY.
ERROR, ELEMENTS = 1e-10, 20_000_000
# Mean of C^{ll}, the share of a standardised effect's variance that is left, below which the data are said to know it.
LEFT = 0.5


@dataclass(frozen=True)
class FixedPart:
    """What C⁻¹ = C̃⁻¹ + YΔY' lacks in its computed C̃⁻¹, of Δ = S⁻¹ − (C̃⁻¹)_XX: (m, p) and (p, p)."""

    Y: Array
    change: Array

    @classmethod
    def of(cls, equations: System, solution: Solution) -> FixedPart:
        columns = equations.solve_columns(solution, np.eye(equations.m, equations.p))
        Y = columns @ np.linalg.inv(columns[: equations.p])
        records = equations.W @ equations.from_factor(Y, solution.factors)
        phi = solution.theta[equations.spec.parameters.of_residual]
        S = records.T @ equations.residual.precision(phi, records)
        for k, (block, (_, signs)) in enumerate(zip(equations.factor_blocks(Y), solution.factors, strict=True)):
            weighted = equations.precision_times(k, signs[:, None] * block)
            S += block.reshape(-1, equations.p).T @ weighted.reshape(-1, equations.p)
        return cls(Y, np.linalg.inv(0.5 * (S + S.T)) - columns[: equations.p])

    def of_levels(self, equations: System, k: int) -> Array:
        """Its part of A of term k."""
        blocks = equations.factor_blocks(self.Y)[k]
        weighted = equations.precision_times(k, blocks)
        blocks, weighted = (v.reshape(-1, equations.random[k].q, equations.p) for v in (blocks, weighted))
        return np.einsum("aqi,ij,bqj->ab", blocks, self.change, weighted, optimize=True)


def sharpened(
    equations: System, solution: Solution, of_factor: list[Array], traces: Array, ml: bool
) -> tuple[list[Array], Array]:
    """∂ℓ/∂Λ of every term and τ, with the digits that cancellation would cost."""
    terms = [k for k in range(len(of_factor)) if cancels(equations, solution, k)]
    if not terms or (equations.spec.n + equations.m) * equations.p > ELEMENTS:
        return of_factor, traces
    # Asked for before other systems are solved: of ML it is that of the random block.
    summed = {k: of_precision(equations, solution, k, ml) for k in readable(equations)}
    if not ml and equations.p:
        fixed = FixedPart.of(equations, solution)
        summed = {k: levels + fixed.of_levels(equations, k) for k, levels in summed.items()}
    out = list(of_factor)
    for k in terms:
        (factor, signs), q, b = solution.factors[k], equations.random[k].q, equations.factor_blocks(solution.b)[k]
        exact = signs[:, None] * (equations.precision_times(k, b) @ b.T + summed[k]) - q * np.eye(len(signs))
        known = np.diag(summed[k]) < LEFT * q  # of factors that the data say little about, Tλ is the small number
        change = np.where(np.logical_and.outer(known, known), exact - factor.T @ of_factor[k], 0.0)
        out[k] = of_factor[k] + back_substituted(factor, np.tril(change))
    if len(solution.rho) == 1 and len(summed) == len(equations.random):
        prior = sum(float(np.diag(levels) @ solution.factors[k][1]) for k, levels in summed.items())
        order = equations.m - (equations.p if ml else 0)
        traces = np.array([order - prior]) / solution.rho  # ρτ = tr(T'MT C⁻¹)
    return out, traces


def readable(equations: System) -> list[int]:
    """Terms with Λ from Σ whose A is at hand: of independent levels on the pattern, of others by solves."""
    return [k for k, design in enumerate(equations.random) if is_readable(equations, design)]


def is_readable(equations: System, design: RandomDesign) -> bool:
    """Whether a term is one of these."""
    few = design.is_identity or design.t * design.q * equations.m <= ELEMENTS
    return few and not design.structure.in_factor


def of_precision(equations: System, solution: Solution, k: int, ml: bool) -> Array:
    """A (t, t) of term k, of ML with the inverse of the random block in place of C⁻¹."""
    design = equations.random[k]
    if design.is_identity:
        return equations.level_blocks(solution, k, ml).sum(axis=0)
    equations.require(solution, ml)
    first, factor = (equations.p, equations.random_system[1]) if ml else (0, equations.factor)
    t, q, start = design.t, design.q, equations.of_factors[k].start - first
    own = slice(start, start + t * q)
    columns = np.zeros((equations.m - first, t * q))
    columns[own] = equations.precision_times(k, np.eye(t * q).reshape(t, -1)).reshape(t * q, -1)
    return np.einsum("aqbq->ab", factor.solve(columns)[own].reshape(t, q, t, q))


def cancels(equations: System, solution: Solution, k: int) -> bool:
    """Whether the score of term k loses digits that can be had."""
    design, (factor, _) = equations.random[k], solution.factors[k]
    if not is_readable(equations, design) or np.count_nonzero(factor.diagonal()) < len(factor):
        return False
    precision = float(solution.rho @ equations.residual.pattern.traces)  # tr R⁻¹
    # What the records of a level say of an effect beside what Σ does: the diagonal of Λ'Z'R⁻¹ZΛ, about.
    known = (factor.T @ design.moments @ factor).diagonal().max() * precision / design.q
    if not design.is_identity:
        known *= float(np.mean(design.relationship.sizes))
    if design.disjoint and len(solution.rho) > 1 and is_lost(known, design.q):
        # Each trait by the precision of its own records.
        R, phi = equations.spec.residual.stands_for, solution.theta[equations.spec.parameters.of_residual]
        own = signal(design, 1.0 / R.record_variances(phi))
        known = (factor.T @ own @ factor).diagonal().max() * equations.spec.n / design.q
    return is_lost(known, design.q)


def is_lost(known: float, q: int) -> bool:
    """A rounding for every level, of one sign where levels are alike, in standard errors of the variance of q
    effects."""
    return ROUNDING * float(known) * sqrt(2.0 * q) > ERROR
