"""V itself: the engine for dense relationships of few records per level, several of them at once.

With P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹ and r_i = Z_i'Py,

    û = (Σ ⊗ K) Z'Py,    S_ij = ∂ℓ/∂Σ_ij = −½ [tr(P Z_i K Z_j') − r_i'K r_j],
    τ_r = tr(D_r (R − RPR)),    var(û − u) = G − GZ'PZG

(Searle, Casella & McCulloch 1992, chapters 6 and 7). No K is inverted, so any positive semidefinite one will do. V
is held once, and factorised and inverted in place; relationships are read a block of rows at a time. Where V lies is
a `Place`: this machine, or a card, with vectors and all that is sparse here; the algebra is written once for both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array, sums
from remlblup.cached import cached_property
from remlblup.equations import needs
from remlblup.equations.base import CHUNK, Bench
from remlblup.equations.computation import Computation
from remlblup.equations.memory import Memory
from remlblup.equations.solution import ScoreMatrices
from remlblup.equations.variance.projection import Projection, regression
from remlblup.equations.variance.spread import Spread, spread_bytes
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.contract import DEPENDENT_PIVOT, FactorStats
from remlblup.linalg.device.place import Inverting, placed
from remlblup.linalg.memory import Need, require
from remlblup.model.specification import Specification


@dataclass
class VarianceSolution:
    """V(θ) factorised and the generalised least squares of y on X.

    Attributes
    ----------
    theta : (n_parameters,)
    ml : whether P stands for V⁻¹ in the traces
    beta : (p,) of the response free of its mean, for X as `FixedDesign.work`
    solved_X : (n, p) V⁻¹X
    covariance : (p, p) (X'V⁻¹X)⁻¹
    added : (p,) what of its diagonal is not var(β̂)
    residual : (n,) ê = R Py
    weighted_residual : (n,) Py
    logdet : log|V|; `logdet_fixed` log|X'V⁻¹X|
    quadratic : y'Py
    effects : β, then û over the effects of W
    b : None, for this engine has no factor form
    inverted : whether its factor has been inverted, and what is asked of it comes from V⁻¹
    kept : what has been computed from it
    """

    theta: Array
    ml: bool
    beta: Array
    solved_X: Array
    covariance: Array
    added: Array
    residual: Array
    weighted_residual: Array
    logdet: float
    logdet_fixed: float
    quadratic: float
    equations: Projection = field(repr=False)
    b: None = None
    inverted: bool = False
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def effects(self) -> Array:
        return self.equations.effects(self)


class VarianceEquations(Projection):
    """V(θ) = Σ_k Z_k (Σ_k ⊗ K_k) Z_k' + R, dense.

    Parameters
    ----------
    spec : Specification
    reason : why this engine was chosen
    least_pivot : share of its diagonal element below which a pivot of V is zero
    device : where V lies
    beside_fixed : whether V need be regular only beside the fixed effects (not for ML): V + XDX' then stands for V,
        with the same P, restricted likelihood and β̂, and (X'V⁻¹X)⁻¹ + D for var(β̂)
    """

    kind = "V"

    def __init__(
        self,
        spec: Specification,
        reason: str = "asked for",
        least_pivot: float = DEPENDENT_PIVOT,
        beside_fixed: bool = False,
        device: str = "cpu",
    ):
        n = spec.n
        self.asked, self.place = Computation("dense", device), placed(device)
        super().__init__(spec, spec.random)
        dense = sum(spread_bytes(d) for d in spec.random)
        require(
            dense + self.memory.all,
            f"the covariance matrix of {n:,} records and its relationships",
            "fewer records, or engine='sparse', which works with the levels where relationships are sparse.",
        )
        self.X = spec.fixed.work.toarray() if sp.issparse(spec.fixed.work) else np.asarray(spec.fixed.work)
        with self.place.watched():
            self.V = self._room_for_V()
            self.spreads = [Spread(design, self.place) for design in spec.random]
        self.least_pivot, self.beside_fixed = least_pivot, beside_fixed
        self.factor: Inverting | None = None
        taken = 8.0 * n * n + dense
        below = n * (n + 1) // 2
        where = f"V itself{f' on {self.place.note}' if self.place.note else ''}"
        self.stats = FactorStats(n, below, below, n**3 / 3.0, "dense", where, reason, taken, taken)

    def _room_for_V(self) -> Any:
        self.place.reserve(self.spec.n)
        return self.place.empty(self.spec.n)

    @property
    def memory(self) -> Memory:
        """V, factorised and inverted in place by tiles; then columns of P for the errors of some levels at a time."""
        n, p = float(self.spec.n), float(self.p)
        built = needs.of_incidence(self).then(Need.of(sum(spread_bytes(d) for d in self.random), 0.0))
        tables = needs.of_effects_by_columns(self, CHUNK)
        points = needs.of_points(self)
        of_V = self.place.need(self.spec.n)
        V = Need.of(of_V.kept + 8.0 * n * 3.0 * p, 0.0)
        return Memory(
            built.then(V),
            Need.of(points.kept, max(of_V.peak - of_V.kept, points.peak - points.kept) + needs.of_places(self)),
            Need(0.0, 8.0 * n * p * 5.0),
            tables,
        )

    # -- one solve ---------------------------------------------------------------------------

    def with_response(self, spec: Specification) -> Self:
        """At a bench and with a V of its own, which factors and inverts in place."""
        out = super().with_response(spec)
        with self.place.watched():
            out.bench, out.V, out.factor = Bench(), self._room_for_V(), None
        return out

    def solve(self, theta: Array, *, ml: bool = False) -> VarianceSolution:
        self.at = None
        started = time.perf_counter()
        with self.place.watched():
            self._assemble(theta)
            added = self._add_fixed() if self.beside_fixed and not ml else np.zeros(self.p)
            self.factor = self.place.cholesky(self.V, self.least_pivot)
            self.place.wait()
        self._spent("factor", started)
        self.at = self._regressed(theta, ml, self.factor.logdet, added)
        return self.at

    def _add_fixed(self) -> Array:
        """V + XDX', each column of X no larger than V in its own records; the diagonal of D (p,)."""
        diagonal = self.place.diagonal(self.V)
        if not np.max(diagonal) > 0.0:
            raise NotPositiveDefiniteError("the covariance matrix of the records is zero or not finite.")
        variances = np.where(diagonal > 0.0, diagonal, np.max(diagonal))
        inverse = np.sum(self.X**2 / variances[:, None], axis=0) / np.maximum(np.count_nonzero(self.X, axis=0), 1)
        added = np.divide(1.0, inverse, out=np.ones(self.p), where=inverse > 0.0)
        XD, X = self.place.array(self.X * added), self.place.array(self.X)
        for block in self.place.blocks(self.spec.n):
            self.V[block, : block.stop] += XD[block, :] @ X[: block.stop, :].T
        return added

    def _assemble(self, theta: Array) -> None:
        """V(θ), its lower triangle, a block of rows at a time."""
        *parts, phi = self.spec.parameters.split(theta)
        sigmas = [d.structure.covariance(part) for d, part in zip(self.random, parts, strict=True)]

        def rows(block: slice) -> None:
            ahead = slice(0, block.stop)
            self.V[block, ahead] = 0.0
            for spread, sigma in zip(self.spreads, sigmas, strict=True):
                spread.add(self.V[block, ahead], block, sigma)

        self.place.each(rows, self.place.blocks(self.spec.n))
        self._add_residual(phi)

    def _add_residual(self, phi: Array) -> None:
        """V + R."""
        n = self.spec.n
        if self.residual.pattern.is_diagonal:
            self.place.add_diagonal(self.V, self.residual.multiply(phi, np.ones(n)))
            return
        for block in self.place.blocks(n):
            unit = np.zeros((n, block.stop - block.start))
            unit[np.arange(block.start, block.stop), np.arange(unit.shape[1])] = 1.0
            self.V[block, : block.stop] += self.place.array(self.residual.multiply(phi, unit)[: block.stop].T)

    def _regressed(self, theta: Array, ml: bool, logdet: float, added: Array) -> VarianceSolution:
        """β̂ and Py by generalised least squares."""
        started = time.perf_counter()
        X, y, p = self.X, self.y, self.p
        solved = self._solved(np.column_stack([X, y]))
        beta, covariance, logdet_fixed = regression(X, solved[:, :p], y)
        left = y - X @ beta
        weighted = solved[:, p] - solved[:, :p] @ beta
        residual = self.times_residual(theta, weighted)
        self._spent("solve", started)
        return VarianceSolution(
            theta,
            ml,
            beta,
            solved[:, :p],
            covariance,
            added,
            residual,
            weighted,
            logdet,
            logdet_fixed,
            float(left @ weighted),
            self,
        )

    def require(self, solution: VarianceSolution) -> None:
        """Make sure the factor on hand is the one of this solution, inverted or not as it was before.

        Solves by L and by V⁻¹ differ in the last digits: which of them a table is made with must not depend on what
        else was done with these equations.
        """
        at = self.at
        same = at is solution or (at is not None and at.ml == solution.ml and np.array_equal(at.theta, solution.theta))
        if not same or not self._holds(solution):
            self.solve(solution.theta, ml=solution.ml)
        if solution.inverted and self.factor is not None:
            with self.place.watched():
                self.factor.inverse()

    def _holds(self, solution: VarianceSolution) -> bool:
        """Whether the factor is whole, and as the solution needs it or on the way to that."""
        factor = self.factor
        return factor is not None and factor.whole and (solution.inverted or not factor.inverted)

    # -- derivatives -------------------------------------------------------------------------

    def score_matrices(self, solution: VarianceSolution, units: list[Array], ml: bool) -> ScoreMatrices:
        """S (t, t) of every term, and the moments E[e'D_r e | y] of the residual; at a singular Σ as well."""
        started = time.perf_counter()
        solution.inverted = True
        self.require(solution)
        self.place.wait()
        self._spent("inverse", started)
        H = np.zeros((self.spec.n, 0)) if ml else solution.solved_X
        HC = H @ (np.zeros((0, 0)) if ml else solution.covariance)
        blocks = self._traces(H, HC)
        of_sigma: list[Array | None] = []
        of_factor: list[Array | None] = []
        for k, r in enumerate(self.term_blocks(self.effect_scores(solution))):
            trace = self.spreads[k].total([of_terms[k] for of_terms, _ in blocks])
            quadratic = r @ self.relate_recorded(k, solution, r, None).T
            S = -0.25 * (trace + trace.T) + 0.25 * (quadratic + quadratic.T)
            structure = self.random[k].structure
            if structure.in_factor:  # ∂ℓ/∂Λ = 2 S Λ
                of_factor.append(2.0 * S @ structure.factor(solution.theta[self.spec.parameters.slices[k]])[0])
                of_sigma.append(None)
            else:
                of_sigma.append(S)
                of_factor.append(None)
        phi = solution.theta[self.spec.parameters.of_residual]
        diagonal = np.concatenate([d for _, d in blocks])
        moments = self.residual.pattern.moments(solution.residual)
        if self.residual.n_parameters:  # else nothing asks for them
            moments = moments + self._residual_traces(phi, diagonal, H, HC)
        return ScoreMatrices(solution, tuple(of_sigma), tuple(of_factor), moments)

    def _traces(self, H: Array, HC: Array) -> list[tuple[list[Any], Array]]:
        """By blocks of rows of P = V⁻¹ − HCH': its part of the traces of every term, and of its diagonal."""
        assert self.factor is not None
        place = self.place
        with place.watched():
            inverse = self.factor.inverse()
            H_there, HC_there = place.array(H), place.array(HC)

            def rows(block: slice) -> tuple[list[Any], Array]:
                P = inverse[block, : block.stop] - HC_there[block, :] @ H_there[: block.stop, :].T
                return [spread.traces(P, block) for spread in self.spreads], place.diagonal(P[:, block.start :])

            return place.each(rows, place.blocks(self.spec.n))

    def _residual_traces(self, phi: Array, diagonal: Array, H: Array, HC: Array) -> Array:
        """τ_r = tr(D_r (R − RPR)), given the diagonal of P."""
        pattern, n = self.residual.pattern, self.spec.n
        if pattern.is_diagonal:
            R = self.residual.multiply(phi, np.ones(n))
            return sums(pattern.coefficient, pattern.value * (R - R * R * diagonal), pattern.n_coefficients)
        # RPR at the entries of the pattern, a tile of columns at a time.
        order = np.argsort(pattern.columns, kind="stable")
        columns = pattern.columns[order]
        entries = np.empty(len(order))
        for block in self.place.blocks(n):
            here = order[np.searchsorted(columns, block.start) : np.searchsorted(columns, block.stop)]
            if not len(here):
                continue
            unit = np.zeros((n, block.stop - block.start))
            unit[np.arange(block.start, block.stop), np.arange(unit.shape[1])] = 1.0
            R = self.residual.multiply(phi, unit)
            PR = self._solved(R) - HC @ (H.T @ R)
            left = R - self.residual.multiply(phi, PR)
            entries[here] = left[pattern.rows[here], pattern.columns[here] - block.start]
        weights = pattern.value * np.where(pattern.rows == pattern.columns, 1.0, 2.0) * entries
        return sums(pattern.coefficient, weights, pattern.n_coefficients)

    def solve_columns(self, solution: VarianceSolution, columns: Array) -> Array:
        self.require(solution)
        return self._solved(columns)

    def _solved(self, columns: Array) -> Array:
        """V⁻¹ columns (n, k), by the factor or the inverse at hand."""
        assert self.factor is not None
        with self.place.watched():
            return self.place.host(self.factor.solve(self.place.array(columns)))

    def relate_recorded(self, k: int, solution: VarianceSolution, r: Array, b: Array | None) -> Array:
        return self.spreads[k].relate(r)
