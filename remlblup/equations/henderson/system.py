"""Henderson's mixed model equations as a system: laid out, assembled, factorised and solved at given parameters.

In factor form (see `remlblup.equations.henderson.layout`), with b̂ the solution for b and û = Λ b̂:

    Py = R⁻¹ê,   ê = y − Xβ̂ − Zû,   y'Py = ê'R⁻¹ê + b̂'(D ⊗ K⁻¹)b̂.

y enters as its ordinary least-squares residual: P y is the same, and a large mean costs no digits. What is read from
the factor stands on it: the likelihood and its slopes in `engine`, errors in `errors`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg.lapack import dtrtrs

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations import needs
from remlblup.equations.base import Equations, term_slices
from remlblup.equations.computation import Computation
from remlblup.equations.henderson.cross_products import CrossProducts, cross_products
from remlblup.equations.henderson.layout import Layout, build_layout, least_need
from remlblup.equations.memory import WITHIN_REACH, Memory
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.contract import Factor, FactorStats
from remlblup.linalg.factor import engine_of, make_factor
from remlblup.linalg.memory import Need, require
from remlblup.linalg.row_blocks import times
from remlblup.model.specification import Specification

ONE = np.ones(1)
# Records and equations together up to which nothing takes memory to speak of.
LITTLE = 1000


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
    kept : what has been computed from it, by all that it depends on; a solution made of another begins with nothing
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
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)


def back_substituted(factor: Array, v: Array) -> Array:
    """Λ⁻ᵀ v of a lower triangular, nonsingular Λ."""
    out, info = dtrtrs(factor, v, lower=1, trans=1)
    if info:
        raise np.linalg.LinAlgError("a factor with a zero on its diagonal has no inverse.")
    return np.asarray(out)


def signs_of(factors: list[tuple[Array, Array]]) -> Array:
    """The diagonal of D, a sign for each factor of each term."""
    return np.concatenate([s for _, s in factors]) if factors else np.ones(0)


class System(Equations):
    """C(θ) laid out once; `solve` refactorises it at new parameters.

    Parameters
    ----------
    spec : Specification
    engine : {"auto", "dense", "sparse"}
        How C is factorised.
    """

    _of_response = ("_base_of_rhs",)

    def __init__(self, spec: Specification, engine: str = "auto"):
        super().__init__(spec, tuple(d.in_equations for d in spec.random))
        self.asked = Computation(engine)
        m = spec.p + sum(d.structure.n_factors * d.q for d in self.random) + spec.residual.n_filled
        sparse = engine_of(engine, m) == "sparse" and sp.issparse(self.W)
        self.cross_products: CrossProducts = cross_products(self.W, spec.residual.pattern, self.Wt if sparse else None)
        require(least_need(self.cross_products, self.random), "the system of mixed model equations")
        self.layout: Layout = build_layout(self.cross_products, spec.p, self.random, spec.residual.n_filled, engine)
        self.cross_products.forget_columns()
        self.factor: Factor = make_factor(
            self.layout.indptr,
            self.layout.indices,
            self.layout.m,
            engine,
            self.layout.groups,
            self._memory(FactorStats(self.layout.m, 0, 0, 0.0, "", "", "")).ahead if spec.n + m > LITTLE else 0.0,
            self.layout.blocks,
        )
        self.stats = self.factor.stats
        self.of_factors = term_slices(spec.p, [d.structure.n_factors * d.q for d in self.random])
        # Where each slot lies in 1, Λ_1 row by row, Λ_2 …; the levels behind each sign.
        self.shapes = [(d.t, d.structure.n_factors) for d in self.random]
        starts = list(accumulate((t * s for t, s in self.shapes), initial=1))
        self.slot_places = np.array(
            [starts[s.term] + s.i * self.shapes[s.term][1] + s.a if s.term >= 0 else 0 for s in self.layout.slots]
        )
        self.n_places = starts[-1]
        self.levels = np.array([d.q for d in self.random for _ in range(d.structure.n_factors)], np.int64)
        self.log_k = float(sum(d.structure.n_factors * d.relationship.logdet for d in self.random))

    @property
    def memory(self) -> Memory:
        return self._memory(self.factor.stats)

    def _memory(self, stats: FactorStats) -> Memory:
        """The phases, for a factor of these sizes."""
        layout = self.layout
        built = needs.of_relationships([d.relationship for d in self.random if not d.is_identity])
        for part in (
            needs.of_incidence(self),
            self.cross_products.need,
            layout.need,
            Need(stats.kept, max(stats.kept, stats.analysis)),
        ):
            built = built.then(part)
        points = needs.of_points(self)
        passing = max(layout.need_of_values, stats.memory - stats.kept, points.peak - points.kept)
        selected = 8.0 * layout.nnz
        iterated = Need.of(points.kept + selected, passing)
        columns = needs.of_responses(self) if self.p * layout.m <= WITHIN_REACH else Need()
        far = any(d.relationship.diagonal_is_far for d in self.random)
        effects = needs.of_table(self).beside(Need(0.0, stats.memory - stats.kept if far else 0.0))
        return Memory(built, iterated, columns, effects)

    def dense_parts(self, k: int) -> tuple[str, ...]:
        ranks = [d.structure.n_factors for d in self.random]
        own = range(sum(ranks[:k]), sum(ranks[: k + 1]))
        return ("L", "C⁻¹ while it is made") * sum(sign in own for sign in self.layout.block_signs)

    @property
    def m(self) -> int:
        """Order of C."""
        return self.layout.m

    @property
    def random_system(self) -> tuple[Layout, Factor]:
        """Layout and factor of the random block alone, whose log-determinant ML needs."""
        if self.bench.random_system is None:
            own = self.layout.without_fixed(self.p)
            factor = make_factor(own.indptr, own.indices, own.m, self.asked.engine, own.groups, blocks=own.blocks)
            self.bench.random_system = own, factor
        return self.bench.random_system

    # -- one solve ---------------------------------------------------------------------------

    def factors(self, theta: Array) -> list[tuple[Array, Array]]:
        """Λ_k and signs of every term at θ."""
        places = self.spec.parameters.of_terms
        return [d.structure.factor(theta[place]) for d, place in zip(self.random, places, strict=True)]

    def solve(self, theta: Array, *, ml: bool = False, factors: list[tuple[Array, Array]] | None = None) -> Solution:
        """Assemble and factorise C(θ), solve for β̂ and b̂.

        Raises
        ------
        NotPositiveDefiniteError
            If V(θ) is not positive definite (possible only for negative components).
        """
        factors = self.factors(theta) if factors is None else factors
        phi = theta[self.spec.parameters.of_residual]
        rho = self.residual.coefficients(phi)
        slots = self.of_slots([factor for factor, _ in factors])
        signs = signs_of(factors)
        self.at = None
        started = time.perf_counter()
        self.factor.forget()
        self.factor.factorize(self.layout.assemble(self.cross_products.scaled(rho), slots, signs))
        self._spent("factor", started)
        below = signs < 0.0
        negative = int(self.levels @ below) if np.count_nonzero(below) else 0
        logdet_random = None
        if ml or negative:
            logdet_random, of_random = self._factorize_random(rho, slots, signs)
            # neg(C_bb) = neg(D) − neg(V): by Haynsworth's inertia formula V is positive definite iff they agree.
            if of_random != negative:
                raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        if self.factor.n_dependent:  # X has been cut to independent columns: only rounding leads here
            raise NotPositiveDefiniteError("the equations are numerically singular at these variances.")
        if self.factor.n_negative != negative:
            raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        b = self.solve_factor(self.to_factor(self._right_hand_side(phi, rho), factors))
        effects = self.from_factor(b, factors)
        residual = self.y - times(self.W, effects)
        weighted = self.residual.precision(phi, residual)
        quadratic = float(residual @ weighted) + self._penalty(b, factors)
        self.at = found = Solution(
            theta,
            factors,
            slots,
            rho,
            b,
            effects,
            residual,
            weighted,
            self.factor.logdet,
            logdet_random if ml else None,
            quadratic,
        )
        return found

    def solve_again(self, theta: Array, ml: bool, found: Solution, nudged: Solution) -> tuple[Solution, Solution]:
        return replace(found, theta=theta), self.solve(theta, ml=ml, factors=nudged.factors)

    @cached_property
    def _base_of_rhs(self) -> Array:
        """W'D y (m,) where R⁻¹ = ρD."""
        return np.asarray(self.Wt @ self.residual.pattern.times(ONE, self.y))

    def _right_hand_side(self, phi: Array, rho: Array) -> Array:
        """W'R⁻¹y (m,)."""
        return rho[0] * self._base_of_rhs if len(rho) == 1 else self.Wt @ self.residual.precision(phi, self.y)

    def _factorize_random(self, rho: Array, slots: Array, signs: Array) -> tuple[float, int]:
        """log-determinant of the random block of C and its number of negative pivots."""
        if self.m == self.p:
            return 0.0, 0
        layout, factor = self.random_system
        factor.factorize(layout.assemble(self.cross_products.scaled(rho), slots, signs))
        return factor.logdet, factor.n_negative

    # -- matrices over the slots of Λ --------------------------------------------------------

    def of_slots(self, matrices: list[Array]) -> Array:
        """The elements at the slots of a matrix (t, n_factors) for each term, (n_slots,); 1 for X and filled cells."""
        return np.concatenate([ONE, *[matrix.ravel() for matrix in matrices]])[self.slot_places]

    def on_slots(self, elements: Array) -> list[Array]:
        """A matrix (t, n_factors) for each term, with these elements (n_slots,) at its slots and zero elsewhere."""
        flat = np.zeros(self.n_places)
        flat[self.slot_places] = elements
        out, end = [], 1
        for t, s in self.shapes:
            out.append(flat[end : end + t * s].reshape(t, s))
            end += t * s
        return out

    # -- between the columns of W and those of C --------------------------------------------

    def to_factor(self, v: Array, factors: list[tuple[Array, Array]]) -> Array:
        """T'v with T = blockdiag(I, Λ_k ⊗ I): from the columns of W to those of C; v is (m,) or (m, k)."""
        return self._blockwise(v, [factor.T for factor, _ in factors], self.of_effects)

    def from_factor(self, b: Array, factors: list[tuple[Array, Array]]) -> Array:
        """T b: effects (β, û) from the solution (β, b̂) of the factor form; b is (m,) or (m, k)."""
        return self._blockwise(b, [factor for factor, _ in factors], self.of_factors)

    def _blockwise(self, v: Array, matrices: list[Array], places: list[slice]) -> Array:
        """Each term's block of v, (columns of its matrix) · q long, times its matrix ⊗ I."""
        parts, end = [v[: self.p]], self.p
        for matrix, place in zip(matrices, places, strict=True):
            part, end = v[place], place.stop
            if matrix.size == 1:
                parts.append(part * matrix[0, 0])
            else:
                parts.append((matrix @ part.reshape(matrix.shape[1], -1)).reshape(-1, *v.shape[1:]))
        return np.concatenate([*parts, v[end:]])

    def factor_blocks(self, b: Array | None) -> list[Array]:
        """The random part of b, over the factors of C, as one (n_factors, q) array per term."""
        assert b is not None
        return [b[of].reshape(s, -1) for (_, s), of in zip(self.shapes, self.of_factors, strict=True)]

    def relate(self, k: int, solution: Solution, r: Array, b: Array | None) -> Array:
        """(I ⊗ K) r of term k for r (t, q·c), given b (n_factors, q·c) with D b = (Λ' ⊗ K) r.

        Where Λ is the Cholesky factor of Σ that is Λ⁻ᵀ D b (Λ must then be nonsingular), and K itself is not needed.
        """
        assert b is not None
        design = self.random[k]
        factor, signs = solution.factors[k]
        signed = signs[:, None] * b
        if factor.size == 1 and not design.structure.in_factor:
            return np.asarray(signed / factor[0, 0])
        if not design.structure.in_factor:
            return back_substituted(factor, signed)
        return design.relate(r)

    def _penalty(self, b: Array, factors: list[tuple[Array, Array]]) -> float:
        """b'(D ⊗ K⁻¹)b."""
        total = 0.0
        for k, (block, (_, signs)) in enumerate(zip(self.factor_blocks(b), factors, strict=True)):
            total += float(np.vdot(signs[:, None] * block, self.precision_times(k, block)))
        return total

    def precision_times(self, k: int, b: Array) -> Array:
        """(I ⊗ K⁻¹) b of term k for b (n_factors, q·c)."""
        design = self.random[k]
        if design.is_identity:
            return b
        parts = [design.relationship.precision_times(part) for part in b.reshape(len(b), design.q, -1)]
        return np.reshape(parts[0] if len(parts) == 1 else parts, b.shape)

    # -- the factor on hand ------------------------------------------------------------------

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

    def require(self, solution: Solution, ml: bool = False) -> None:
        """Make sure the factor on hand is the one of this solution, and for ML that of the random block as well."""
        missing = ml and solution.logdet_random is None
        if missing or self.at is not solution:
            again = self.solve(solution.theta, ml=ml or solution.logdet_random is not None, factors=solution.factors)
            solution.logdet_random = again.logdet_random
            self.at = solution

    # -- traces of C⁻¹: what the score and the EM rounds need -------------------------------------------------

    def slot_traces(self, solution: Solution, *, ml: bool = False) -> tuple[Array, Array]:
        """T (n_slots, n_slots) with ∂log|C|/∂λ = 2Tλ, and τ_r = ∂log|C|/∂ρ_r = tr(C⁻¹ W'D_r W) in factor form.

        Read from the selected inverse of C (REML) or of its random block (ML), where slot 0
        (X) then has no part.
        """
        if ("traces", ml) not in solution.kept:
            layout, inverse = self._inverse(solution, ml)
            T, of_residual = np.zeros((1, 1)), np.zeros(len(solution.rho))
            if inverse is not None:
                T = layout.slot_traces(self.cross_products.scaled(solution.rho), inverse)
                of_residual = self._residual_traces(solution, solution.slots, T, ml)
            solution.kept["traces", ml] = T, of_residual
        return solution.kept["traces", ml]

    def residual_traces(self, solution: Solution, slots: Array, *, ml: bool = False) -> Array:
        """tr(C⁻¹ T'W'D_r W T) of every r, with C at the solution and T at any slots λ."""
        return self._residual_traces(solution, slots, self.slot_traces(solution, ml=ml)[0], ml)

    def _residual_traces(self, solution: Solution, slots: Array, T: Array, ml: bool) -> Array:
        if len(solution.rho) == 1:  # it multiplies the whole of T'W'R⁻¹WT
            return np.asarray(slots @ T @ slots / solution.rho)
        layout, inverse = self._inverse(solution, ml)
        if inverse is None:
            return np.zeros(len(solution.rho))
        weights = layout.cross_product_weights(slots, inverse, len(self.cross_products.rows))
        return self.cross_products.traces(weights)

    def _inverse(self, solution: Solution, ml: bool) -> tuple[Layout, Array | None]:
        """C⁻¹ on its pattern, or that of its random block (None if there is none), with its layout."""
        self.require(solution, ml)
        if ml and self.m == self.p:
            return self.layout, None
        layout, factor = self.random_system if ml else (self.layout, self.factor)
        started = time.perf_counter()
        inverse = factor.inverse_on_pattern()
        self._spent("inverse", started)
        return layout, inverse

    def level_blocks(self, solution: Solution, k: int, ml: bool = False) -> Array:
        """C^{ll} (q, s, s), the block of C⁻¹ (of ML that of its random block) of each level of term k."""
        layout, inverse = self._inverse(solution, ml)
        assert inverse is not None
        before, design = self.random[:k], self.random[k]
        pair = sum(d.q * (d.structure.n_factors * (d.structure.n_factors - 1) // 2) for d in before)
        column = self.of_factors[k].start - (self.m - layout.m)
        out = np.empty((design.q, design.structure.n_factors, design.structure.n_factors))
        for a in range(out.shape[1]):
            for b in range(a):
                out[:, a, b] = out[:, b, a] = inverse[layout.level_at[pair : pair + design.q]]
                pair += design.q
            out[:, a, a] = inverse[layout.indptr[column : column + design.q]]
            column += design.q
        return out
