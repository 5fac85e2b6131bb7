"""What every engine offers to the REML loop and to the tables: V(θ) solved, its score, its information, its errors.

An engine is one way to work with V = ZGZ' + R: Henderson's mixed model equations (`equations.henderson`), V itself
(`equations.variance`), or V in a basis where it is tridiagonal (`equations.variance.spectral`).
All give the same numbers.
"""

from __future__ import annotations

import copy
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.computation import Computation
from remlblup.equations.expansion import Expansion
from remlblup.equations.memory import Memory
from remlblup.equations.record_errors import RecordErrors
from remlblup.equations.scales import Scales
from remlblup.equations.solution import ScoreMatrices, Solution
from remlblup.linalg.contract import FactorStats
from remlblup.linalg.least_squares import least_squares
from remlblup.linalg.rank.gram import products
from remlblup.linalg.row_blocks import times, transposed
from remlblup.linalg.threads import Lock
from remlblup.model.design import RandomDesign
from remlblup.model.incidence import dense_incidence
from remlblup.model.record_variances import refined
from remlblup.model.specification import Specification
from remlblup.structure.base import Structure

# W is held dense below this many elements: fewer microseconds per product in small models.
DENSE_ELEMENTS = 20_000
# Right-hand sides solved at once, and elements of all of them together.
CHUNK, ELEMENTS = 128, 2_000_000


@dataclass
class Bench:
    """Who may write into a factor, and what it holds: one for all equations that share it.

    Attributes
    ----------
    solution : of which the factor holds the factorisation
    random_system : layout and factor of the random block of C, once ML has asked for them
    """

    lock: Lock = field(default_factory=Lock)
    solution: Solution | None = None
    random_system: Any = None


