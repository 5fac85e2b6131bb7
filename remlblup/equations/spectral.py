"""One relationship, independent residuals: V in the basis where it is diagonal.

With M = W^½ZKZ'W^½ = UDU' for records of weights W, and Q = W^½U,

    V = Z(σ²_g K)Z' + σ²_e W⁻¹,   Q'VQ = σ²_g D + σ²_e I,   V⁻¹ = Q (σ²_g D + σ²_e I)⁻¹ Q',

so that after one eigendecomposition every evaluation is O(n) (Patterson & Thompson 1971; Kang et al. 2008,
Genetics 178:1709, eq. 4). The decomposition depends on K, Z and W alone: responses share it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.equations.base import Equations
from remlblup.equations.spread import Spread
from remlblup.equations.variance import VarianceEquations, regression
from remlblup.errors import NotPositiveDefiniteError, RelationshipError
from remlblup.linalg.factor import DEPENDENT_PIVOT, FactorStats
from remlblup.linalg.memory import require
from remlblup.linalg.tiled import tiles
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification
from remlblup.structure.base import Array

# A negative eigenvalue up to this share of the largest is rounding (see `relationship.spectrum`).
NEGATIVE = 1e-6


@dataclass(frozen=True)
class Basis:
    """M = UDU' of one term.

    Attributes
    ----------
    values : (n,) D, ascending
    Q : (n, n) W^½U
    """

    values: Array
    Q: Array

    @classmethod
    def of(cls, design: RandomDesign, weights: Array) -> Basis:
        """The decomposition; its work is that of one LAPACK eigendecomposition of order n.

        Raises
        ------
        RelationshipError
            If K is indefinite.
        """
        n = len(weights)
        require(8.0 * 4.0 * n * n, f"the eigendecomposition of {n:,} records")
        spread, M = Spread(design), np.zeros((n, n))
        for block in tiles(n):
            spread.add(M[block, : block.stop], block, np.ones((1, 1)))
        root = np.sqrt(weights)
        M *= root[:, None] * root
        # Row-major lower is what LAPACK calls upper.
        values, U = scipy.linalg.eigh(M.T, lower=False, overwrite_a=True, check_finite=False, driver="evd")
        largest = float(np.abs(values).max())
        if values[0] < -NEGATIVE * largest:
            raise RelationshipError(
                f"the relationship of '{design.name}' is not positive semidefinite: among the records its smallest "
                f"eigenvalue is {values[0]:.4g}, its largest {largest:.4g}. Bend it: Relationship(K, labels, bend=0.001)."
            )
        small = values <= max(n * np.finfo(float).eps * largest, -10.0 * float(values[0]))
        return cls(np.where(small, 0.0, values), root[:, None] * U)


@dataclass
class SpectralSolution:
    """As `VarianceSolution`, in the coordinates Q'. What belongs to the records is made when asked for.

    Attributes
    ----------
    diagonal : (n,) σ²_g D + σ²_e
    solved : (n, p) (σ²_g D + σ²_e)⁻¹Q'X
    scaled : (n,) a with Py = Q a
    """

    theta: Array
    ml: bool
    diagonal: Array
    beta: Array
    solved: Array
    covariance: Array
    scaled: Array
    logdet: float
    logdet_fixed: float
    quadratic: float
    equations: SpectralEquations = field(repr=False)
    b: None = None
    scores: Array | None = field(default=None, repr=False)

    @cached_property
    def weighted_residual(self) -> Array:
        return self.equations.basis.Q @ self.scaled

    @cached_property
    def residual(self) -> Array:
        return self.equations.residual.multiply(self.theta[-1:], self.weighted_residual)

    @cached_property
    def solved_X(self) -> Array:
        return self.equations.basis.Q @ self.solved

    @cached_property
    def effects(self) -> Array:
        return self.equations.effects(self)


class SpectralEquations(VarianceEquations):
    """The engine for one scalar term beside independent residuals.

    Parameters
    ----------
    spec : Specification
    reason : why this engine was chosen
    basis : the decomposition, where another response has made it already
    """

    engine = "spectral"

    def __init__(self, spec: Specification, reason: str = "asked for", basis: Basis | None = None):
        Equations.__init__(self, spec, spec.random)
        n = spec.n
        started = time.perf_counter()
        self.basis = Basis.of(spec.random[0], spec.weights) if basis is None else basis
        self._spent("factor", started)
        self.stats = FactorStats(
            n, n * (n + 1) // 2, n * n, 9.0 * n**3, "spectral", "eigenvectors", reason, 16.0 * n * n
        )
        X = spec.fixed.work
        self.X = X.toarray() if sp.issparse(X) else np.asarray(X)
        self.rotated_X, self.rotated_y = self.basis.Q.T @ self.X, self.basis.Q.T @ self.y
        self.log_weights = float(np.sum(np.log(spec.weights)))

    def solve(self, theta: Array, *, ml: bool = False) -> SpectralSolution:
        structure = self.random[0].structure
        genetic = float(structure.covariance(theta[self.spec.parameters.slices[0]])[0, 0])
        diagonal = genetic * self.basis.values + theta[-1]
        if not np.all(diagonal > DEPENDENT_PIVOT * abs(theta[-1])):
            raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        started = time.perf_counter()
        X, y = self.rotated_X, self.rotated_y
        solved = X / diagonal[:, None]
        beta, covariance, logdet_fixed = regression(X, solved, y)
        left = y - X @ beta
        scaled = left / diagonal
        self._spent("solve", started)
        logdet = float(np.sum(np.log(diagonal))) - self.log_weights
        self.at = SpectralSolution(theta, ml, diagonal, beta, solved, covariance, scaled, logdet, logdet_fixed,
                                   float(left @ scaled), self)  # fmt: skip
        return self.at

    def require(self, solution: Any) -> None:
        """Nothing is kept but what the solution holds."""

    def score_matrices(self, solution: Any, ml: bool) -> tuple[list[Array], Array]:
        """S of the term and the moment of the residual, from sums over D."""
        d, v, a = self.basis.values, solution.diagonal, solution.scaled
        left = 0.0 if ml else np.einsum("np,pq,nq->n", solution.solved, solution.covariance, solution.solved)
        P = 1.0 / v - left
        S = 0.5 * float(d @ (a * a) - d @ P)
        sigma2 = solution.theta[-1]
        moment = sigma2**2 * float(a @ a) + self.spec.n * sigma2 - sigma2**2 * float(np.sum(P))
        return [np.array([[S]])], np.array([moment])

    def working_variates(self, solution: Any) -> tuple[Array, Array]:
        """Q'V̇_i P y of both variances; with R⁻¹F left out, which `products` does not need."""
        place = self.spec.parameters.slices[0]
        slopes = self.random[0].structure.derivatives(solution.theta[place])[:, 0, 0]
        F = np.column_stack([np.outer(self.basis.values * solution.scaled, slopes), solution.scaled])
        return F, F

    def products(self, solution: Any, variates: Array, weighted: Array) -> Array:
        """F'PF for F in the coordinates Q'."""
        cross = solution.solved.T @ variates
        return variates.T @ (variates / solution.diagonal[:, None]) - cross.T @ solution.covariance @ cross

    def _solve_columns(self, solution: Any, columns: Array) -> Array:
        rotated = self.basis.Q.T @ columns
        return self.basis.Q @ (rotated.T / solution.diagonal).T
