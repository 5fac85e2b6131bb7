"""The engine of products: y'Py, β̂ and û by conjugate gradients, slopes of ℓ by random probes.

Nothing of the order of the records squared is formed or factorised. ℓ itself is not known: log|V| would need a
factorisation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.arrays import Array, chunks_of
from remlblup.cached import cached_property
from remlblup.equations import needs
from remlblup.equations.computation import Computation
from remlblup.equations.memory import Memory
from remlblup.equations.record_errors import RecordErrors
from remlblup.equations.solution import ScoreMatrices
from remlblup.equations.stochastic.conjugate_gradients import Solved, dots, projected
from remlblup.equations.stochastic.control import controlled, exact_traces, seen
from remlblup.equations.stochastic.forecast import forecast
from remlblup.equations.stochastic.preconditioner import Preconditioner, ProjectionOfM
from remlblup.equations.stochastic.probes import Probes, bytes_each
from remlblup.equations.stochastic.products import Products
from remlblup.equations.stochastic.sketch import Deflated, Sketch, sketch_bytes
from remlblup.equations.stochastic.solution import NO_LIKELIHOOD, Slopes, StochasticSolution
from remlblup.equations.stochastic.unsolved import unsolved
from remlblup.equations.stochastic.where import workers_of
from remlblup.equations.variance.projection import Projection
from remlblup.errors import StochasticError
from remlblup.linalg.contract import FactorStats
from remlblup.linalg.memory import Need
from remlblup.model.specification import Specification

STOCHASTIC = Computation("stochastic")
# What is left of y, of working variates and of columns for tables, relative to what they were.
EXACT = 1e-8
# Of probes: they move a score by less than this share of its standard error, and are never solved worse than `LOOSE`.
SHARE, LOOSE = 0.005, 1e-4
# Of working variates, which only tell the way and the errors.
VARIATES = 1e-5
# Of products with what a few probes, at most so many, tell of the curvature.
ROUGH, COLUMNS = 1e-2, 8
# Elements of the columns of all fixed effects over the records up to which var(β̂) is solved for.
WITHIN_REACH = 1e8
# Probes where nobody has said how many; what a fit draws at most.
PROBES, MOST = 100, 1000
# Solves that nobody has to ask for.
MANY = 1000


class StochasticEquations(Projection):
    """V(θ) by products and conjugate gradients.

    Parameters
    ----------
    spec : Specification
    """

    kind = "stochastic"
    knows_likelihood = False
    #: Passes over the data, and columns of all of them: of fits of 5,000 × 10,000 and 3,000 × 6,000 genotypes.
    usual = 100, 2000
    #: Whether a few vectors of a genomic term are added to M.
    sketches = True

    def __init__(self, spec: Specification, asked: Computation = STOCHASTIC):
        super().__init__(spec, spec.random)
        self.asked = asked
        self.products_of = Products(spec, workers_of(asked, spec))
        self.preconditioner = Preconditioner(spec)
        self.products_of_M = Products(self.preconditioner.equations.spec, self.products_of.workers)
        self._probes_of_M: Probes | None = None
        #: Whether traces of M are a control of those of V.
        self.controls = True
        own = self.preconditioner.equations.stats
        self.stats = FactorStats(
            spec.n, own.nnz_matrix, own.nnz_factor, own.flops, "stochastic", own.ordering, own.ordering_reason
        )
        self.tolerance = min(LOOSE, SHARE * np.sqrt(2.0 / max(spec.n, 2)))
        self.iterations = 0
        #: Seed and number of the probes where none are given.
        self.draws = 0, PROBES
        self._at: tuple[bytes, ProjectionOfM] | None = None
        self._deflated: tuple[bytes, ProjectionOfM | Deflated] | None = None

    @property
    def memory(self) -> Memory:
        """The preconditioner's equations; then blocks of columns over the records and the effects, of `PROBES`."""
        n, own = float(self.spec.n), self.preconditioner.equations.memory
        columns = PROBES * bytes_each(self.spec)
        return Memory(
            own.built.then(needs.of_incidence(self)),
            own.iterated.then(Need.of(columns + (sketch_bytes(self.spec) if self.sketches else 0.0), 0.0)),
            Need(0.0, 0.0 if self.p_is_far else 8.0 * n * 4.0 * self.p),
            needs.of_table(self),
        )

    @property
    def p_is_far(self) -> bool:
        """Whether var(β̂) is out of reach: a solve for each fixed effect."""
        return self.p * self.spec.n > WITHIN_REACH

    @cached_property
    def X(self) -> Array:
        """(n, p), dense: for tables of few fixed effects."""
        work = self.spec.fixed.work
        return work.toarray() if sp.issparse(work) else np.asarray(work)

    # -- solves --------------------------------------------------------------------------------

    def projected(self, theta: Array, B: Array, tolerance: float | Array = EXACT, start: Array | None = None) -> Solved:
        """P B at θ, (n, c)."""
        started = time.perf_counter()
        precondition = self.precondition(theta)
        if self.preconditioner.exact:
            start = None  # P itself is at hand, and a start that is near enough would stay as it is
        times, least = partial(self.products_of.times, theta), self.preconditioner.least(theta)
        found = projected(times, precondition, B, tolerance, start, least=least)
        self.iterations = max(self.iterations, found.iterations)
        self._spent("solve", started)
        return found

    def solved(
        self, theta: Array, probes: Probes, start: Array | None = None, tolerance: float | None = None
    ) -> Solved:
        """Py, then Pz of the probes, (n, 1 + N), in one pass over the data."""
        enough = np.full(1 + len(probes), tolerance or self.tolerance)
        enough[0] = EXACT
        return self.projected(theta, np.column_stack([self.y, probes.z]), enough, start)

    def solved_probes(self, theta: Array, probes: Probes, known: int = 0, tolerance: float | None = None) -> Solved:
        """Pz of the probes from number `known` on."""
        return self.projected(theta, probes.z[:, known:], tolerance or self.tolerance)

    def solved_variates(self, theta: Array, F: Array, start: Array | None = None) -> Solved:
        """PF of the working variates F (n, n_parameters)."""
        return self.projected(theta, F, VARIATES, start)

    def leave(self) -> None:
        """Let go of what only a search needs."""

    def _projection_of_M(self, theta: Array) -> ProjectionOfM:
        key = theta.tobytes()
        if self._at is None or self._at[0] != key:
            self._at = None
            started = time.perf_counter()
            self._at = key, self.preconditioner.at(theta)
            self._spent("factor", started)
        return self._at[1]

    @cached_property
    def sketch(self) -> Sketch:
        """Of the genomic terms, made with the first solve."""
        return Sketch(self.products_of)

    def precondition(self, theta: Array) -> ProjectionOfM | Deflated:
        """P of M, and of what the sketch adds to it."""
        key, projection = theta.tobytes(), self._projection_of_M(theta)
        if not self.sketches:
            return projection
        if self._deflated is None or self._deflated[0] != key:
            self._deflated = None
            self._deflated = key, self.sketch.beside(projection, theta)
        return self._deflated[1]

    def solve(self, theta: Array, *, ml: bool = False) -> StochasticSolution:
        if ml:
            raise StochasticError("engine='stochastic' is for REML: leave method= out, or choose another engine.")
        found = self.projected(theta, self.y[:, None])
        return self.solution(theta, found.x[:, 0])

    def solution(self, theta: Array, weighted: Array) -> Any:
        """What follows from Py (n,), and what is left of y: by a product of its own, not as conjugate gradients go."""
        products, columns = self.products_of, weighted[:, None]
        related = products.related(products.scores(columns))
        residual = self.times_residual(theta, weighted)
        fitted = products.Z @ products.spread(theta, related) if self.random else 0.0 * columns
        rest = self.y - fitted[:, 0] - residual  # V Py = y − Xβ̂
        beta = self._ordinary_least_squares(rest)
        own, free = self.precondition(theta)(np.column_stack([rest, self.y]))
        size = np.maximum(dots(own, free), 0.0)
        left = float(np.sqrt(size[0] / size[1])) if size[1] > 0.0 else 0.0
        return StochasticSolution(
            theta,
            beta,
            residual,
            weighted,
            [block[:, :, 0] for block in related],
            float(self.y @ weighted),
            left,
            self,
        )

    def effects(self, solution: Any) -> Array:
        spread = self.products_of.spread(solution.theta, [h[:, :, None] for h in solution.related])
        return np.concatenate([solution.beta, spread[:, 0]])

    def working_effects(self, solution: Any) -> Array:
        places, parts = self.spec.parameters.slices, self.spec.parameters.split(solution.theta)
        out = np.zeros((self.W.shape[1], places[-1].start))
        for k, (design, h) in enumerate(zip(self.random, solution.related, strict=True)):
            variates = design.structure.changes(parts[k], h)
            out[self.of_effects[k], places[k]] = variates.reshape(-1, design.t * design.q).T
        return out

    def generalised(self, solution: Any) -> tuple[Array, Array]:
        """(X'V⁻¹X)⁻¹ and V⁻¹X, from H = V⁻¹X(X'V⁻¹X)⁻¹: X'H = I and VH lies in the columns of X.

        With any H₀ of X'H₀ = I it is H₀ − P V H₀.
        """
        p, X = self.p, self.X
        if self.p_is_far:
            raise StochasticError(
                f"errors of {p:,} fixed effects take a column of {self.spec.n:,} records each, too many for"
                " engine='stochastic': predict with se=False, make factors of many levels random terms, or choose"
                " another engine."
            )
        if not p:
            return np.zeros((0, 0)), np.zeros((self.spec.n, 0))
        inverse: Array = np.linalg.pinv(X).astype(float)
        H, VH = inverse.T.copy(), np.empty(X.shape)
        for some in chunks_of(p, PROBES):  # no more at a time than the search has
            H[:, some] -= self.projected(solution.theta, self.products_of.times(solution.theta, H[:, some])).x
            VH[:, some] = self.products_of.times(solution.theta, H[:, some])
        covariance = inverse @ VH
        covariance = 0.5 * (covariance + covariance.T)
        return covariance, scipy.linalg.solve(covariance, H.T, assume_a="pos").T

    def effects_of(self, solution: Any, V: Array) -> Array:
        """Of û alone, β̂ is left at zero."""
        x = self.projected(solution.theta, V, self.tolerance).x
        return np.vstack([np.zeros((self.p, V.shape[1])), self._spread(solution, self.Wt @ x)])

    def require(self, solution: Any) -> None:
        """Nothing is kept but what the solution holds."""

    def solve_columns(self, solution: Any, columns: Array) -> Array:
        """V⁻¹B = PB + V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹B."""
        solved_X = solution.solved_X
        return self.project(solution, columns) + solved_X @ (solution.covariance @ (solved_X.T @ columns))

    def project(self, solution: Any, columns: Array) -> Array:
        wide = columns.reshape(len(columns), -1)
        return self.projected(solution.theta, wide).x.reshape(columns.shape)

    def relate(self, k: int, solution: Any, r: Array, b: Array | None) -> Array:
        design = self.random[k]
        if design.is_identity:
            return r
        block = r.reshape(design.t, design.q, -1)
        wide = np.moveaxis(block, 1, 0).reshape(design.q, -1)
        product = self.products_of.multiply(design, np.ascontiguousarray(wide))
        return np.moveaxis(product.reshape(design.q, design.t, -1), 0, 1).reshape(r.shape)

    # -- slopes --------------------------------------------------------------------------------

    def slopes(self, solution: Any, probes: Probes, x: Array, errors: Array) -> Slopes:
        """∂ℓ/∂θ_i = −½[tr(P V̇_i) − y'P V̇_i P y], the trace by the probes and x = P z (n, N), of which `errors` (N,) may
        be missing."""
        theta, products, spec = solution.theta, self.products_of, self.spec
        parts, places = spec.parameters.split(theta), spec.parameters.slices
        N, shapes = len(probes), [(d.t, d.t) for d in self.random]
        each = [T.reshape(N, -1) for T in probes.traces(products, x)]
        each.append(probes.residual_traces(products, theta, x))
        traces, inflated, fitted = self._controlled(theta, probes, np.hstack(each))
        cuts = np.cumsum([part.shape[1] for part in each[:-1]])
        *blocks, of_residual = np.split(traces, cuts, axis=1)
        of_probes, of_sigma = np.empty((N, len(theta))), []
        scores = products.scores(solution.weighted_residual[:, None])
        for k, (block, r) in enumerate(zip(blocks, scores, strict=True)):
            quadratic = r[:, :, 0] @ solution.related[k].T
            S = -0.5 * (block.reshape(N, *shapes[k]) - 0.5 * (quadratic + quadratic.T))
            of_sigma.append(S.mean(axis=0))
            of_probes[:, places[k]] = [spec.random[k].structure.score(parts[k], one) for one in S]
        residual = solution.residual
        own = [-(residual @ spec.residual.pattern.times(rho, residual)) for rho in spec.residual.jacobian(parts[-1])]
        of_probes[:, places[-1]] = -0.5 * (of_residual - np.array(own))
        left = unsolved(products, probes, theta, errors)
        return Slopes(of_probes.mean(axis=0), of_probes, tuple(of_sigma), left, inflated, fitted)

    def _controlled(self, theta: Array, probes: Probes, traces: Array) -> tuple[Array, float, int]:
        """Traces by probe (N, ·), with those of M for a control; see `controlled`."""
        if not self.preconditioner.kept or not self.controls:
            return traces, 1.0, 0
        projection, products = self._projection_of_M(theta), self.products_of_M
        if self._probes_of_M is None or self._probes_of_M.z is not probes.z:
            self._probes_of_M = self.preconditioner.probes(probes, products)
        own = self._probes_of_M
        by_probe = seen(products, own, projection.theta, projection(own.z)[0])
        return controlled(traces, by_probe, exact_traces(projection.equations, projection.theta, products))

    def slopes_of(self, solution: Any) -> Slopes:
        """Those at hand, or by the probes of `draws`."""
        if "slopes" not in solution.kept:
            probes = Probes.drawn(self.products_of, *self.draws)
            found = self.projected(solution.theta, probes.z, self.tolerance)
            solution.kept["slopes"] = self.slopes(solution, probes, found.x, found.error)
        return solution.kept["slopes"]

    def score_matrices(self, solution: Any, units: list[Array], ml: bool) -> ScoreMatrices:
        """∂ℓ/∂Σ of every term; of R moments that have its score, which is all that is asked of them."""
        slopes = self.slopes_of(solution)
        place, residual = self.spec.parameters.of_residual, self.spec.residual
        phi = solution.theta[place]
        wanted = -2.0 * slopes.gradient[place] - residual.logdet_gradient(phi)
        moments: Array = np.linalg.lstsq(residual.jacobian(phi), wanted, rcond=None)[0].astype(float)
        return ScoreMatrices(solution, slopes.of_sigma, (None,) * len(self.random), moments)

    def average_information(self, solution: Any) -> Array:
        F = self.working_variates(solution)
        return self.information(F, self.solved_variates(solution.theta, F).x)

    @staticmethod
    def information(F: Array, solved: Array) -> Array:
        """½F'PF of working variates F and `solved` = PF, (n, n_parameters)."""
        ai = 0.5 * F.T @ solved
        return np.asarray(0.5 * (ai + ai.T))

    def observed_information(self, theta: Array, probes: Probes, x: Array, average: Array) -> Array:
        """−∂s_i/∂θ_j = y'PV̇_iPV̇_jPy − ½tr(PV̇_iPV̇_j) of the score s, for V linear in θ: twice the average information
        less traces by a few probes, of which x = P z (n, N)."""
        few = max(1, min(COLUMNS, len(probes) // len(theta)))
        related = [None if block is None else block[:, :, :few] for block in probes.related]
        own = self.products_of.slopes(theta, probes.z[:, :few], related)
        traces = np.einsum("inm,jnm->ij", own, self.solved_slopes(theta, probes, x[:, :few]), optimize=True) / few
        return np.asarray(2.0 * average - 0.25 * (traces + traces.T))

    def solved_slopes(self, theta: Array, probes: Probes, x: Array) -> Array:
        """P V̇_i x of every parameter for x = P z of the first probes (n, m), (n_parameters, n, m), to a few digits."""
        right = np.moveaxis(self.products_of.slopes(theta, x), 0, 1)
        found = self.projected(theta, np.ascontiguousarray(right).reshape(len(x), -1), ROUGH).x
        return np.moveaxis(found.reshape(right.shape), 1, 0)

    # -- what takes as many solves as there are levels or records ---------------------------------

    def log_determinant(self, solution: Any, ml: bool) -> float:
        raise StochasticError(NO_LIKELIHOOD)

    @property
    def forecast(self) -> str:
        return forecast(self.spec, PROBES, MOST, self.products_of.workers, *self.usual)

    def missing(self, table: str) -> str:
        if table == "random effects":
            return (
                "Prediction error variances are missing: a solve for each level. fit.sampled_reliabilities(term) has"
                " estimates, with their Monte Carlo error."
            )
        far = f"Standard errors are missing: a solve for each of {self.p:,} coefficients."
        return far if self.p_is_far else ""

    def level_covariances(self, solution: Any) -> list[Array]:
        """Missing: each would be a solve per level."""
        return [np.full((d.q, d.t, d.t), np.nan) for d in self.random]

    def fixed_responses(self, solution: Any) -> Iterator[tuple[slice, Array, Array, Array, Array | None]]:
        if self.p_is_far:
            self.generalised(solution)
        return super().fixed_responses(solution)

    def fixed_covariance(self, solution: Any) -> Array:
        if self.p_is_far:
            return np.full((self.p, self.p), np.nan)
        return super().fixed_covariance(solution)

    def prediction_variances(self, solution: Any, rows: Any) -> Array:
        self.check_solves(rows.shape[0], "standard errors of predictions", "give fewer rows at a time, or se=False")
        return super().prediction_variances(solution, rows)

    def check_solves(self, count: int, what: str, remedy: str) -> None:
        """Raises
        ------
        StochasticError
            If it takes more than `MANY` solves, with their number.
        """
        if count <= MANY:
            return
        raise StochasticError(
            f"{what} take {count:,} solves by conjugate gradients: {remedy}, or choose another engine."
        )

    def record_errors(self, solution: Any) -> RecordErrors:
        raise StochasticError(
            "leverages and standardised residuals take a solve for each record, which engine='stochastic' does not do:"
            " fit a part of the data with another engine."
        )
