"""One relationship, independent residuals: V in a basis where it is tridiagonal, once for all variances.

With M = W^½ZKZ'W^½ = HTH' for records of weights W, H orthogonal and T tridiagonal (Householder; Golub & Van Loan,
*Matrix Computations*, 4th ed., section 8.3.1),

    V = Z(σ²_g K)Z' + σ²_e W⁻¹ = W^-½ H (σ²_g T + σ²_e I) H' W^-½,

so that after one reduction every evaluation is O(n): the solutions are those of a tridiagonal matrix, and with the
eigenvalues d of T the traces and the determinant are sums over d (Patterson & Thompson 1971; Kang et al. 2008, Genetics
178:1709, eq. 4, who take the eigenvectors as well). The reduction depends on K, Z and W alone: responses share it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.linalg import lapack

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations import needs
from remlblup.equations.base import CHUNK
from remlblup.equations.computation import Computation
from remlblup.equations.memory import Memory
from remlblup.equations.solution import ScoreMatrices
from remlblup.equations.variance.projection import Projection, regression
from remlblup.equations.variance.spread import Spread, spread_bytes
from remlblup.errors import NotPositiveDefiniteError, RelationshipError
from remlblup.linalg.contract import DEPENDENT_PIVOT, FactorStats
from remlblup.linalg.dense.tiled import tiles
from remlblup.linalg.memory import Need, require
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification

# A negative eigenvalue up to this share of the largest is rounding (see `relationship.spectrum`).
NEGATIVE = 1e-6


@dataclass(frozen=True)
class Basis:
    """M = HTH' of one term.

    Attributes
    ----------
    values : (n,) eigenvalues of T, ascending, those that rounding explains taken as zero
    diagonal, beside : (n,), (n − 1,) T
    reflectors, scales : (n − 1, n − 1), (n − 1,) H as LAPACK keeps it
    root : (n,) diagonal of W^½
    matrix : (n, n) H itself, where it has been formed for many right-hand sides
    """

    values: Array
    diagonal: Array
    beside: Array
    reflectors: Array
    scales: Array
    root: Array
    matrix: Array | None = None

    @classmethod
    def of(cls, design: RandomDesign, weights: Array) -> Basis:
        """The reduction, 4n³/3 flops; about half of an eigendecomposition.

        Raises
        ------
        RelationshipError
            If K is indefinite.
        """
        n = len(weights)
        spread, M = Spread(design), np.zeros((n, n))
        for block in tiles(n):
            spread.add(M[block, : block.stop], block, np.ones((1, 1)))
        root = np.sqrt(weights)
        for block in tiles(n):
            M[block] *= root[block, None] * root
        # Row-major lower is what LAPACK calls upper: the transpose in its own order, mirrored into the other triangle.
        lower = np.asfortranarray(M)
        del M
        work = int(lapack.dsytrd_lwork(n, lower=1)[0])
        reduced, diagonal, beside, scales, _ = lapack.dsytrd(lower, lower=1, lwork=work, overwrite_a=1)
        values = (
            scipy.linalg.eigvalsh_tridiagonal(diagonal, beside, lapack_driver="sterf") if n > 1 else diagonal.copy()
        )
        largest = float(np.abs(values).max())
        if values[0] < -NEGATIVE * largest:
            raise RelationshipError(
                f"the relationship of '{design.name}' is not positive semidefinite: among the records its smallest "
                f"eigenvalue is {values[0]:.4g}, its largest {largest:.4g}. Bend it: "
                "Relationship(K, labels, bend=0.001)."
            )
        reflectors = np.asfortranarray(reduced[1:, :-1])
        small = values <= max(n * np.finfo(float).eps * largest, -10.0 * float(values[0]))
        return cls(np.where(small, 0.0, values), diagonal, beside, reflectors, scales, root)

    def formed(self) -> Basis:
        """The same with H as a matrix: products with it cost less than reflections."""
        if self.matrix is not None or len(self.root) < 2:
            return self
        n = len(self.root)
        H = np.eye(n, order="F")
        H[1:, 1:] = lapack.dorgqr(self.reflectors, self.scales, lwork=64 * n)[0]
        return replace(self, matrix=H)

    def rotate(self, v: Array) -> Array:
        """H'W^½ v for v (n,) or (n, k)."""
        return self._reflect((v.T * self.root).T, "T")

    def back(self, v: Array) -> Array:
        """W^½H v for v (n,) or (n, k)."""
        return (self._reflect(v, "N").T * self.root).T

    def _reflect(self, v: Array, transpose: str) -> Array:
        if self.matrix is not None:
            return np.asarray((self.matrix.T if transpose == "T" else self.matrix) @ v)
        out = np.array(v, dtype=float)
        if len(out) > 1:
            rest = np.asfortranarray(out[1:].reshape(len(out) - 1, -1))
            rest = lapack.dormqr("L", transpose, self.reflectors, self.scales, rest, lwork=64 * max(rest.shape))[0]
            out[1:] = rest.reshape(out[1:].shape)
        return out

    def times(self, v: Array) -> Array:
        """T v for v (n,) or (n, k)."""
        out = (v.T * self.diagonal).T
        out[:-1] += (v[1:].T * self.beside).T
        out[1:] += (v[:-1].T * self.beside).T
        return out


