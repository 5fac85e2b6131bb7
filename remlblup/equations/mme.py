"""Henderson's mixed model equations: assembled, factorised and solved at given parameters.

In factor form (see `remlblup.equations.layout`), with b̂ the solution for b and û = Λ b̂:

    log|V| + log|X'V⁻¹X| = log|R| + Σ_k t_k log|K_k| + log|C|
    Py = R⁻¹ê,   ê = y − Xβ̂ − Zû,   y'Py = ê'R⁻¹ê + b̂'(D ⊗ K⁻¹)b̂.

y enters as its ordinary least-squares residual: P y is the same, and a large mean costs no digits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.equations.layout import Layout, build_layout
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.factor import Factor, make_factor
from remlblup.model.specification import Specification
from remlblup.structure.base import Array

# W is held dense below this many elements: fewer microseconds per product in small models.
DENSE_ELEMENTS = 200_000


@dataclass
class Solution:
    """The equations solved at θ.

    Attributes
    ----------
    theta : (n_parameters,)
    factors : Λ_k (t, t) and signs (t,) of each term
    slots : (n_slots,) λ, slot 0 = 1
    rho : coefficients of R⁻¹
    b : (m,) solution in factor form: β_work, then b̂
    effects : (m,) the same as effects: β_work, then û
    residual : (n,) ê
    weighted_residual : (n,) R⁻¹ê = Py
    logdet : log|C|; `logdet_random` log of its random block (ML only)
    quadratic : y'Py
    """

    theta: Array
    factors: list[tuple[Array, Array]]
    slots: Array
    rho: Array
    b: Array
    effects: Array
    residual: Array
    weighted_residual: Array
    logdet: float
    logdet_random: float | None
    quadratic: float
    traces: Array | None = field(default=None, repr=False)


class MixedModelEquations:
    """C(θ) laid out once; `solve` refactorises it at new parameters.

    Parameters
    ----------
    spec : Specification
    engine : {"auto", "dense", "sparse"}
        How C is factorised.
    """

    def __init__(self, spec: Specification, engine: str = "auto"):
        self.spec = spec
        self.p = spec.p
        self.random = spec.random
        self.residual = spec.residual
        self.engine = engine
        W = sp.hstack([sp.csr_array(spec.fixed.work), *[z for d in spec.random for z in d.columns]], format="csr")
        self.layout: Layout = build_layout(sp.csr_array(W), spec.p, spec.random, spec.residual.bases)
        self.W = W.toarray() if W.shape[0] * W.shape[1] <= DENSE_ELEMENTS else sp.csr_array(W)
        self.Wt = self.W.T if isinstance(self.W, np.ndarray) else sp.csr_array(self.W.T)
        self.bases_t = sp.csr_array(self.layout.bases.T)
        self.factor: Factor = make_factor(self.layout.indptr, self.layout.indices, self.layout.m, engine)
        self.at: Solution | None = None
        self.seconds = dict.fromkeys(("factor", "inverse", "solve"), 0.0)
        self.log_k = float(sum(d.t * d.relationship.logdet for d in spec.random))
        # Free of its mean, y keeps its digits; P y is the same.
        self.beta_ols = self._ordinary_least_squares(spec.y)
        self.y = spec.y - spec.fixed.work @ self.beta_ols
        self._rhs = [self.Wt @ _times(D, self.y) for D in spec.residual.bases]

    @property
    def m(self) -> int:
        """Order of C."""
        return self.layout.m

    def _ordinary_least_squares(self, v: Array) -> Array:
        """β_work of the weighted regression of v (n,) on X."""
        X = self.spec.fixed.work
        if self.p == 0:
            return np.zeros(0)
        root = np.sqrt(self.spec.weights)
        if not sp.issparse(X):
            return np.linalg.lstsq(root[:, None] * X, root * v, rcond=None)[0]
        weighted = sp.csc_array(X.multiply(root[:, None]))
        rhs = weighted.T @ (root * v)
        normal = weighted.T @ weighted
        return rhs / normal.diagonal() if self.p == 1 else np.asarray(sp.linalg.spsolve(sp.csc_matrix(normal), rhs))

    def project_out(self, v: Array) -> Array:
        """What is left of v (n,) after its weighted regression on X."""
        return v - self.spec.fixed.work @ self._ordinary_least_squares(v)

    @cached_property
    def random_system(self) -> tuple[Layout, Factor, sp.csr_array]:
        """Layout, factor and transposed bases of the random block alone, whose log-determinant ML needs."""
        layout = self.layout.without_fixed(self.p)
        factor = make_factor(layout.indptr, layout.indices, layout.m, self.engine)
        return layout, factor, sp.csr_array(layout.bases.T)

    # -- one solve ---------------------------------------------------------------------------

    def factors(self, theta: Array) -> list[tuple[Array, Array]]:
        """Λ_k and signs of every term at θ."""
        return [
            d.structure.factor(part) for d, part in zip(self.random, self.spec.parameters.split(theta), strict=False)
        ]

    def solve(self, theta: Array, *, ml: bool = False, factors: list[tuple[Array, Array]] | None = None) -> Solution:
        """Assemble and factorise C(θ), solve for β̂ and b̂.

        Raises
        ------
        NotPositiveDefiniteError
            If V(θ) is not positive definite (possible only for negative components).
        """
        factors = self.factors(theta) if factors is None else factors
        phi = theta[self.spec.parameters.slices[-1]]
        rho = self.residual.coefficients(phi)
        slots = np.array([1.0, *(factors[s.term][0][s.i, s.a] for s in self.layout.slots[1:])])
        signs = np.concatenate([np.ones(0), *(s for _, s in factors)])
        c = self.coefficients(slots, rho, signs)
        self.at = None
        started = time.perf_counter()
        self.factor.factorize(self.layout.bases @ c)
        self._spent("factor", started)
        negative = sum(int((s < 0).sum()) * d.q for d, (_, s) in zip(self.random, factors, strict=True))
        logdet_random = None
        if ml or negative:
            logdet_random, of_random = self._factorize_random(c)
            # neg(C_bb) = neg(D) − neg(V): by Haynsworth's inertia formula V is positive definite iff they agree.
            if of_random != negative:
                raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        if self.factor.n_dependent:  # X has been cut to independent columns: only rounding leads here
            raise NotPositiveDefiniteError("the equations are numerically singular at these variances.")
        if self.factor.n_negative != negative:
            raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        rhs = sum(r * v for r, v in zip(rho, self._rhs, strict=True))
        b = self.solve_factor(self.to_factor(rhs, factors))
        effects = self.from_factor(b, factors)
        residual = self.y - self.W @ effects
        weighted = self.residual.precision(phi, residual)
        quadratic = float(residual @ weighted) + self._penalty(b, factors)
        self.at = Solution(theta, factors, slots, rho, b, effects, residual, weighted, self.factor.logdet,
                           logdet_random if ml else None, quadratic)  # fmt: skip
        return self.at

    def _factorize_random(self, c: Array) -> tuple[float, int]:
        """log-determinant of the random block of C and its number of negative pivots."""
        if not self.random:
            return 0.0, 0
        layout, factor, _ = self.random_system
        factor.factorize(layout.bases @ c)
        return factor.logdet, factor.n_negative

    def coefficients(self, slots: Array, rho: Array, signs: Array) -> Array:
        """c(θ): ρ_r λ_s λ_s' for the products, then the signs of D ⊗ K⁻¹."""
        r, s, s2 = self.layout.products.T
        return np.concatenate([rho[r] * slots[s] * slots[s2], signs])

    def to_factor(self, v: Array, factors: list[tuple[Array, Array]]) -> Array:
        """T'v with T = blockdiag(I, Λ_k ⊗ I): from the columns of W to those of C; v is (m,) or (m, k)."""
        return self._blockwise(v, [factor.T for factor, _ in factors])

    def from_factor(self, b: Array, factors: list[tuple[Array, Array]]) -> Array:
        """T b: effects (β, û) from the solution (β, b̂) of the factor form; b is (m,) or (m, k)."""
        return self._blockwise(b, [factor for factor, _ in factors])

    def _blockwise(self, v: Array, matrices: list[Array]) -> Array:
        out = np.array(v, dtype=np.float64)
        start = self.p
        for design, matrix in zip(self.random, matrices, strict=True):
            end = start + design.t * design.q
            if design.t == 1:
                out[start:end] *= matrix[0, 0]
            else:
                out[start:end] = (matrix @ v[start:end].reshape(design.t, -1)).reshape(out[start:end].shape)
            start = end
        return out

    def term_blocks(self, v: Array) -> list[Array]:
        """The random part of v (m,) as one (t, q) array per term."""
        start, blocks = self.p, []
        for design in self.random:
            end = start + design.t * design.q
            blocks.append(v[start:end].reshape(design.t, design.q))
            start = end
        return blocks

    def _penalty(self, b: Array, factors: list[tuple[Array, Array]]) -> float:
        """b'(D ⊗ K⁻¹)b."""
        total = 0.0
        for design, block, (_, signs) in zip(self.random, self.term_blocks(b), factors, strict=True):
            solved = block if design.is_identity else (design.relationship.precision @ block.T).T
            total += float(signs @ np.einsum("aq,aq->a", block, solved))
        return total

    # -- what the score and the EM rounds need -------------------------------------------------

    def slot_traces(self, solution: Solution, *, ml: bool = False) -> Array:
        """T_r (n_residual_bases, n_slots, n_slots): λ'T_r λ = tr(C⁻¹ W'D_r W) in factor form.

        Read from the selected inverse of C (REML) or of its random block (ML), where slot 0
        (X) then has no part. ∂log|C|/∂λ = 2 Σ_r ρ_r T_r λ.
        """
        self.require(solution)
        if solution.traces is not None:
            return solution.traces
        if ml and not self.random:
            solution.traces = np.zeros((len(solution.rho), 1, 1))
            return solution.traces
        if ml:
            layout, factor, bases_t = self.random_system
        else:
            layout, factor, bases_t = self.layout, self.factor, self.bases_t
        started = time.perf_counter()
        t = bases_t @ (layout.twice * factor.inverse_on_pattern())
        self._spent("inverse", started)
        r, s, s2 = layout.products.T
        share = np.where(s == s2, 1.0, 0.5) * t[: len(r)]
        T = np.zeros((len(solution.rho), len(layout.slots), len(layout.slots)))
        T[r, s, s2] = share
        T[r, s2, s] = share
        solution.traces = T
        return T

    def solve_columns(self, solution: Solution, columns: Array) -> Array:
        """C⁻¹ times right-hand sides in factor form, at the solution's θ; (m,) or (m, k)."""
        self.require(solution)
        return self.solve_factor(columns)

    def solve_factor(self, columns: Array) -> Array:
        """C⁻¹ columns with the factor on hand."""
        started = time.perf_counter()
        out = self.factor.solve(columns)
        self._spent("solve", started)
        return out

    def _spent(self, phase: str, started: float) -> None:
        self.seconds[phase] += time.perf_counter() - started

    def require(self, solution: Solution) -> None:
        """Make sure the factor on hand is the one of this solution."""
        if self.at is not solution:
            self.solve(solution.theta, ml=solution.logdet_random is not None, factors=solution.factors)
            self.at = solution


def _times(D: Any, v: Array) -> Array:
    return D * v if D.ndim == 1 else D @ v