class Equations(ABC):
    """A model ready to be solved at any θ.

    Parameters
    ----------
    spec : Specification
    random : the terms as they stand in the equations (see `RandomDesign.in_equations`)

    Attributes
    ----------
    y : (n + filled cells,) response free of its weighted least-squares mean: P y is the same, and keeps its digits
    beta_ols : (p,) that regression
    W : [X Z], over the records and the cells filled in
    bench : of the factor: its lock, and what it holds
    """

    stats: FactorStats
    #: Whether ℓ has a value here, and not its slopes alone.
    knows_likelihood: bool = True

    @property
    def forecast(self) -> str:
        """What a fit will take beside factorisations, in words; empty for nothing."""
        return ""

    def missing(self, table: str) -> str:
        """Why numbers of a table, "random effects" or "fixed effects", are missing by design; empty for none."""
        return ""

    def effects_of(self, solution: Any, V: Array) -> Array:
        """β̂ and û of the columns of V as records; û no more exact than a mean over draws asks for."""
        return self.respond(solution, V)[0]

    def check_solves(self, count: int, what: str, remedy: str) -> None:
        """Raise an error where so many solves are too many to be taken unasked; here none are."""
        return

    #: How to make them again, and what a saved fit calls these equations.
    asked: Computation
    kind: str

    def __init__(self, spec: Specification, random: tuple[RandomDesign, ...]):
        self.spec, self.random = spec, random
        self.p, self.residual = spec.p, spec.residual
        self.of_effects = term_slices(spec.p, [d.t * d.q for d in random])
        self.W = self._incidence()
        self.Wt = transposed(self.W)
        self.bench = Bench()
        self.seconds = dict.fromkeys(("factor", "inverse", "solve"), 0.0)
        self._take(spec.y)

    @property
    def lock(self) -> Lock:
        """Held by whoever works with the factor."""
        return self.bench.lock

    @property
    def at(self) -> Any:
        """The solution that the factor is of; None while that is not known."""
        return self.bench.solution

    @at.setter
    def at(self, solution: Solution | None) -> None:
        self.bench.solution = solution

    @property
    def searched(self) -> Equations:
        """Those that θ is searched with: others where the model is written in another way, see `without_inverse`."""
        return self

    def with_structures(self, structures: Mapping[int, Structure]) -> Self:
        """The same equations with other structures of the same shape, by term: at the same bench,
        with the same factor."""
        own, standing = (
            tuple(replace(d, structure=structures.get(k, d.structure)) for k, d in enumerate(random))
            for random in (self.spec.random, self.random)
        )
        out = copy.copy(self)
        out.spec, out.random = replace(self.spec, random=own), standing
        out.__dict__.pop("units", None)
        return out

    def with_response(self, spec: Specification) -> Self:
        """The same equations for another response: `spec` differs in y alone. The bench and its factor are shared."""
        out = copy.copy(self)
        out.spec = spec
        for kept in ("scales", "units", *self._of_response):
            out.__dict__.pop(kept, None)
        out._take(spec.y)
        return out

    #: Names of cached properties that depend on y.
    _of_response: tuple[str, ...] = ()

    def _take(self, y: Array) -> None:
        """Set down the response, free of its weighted least-squares mean."""
        fixed = self.spec.fixed
        self.beta_ols = (
            self._ordinary_least_squares(y) if fixed.metric is None else refined(fixed.work, fixed.metric, y)
        )
        self.y = np.concatenate([y - fixed.work @ self.beta_ols, np.zeros(self.n_filled)])

    def _incidence(self) -> sp.csr_array | Array:
        """W = [X Z_1 …], and below it a row and a column of its own for each cell the residual structure fills in.

        Dense up to `DENSE_ELEMENTS`.
        """
        spec, filled = self.spec, self.n_filled
        n, m = spec.n + filled, spec.p + sum(d.t * d.q for d in self.random) + filled
        if n * m <= DENSE_ELEMENTS:
            return dense_incidence(spec.fixed.work, [d.columns for d in self.random], n, m)
        W = sp.csr_array(sp.hstack([sp.csr_array(spec.fixed.work), *[z for d in self.random for z in d.columns]]))
        return sp.csr_array(sp.block_diag([W, sp.eye_array(filled)])) if filled else W

    @property
    def n_filled(self) -> int:
        """Number of cells the equations fill in with effects of their own."""
        return self.spec.residual.n_filled

    @cached_property
    def scales(self) -> Scales:
        """Sizes of the variances before anything is estimated."""
        return Scales.of(self.spec, self.y[: self.spec.n])

    @cached_property
    def units(self) -> list[Array]:
        """Per term (t, t): Σ with which it would explain all of y, see `Scales.units`."""
        return self.scales.units(self.spec.random)

    def dense_parts(self, k: int) -> tuple[str, ...]:
        """Where the dense part of the relationship of term k is held once more."""
        return ()

    @property
    @abstractmethod
    def memory(self) -> Memory:
        """What the model takes of memory, by phase."""

    @property
    @abstractmethod
    def m(self) -> int:
        """Order of what is factorised."""

    # -- one solve ---------------------------------------------------------------------------

    @abstractmethod
    def require(self, solution: Any) -> None:
        """Make sure that what is on hand is that of this solution."""

    #: E of `moment_forms` by the elements of every Σ and of σ², where a small model has it at hand.
    moment_expectations: Array | None = None

    def moment_forms(self) -> Array:
        """Quadratic forms of y, see `henderson.moments`."""
        raise NotImplementedError

    @abstractmethod
    def solve(self, theta: Array, *, ml: bool = False) -> Any:
        """The solution at θ: theta, residual ê, weighted_residual R⁻¹ê = Py, effects, quadratic y'Py.

        Raises
        ------
        NotPositiveDefiniteError
            If V(θ) is not positive definite (possible only for negative components).
        """

    @abstractmethod
    def log_determinant(self, solution: Any, ml: bool) -> float:
        """log|V| + log|X'V⁻¹X|; of ML log|V|."""

    def solve_again(self, theta: Array, ml: bool, found: Any, nudged: Any) -> tuple[Any, Any]:
        """Solutions at θ, and where the score was taken, of what other structures of the same Σ
        `found` and `nudged`."""
        solution = self.solve(theta, ml=ml)
        return solution, solution

    # -- first and second derivatives --------------------------------------------------------

    @abstractmethod
    def score_matrices(self, solution: Any, units: list[Array], ml: bool) -> ScoreMatrices:
        """∂ℓ/∂Σ of every term and the moments of R; `units` (t, t) per term are what counts as 1 for a nudge."""

    @abstractmethod
    def average_information(self, solution: Any) -> Array:
        """AI (n_parameters, n_parameters), at a solution with nonsingular Λ (that of `score_matrices`).

        AI_ij = ½ f_i'P f_j with the working variates f_i = V̇_i P y: one solve per parameter, no traces (Gilmour,
        Thompson & Cullis 1995; Johnson & Thompson 1995).
        """

    @property
    def expansion(self) -> Expansion | None:
        """The regressions of PX-EM; None in an engine without, where EM takes its place."""
        return None

    @abstractmethod
    def relate(self, k: int, solution: Any, r: Array, b: Array | None) -> Array:
        """(I ⊗ K) r of term k for r (t, q·c); b as `factor_blocks` gives it, where the engine has one."""

    def relate_recorded(self, k: int, solution: Any, r: Array, b: Array | None) -> Array:
        """The same for Z'Py or the like, that records have made: at levels without records it may be anything."""
        return self.relate(k, solution, r, b)

    def factor_blocks(self, b: Array | None) -> Sequence[Array | None]:
        """The random part of b over the factors, per term; None in an engine without."""
        return [None] * len(self.random)

    def effect_scores(self, solution: Any) -> Array:
        """W'Py over the effects of W; zero for β."""
        if "scores" not in solution.kept:
            solution.kept["scores"] = times(self.Wt, solution.weighted_residual)
        return solution.kept["scores"]

    def working_effects(self, solution: Any) -> Array:
        """(Σ̇_i ⊗ I) h of every parameter of G, h = (I ⊗ K) Z'Py, as columns over the effects of W.

        W times these are the working variates of these parameters.
        """
        parameters, theta = self.spec.parameters, solution.theta
        out = np.zeros((self.W.shape[1], parameters.of_residual.start))
        scores, solved = self.term_blocks(self.effect_scores(solution)), self.factor_blocks(solution.b)
        for k, (design, place, r, b) in enumerate(zip(self.random, parameters.of_terms, scores, solved, strict=True)):
            h = self.relate_recorded(k, solution, r, b)
            variates = design.structure.changes(theta[place], h)
            out[self.of_effects[k], place] = variates.reshape(-1, design.t * design.q).T
        return out

    # -- errors ------------------------------------------------------------------------------

    @abstractmethod
    def level_covariances(self, solution: Any) -> list[Array]:
        """Per term (q, t, t): var(û − u) of the effects of each level of its relationship."""

    @abstractmethod
    def fixed_covariance(self, solution: Any) -> Array:
        """var(β̂) = (X'V⁻¹X)⁻¹, (p, p), as the user coded X."""

    @abstractmethod
    def fixed_variances(self, solution: Any) -> Array:
        """Its diagonal, (p,)."""

    @abstractmethod
    def fixed_responses(self, solution: Any) -> Iterator[tuple[slice, Array, Array, Array, Array | None]]:
        """In chunks of fixed effects: their columns of var(β̂) (p, c), H = V⁻¹X(X'V⁻¹X)⁻¹, R H, and −b for `relate`."""

    @abstractmethod
    def fixed_products(self, solution: Any, chunk: slice) -> tuple[Array, list[Array], Array]:
        """What ∂var(β̂_j)/∂θ is made of, of some fixed effects j, with H as in `fixed_responses`.

        var(β̂_j) (c,), of every term r (I ⊗ K) r' with r = Z'H_j (c, t, t), and (R H_j)'D_r R H_j (n_coefficients, c).
        `require` must have seen to what is on hand.
        """

    @abstractmethod
    def respond(self, solution: Any, V: Array) -> tuple[Array, Array]:
        """Effects (β_work, û) over the columns of W for the columns of V (n, c) as records, (·, c), and P V (n, c)."""

    @abstractmethod
    def before_projection(self, solution: Any, records: np.ndarray, projection: Array) -> Array:
        """The diagonal that P_hh, the `projection` of some records, is a remainder of: its size but for rounding."""

    @abstractmethod
    def record_errors(self, solution: Any) -> RecordErrors:
        """The diagonals of P and of I − RP over the records."""

    @abstractmethod
    def fixed_cross_covariances(self, solution: Any, columns: np.ndarray) -> list[Array]:
        """cov(β̂_j, û − u) of some fixed effects j (c,) with the levels of every term, (t, q, c) each."""

    @abstractmethod
    def prediction_variances(self, solution: Any, rows: Any) -> Array:
        """var(w'(β̂, û) − w'(β, u)) for rows w (k, p + levels of all terms), with X as `FixedDesign.work`."""

    # -- blocks ------------------------------------------------------------------------------

    def term_blocks(self, v: Array) -> list[Array]:
        """The random part of v, over the effects of W, as one (t, q) array per term; (t, q·c) for v (m, c)."""
        return [v[place].reshape(d.t, -1) for d, place in zip(self.random, self.of_effects, strict=True)]

    def level_effects(self, solution: Any) -> list[Array]:
        """û of each term over the levels of its relationship, (t, q)."""
        return [
            u if design.root is None else u @ design.root.T
            for design, u in zip(self.random, self.term_blocks(solution.effects), strict=True)
        ]

    # -- regressions on X --------------------------------------------------------------------

    def _ordinary_least_squares(self, v: Array) -> Array:
        """β_work of the weighted regression of v (n,) or (n, k) on X."""
        X = self.spec.fixed.work
        if self.p == 0:
            return np.zeros((0, *v.shape[1:]))
        if not sp.issparse(X):
            root = np.sqrt(self.spec.weights)
            return least_squares(root[:, None] * X, (root * v.T).T)
        from scipy.sparse.linalg import spsolve  # a heavy import

        rhs = X.T @ (self.spec.weights * v.T).T
        if self.p == 1:
            return rhs / self._normal.diagonal()
        return np.asarray(spsolve(self._normal, rhs)).reshape(rhs.shape)

    @cached_property
    def _normal(self) -> sp.csc_matrix:
        """X'WX of a sparse X, W the weights."""
        return sp.csc_matrix(products(sp.csc_array(self.spec.fixed.work), self.spec.weights))

    def project_out(self, v: Array) -> Array:
        """What is left of v (n,) or (n, k) after its weighted regression on X."""
        return v - self.spec.fixed.work @ self._ordinary_least_squares(v)

    @property
    def projection_work(self) -> float:
        """About the flops of `project_out` for one vector."""
        X = self.spec.fixed.work
        return 2.0 * X.nnz + self._normal.nnz**1.5 if sp.issparse(X) else 2.0 * X.shape[0] * self.p**2

    def _spent(self, phase: str, started: float) -> None:
        self.seconds[phase] += time.perf_counter() - started