@dataclass
class SpectralSolution:
    """As `VarianceSolution`, in the coordinates H'W^½. What belongs to the records is made when asked for.

    Attributes
    ----------
    spectrum : (n,) σ²_g d + σ²_e
    pivots : LDL' of σ²_g T + σ²_e I
    solved : (n, p) (σ²_g T + σ²_e I)⁻¹H'W^½X
    scaled : (n,) a with Py = W^½H a
    """

    theta: Array
    ml: bool
    spectrum: Array
    pivots: tuple[Array, Array]
    beta: Array
    solved: Array
    covariance: Array
    scaled: Array
    logdet: float
    logdet_fixed: float
    quadratic: float
    equations: SpectralEquations = field(repr=False)
    b: None = None
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def added(self) -> Array:
        """Nothing is added to V: (p,)."""
        return np.zeros(len(self.beta))

    @cached_property
    def weighted_residual(self) -> Array:
        return self.equations.basis.back(self.scaled)

    @cached_property
    def residual(self) -> Array:
        return self.equations.residual.multiply(self.theta[-1:], self.weighted_residual)

    @cached_property
    def solved_X(self) -> Array:
        return self.equations.basis.back(self.solved)

    @cached_property
    def effects(self) -> Array:
        return self.equations.effects(self)


class SpectralEquations(Projection):
    """The engine for one scalar term beside independent residuals.

    Parameters
    ----------
    spec : Specification
    reason : why this engine was chosen
    basis : the decomposition, where another response has made it already
    """

    asked, kind = Computation("spectral"), "spectral"

    def __init__(self, spec: Specification, reason: str = "asked for", basis: Basis | None = None):
        super().__init__(spec, spec.random)
        n = spec.n
        require(
            self.memory.all,
            f"the spectral form of {n:,} records",
            "fewer records, or engine='dense', which takes half of it.",
        )
        started = time.perf_counter()
        self.basis = Basis.of(spec.random[0], spec.weights) if basis is None else basis
        self._spent("factor", started)
        self.stats = FactorStats(
            n, n * (n + 1) // 2, n * n, 4.0 * n**3 / 3.0, "spectral", "tridiagonal", reason, 16.0 * n * n, 8.0 * n * n
        )
        X = spec.fixed.work
        self.X = X.toarray() if sp.issparse(X) else np.asarray(X)
        rotated = self.basis.rotate(np.column_stack([self.X, self.y]))
        self.rotated_X, self.rotated_y = rotated[:, :-1], rotated[:, -1]
        self.log_weights = float(np.sum(np.log(spec.weights)))

    @property
    def memory(self) -> Memory:
        """M and its reduction, of which the reflectors stay;
        then columns of P for the errors of some levels at a time."""
        n, p = float(self.spec.n), float(self.p)
        spread = sum(spread_bytes(d) for d in self.random)
        reduced = Need(8.0 * n * n, spread + 16.0 * n * n)
        points = needs.of_points(self)
        return Memory(
            needs.of_incidence(self).then(reduced),
            points,
            Need(0.0, 8.0 * n * p * 5.0),
            needs.of_effects_by_columns(self, CHUNK),
        )

    def with_response(self, spec: Specification) -> Self:
        out = super().with_response(spec)
        # With X beside it, as at the first time: the digits of a product may depend on its width.
        out.rotated_y = out.basis.rotate(np.column_stack([out.X, out.y]))[:, -1]
        return out

    def solve(self, theta: Array, *, ml: bool = False) -> SpectralSolution:
        structure = self.random[0].structure
        genetic = float(structure.covariance(theta[self.spec.parameters.slices[0]])[0, 0])
        spectrum = genetic * self.basis.values + theta[-1]
        if not np.all(spectrum > DEPENDENT_PIVOT * abs(theta[-1])):
            raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        started = time.perf_counter()
        X, y = self.rotated_X, self.rotated_y
        pivots = self._pivots(genetic, float(theta[-1]))
        solved = solved_by(pivots, np.column_stack([X, y]))
        beta, covariance, logdet_fixed = regression(X, solved[:, :-1], y)
        left = y - X @ beta
        scaled = solved[:, -1] - solved[:, :-1] @ beta
        self._spent("solve", started)
        logdet = float(np.sum(np.log(spectrum))) - self.log_weights
        self.at = SpectralSolution(
            theta,
            ml,
            spectrum,
            pivots,
            beta,
            solved[:, :-1],
            covariance,
            scaled,
            logdet,
            logdet_fixed,
            float(left @ scaled),
            self,
        )
        return self.at

    def _pivots(self, genetic: float, residual: float) -> tuple[Array, Array]:
        """LDL' of σ²_g T + σ²_e I."""
        diagonal = genetic * self.basis.diagonal + residual
        if len(diagonal) == 1:
            return diagonal, np.zeros(0)
        d, e, info = lapack.dpttrf(diagonal, genetic * self.basis.beside)
        if info:
            raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        return d, e

    def require(self, solution: Any) -> None:
        """Nothing is kept but what the solution holds."""

    def score_matrices(self, solution: SpectralSolution, units: list[Array], ml: bool) -> ScoreMatrices:
        """S of the term and the moment of the residual."""
        d, v, a, basis = self.basis.values, solution.spectrum, solution.scaled, self.basis
        of_genetic, of_residual = float(np.sum(d / v)), float(np.sum(1.0 / v))
        if not ml:
            of_genetic -= float(np.sum(solution.covariance * (solution.solved.T @ basis.times(solution.solved))))
            of_residual -= float(np.sum(solution.covariance * (solution.solved.T @ solution.solved)))
        S = 0.5 * (float(a @ basis.times(a)) - of_genetic)
        sigma2 = solution.theta[-1]
        moment = sigma2**2 * float(a @ a) + self.spec.n * sigma2 - sigma2**2 * of_residual
        return ScoreMatrices(solution, (np.array([[S]]),), (None,), np.array([moment]))

    def working_variates(self, solution: Any) -> Array:
        """H'W^½V̇_i P y of both variances."""
        place = self.spec.parameters.slices[0]
        slopes = self.random[0].structure.derivatives(solution.theta[place])[:, 0, 0]
        return np.column_stack([np.outer(self.basis.times(solution.scaled), slopes), solution.scaled])

    def products(self, solution: Any, variates: Array) -> Array:
        """F'PF for F in the coordinates H'W^½."""
        cross = solution.solved.T @ variates
        return variates.T @ solved_by(solution.pivots, variates) - cross.T @ solution.covariance @ cross

    def solve_columns(self, solution: Any, columns: Array) -> Array:
        return self.basis.back(solved_by(solution.pivots, self.basis.rotate(columns)))


def solved_by(pivots: tuple[Array, Array], B: Array) -> Array:
    """A⁻¹ B of a tridiagonal A = LDL', B (n,) or (n, k)."""
    d, e = pivots
    if len(d) == 1:
        return np.asarray(B / d[0])
    return np.asarray(lapack.dpttrs(d, e, B)[0])