def columns_at_once(m: int) -> int:
    """Right-hand sides of m elements solved at once: as many as keep the kernels busy, and few of long ones."""
    return max(8, min(CHUNK, ELEMENTS // max(m, 1)))


def term_slices(p: int, widths: list[int]) -> list[slice]:
    """Where the blocks of the terms lie behind the p columns of X."""
    ends = itertools.accumulate(widths, initial=p)
    return [slice(start, end) for start, end in itertools.pairwise(ends)]


def products_by_column(left: Array, right: Array, count: int) -> Array:
    """left right' (c, t, t) over the q of each of `count` columns, left and right (t, q·c)."""
    left, right = (v.reshape(len(v), -1, count) for v in (left, right))
    if len(left) == 1:
        return np.einsum("qc,qc->c", left[0], right[0])[:, None, None]
    return left.transpose(2, 0, 1) @ right.transpose(2, 1, 0)


def nonnegative(variances: Array, sizes: Array | None = None) -> Array:
    """Variances with rounding below zero removed; NaN below that, where Σ is indefinite (no constraints).

    `sizes` are those of the terms they are differences of, if not of their own size.
    """
    sizes = np.abs(variances) if sizes is None else sizes
    return np.where(variances >= -1e-10 * np.max(sizes, initial=0.0), np.maximum(variances, 0.0), np.nan)
