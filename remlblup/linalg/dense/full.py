"""Dense engine: LAPACK on the lower triangle of C, with as little Python around it as possible.

A positive definite C goes through Cholesky (``dpotrf``, ``dpotrs``, ``dpotri``). C may legitimately be
indefinite when variance components are allowed to be negative; it then goes through the pivoted
Bunch-Kaufman factorisation ``P L D L' P'`` with 1x1 and 2x2 pivots (``dsytrf`` and its companions;
Golub & Van Loan, *Matrix Computations*, 4th ed., section 4.4), which is also what tells an indefinite
matrix from a singular one.

BLAS threads matter more than anything written here. On two cores, order 40, one `factorize`, inverse and
log-determinant took some 27 microseconds with one OpenBLAS thread; with OpenBLAS's own two threads 30 to 45
on an idle machine, and about a millisecond on a busy one, where the threads wait for each other. Whoever
loops over small models should hold BLAS to one thread around the loop, not around each call.
"""

from __future__ import annotations

from math import fsum

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dsytrf, dsytri, dsytrs

from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.contract import (
    DEPENDENT_PIVOT,
    FactorStats,
    check_ready,
    check_values,
    columns_of,
    explain_failure,
)
from remlblup.linalg.memory import require

# Rounds that bring the rows of C to one size: units 1e±150 apart need nine.
ROUNDS = 12


class DenseFactor:
    """Cholesky factor, or Bunch-Kaufman factor, of a dense symmetric matrix.

    Implements `remlblup.linalg.contract.Factor`. At order 40 one `factorize` and one `inverse_on_pattern`
    take some tens of microseconds, so work arrays are allocated here once and written in place.

    Parameters
    ----------
    indptr, indices : ndarray, shapes (n + 1,) and (nnz,)
        Pattern of the lower triangle of C, as in `make_factor`.
    n : int
        Order of C.
    """

    n_dependent = 0  # a singular C raises

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, n: int, beside: float = 0.0) -> None:
        require(
            16.0 * n * n + beside,
            f"the model with a dense factor of order {n:,}",
            "engine='sparse', or a smaller model.",
        )
        self.n = n
        nnz = len(indices)
        self.stats = FactorStats(
            n=n,
            nnz_matrix=nnz,
            nnz_factor=n * (n + 1) // 2,
            flops=n * (n + 1) * (2 * n + 1) / 6,
            engine="dense",
            ordering="natural",
            ordering_reason="a dense factor has no zeros to keep",
            memory=16.0 * n * n + 32.0 * nnz,
            kept=16.0 * n * n + 24.0 * nnz,
        )
        self._rows, self._columns = np.asarray(indices), columns_of(indptr)
        self._positions = (self._rows + self._columns * n).astype(np.intp)
        self._diagonal = np.asarray(indptr[:-1])
        # Column-major, which LAPACK overwrites in place.
        self._factor, self._inverse = np.zeros((n, n), order="F"), np.zeros((n, n), order="F")
        self._view()
        self._pivots: np.ndarray | None = None  # of Bunch-Kaufman; None after a Cholesky
        self._scale: np.ndarray | None = None
        self._selected: np.ndarray | None = None
        self._logdet: float | None = None
        self._ready = False
        self.n_negative = 0

    def _view(self) -> None:
        """Views of the work arrays as vectors."""
        self._flat = self._factor.reshape(-1, order="F")
        self._flat_diagonal = self._flat[:: self.n + 1]
        self._flat_inverse = self._inverse.reshape(-1, order="F")

    def __getstate__(self) -> dict[str, object]:
        """Without the views: a copy takes its own, of its own arrays."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_flat")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._view()

    def forget(self) -> None:
        """Let go of what was computed of C: other values are coming."""
        self._ready, self._selected, self._logdet = False, None, None

    def factorize(self, values: np.ndarray) -> None:
        """Factorise C, by Cholesky if it is positive definite and by Bunch-Kaufman if it is not."""
        values = check_values(values, len(self._positions))
        self.forget()
        self._load(values)
        _, info = dpotrf(self._factor, lower=1, clean=0, overwrite_a=1)
        if info == 0:
            roots = self._flat_diagonal
            # Written so that it also fails on a NaN, which some builds of dpotrf let through.
            if np.count_nonzero(roots * roots > DEPENDENT_PIVOT * values[self._diagonal]) < self.n:
                raise NotPositiveDefiniteError(explain_failure(values, self.n))
            self._pivots, self._scale, self.n_negative = None, None, 0
        else:
            self._factorize_indefinite(values)
        self._ready = True

    @property
    def logdet(self) -> float:
        """``log|det C|``, summed exactly."""
        check_ready(self._ready)
        if self._logdet is None:
            self._logdet = 2.0 * fsum(np.log(self._flat_diagonal).tolist())
        return self._logdet

    def rest(self) -> None:
        """There are no workspaces."""

    def solve(self, B: np.ndarray) -> np.ndarray:
        """Solve ``C X = B``, B of shape (n,) or (n, k)."""
        check_ready(self._ready)
        if self._pivots is None:
            return dpotrs(self._factor, B, lower=1)[0]
        assert self._scale is not None
        B = np.asarray(B, dtype=np.float64)
        scale = self._scale if B.ndim == 1 else self._scale[:, None]
        return scale * dsytrs(self._factor, self._pivots, scale * B, lower=1)[0].reshape(B.shape)

    def products_of(self, B: np.ndarray) -> np.ndarray:
        """``B'C⁻¹B``, B of shape (n, k)."""
        return B.T @ self.solve(B)

    def inverse_on_pattern(self) -> np.ndarray:
        """Entries of C⁻¹ at the pattern, shape (nnz,)."""
        check_ready(self._ready)
        if self._selected is None:
            self._flat_inverse[:] = self._flat  # the factor itself is kept for `solve`
            if self._pivots is None:
                dpotri(self._inverse, lower=1, overwrite_c=1)
                self._selected = self._flat_inverse[self._positions]
            else:
                dsytri(self._inverse, self._pivots, lower=1, overwrite_a=1)
                assert self._scale is not None
                scale = self._scale[self._rows] * self._scale[self._columns]
                self._selected = scale * self._flat_inverse[self._positions]
        return self._selected

    def _load(self, values: np.ndarray) -> None:
        """Write the lower triangle into the work array, zero elsewhere."""
        self._flat.fill(0.0)
        self._flat[self._positions] = values

    def _factorize_indefinite(self, values: np.ndarray) -> None:
        """Bunch-Kaufman factorisation of ``S C S``, S diagonal with the largest entry of every row at one.

        The scaling makes the size of a pivot mean something whatever the units of the equations: a
        pivot below `DEPENDENT_PIVOT` says that C is singular rather than indefinite.
        """
        self._scale = self._equilibrated(np.abs(values))
        self._load(values * self._scale[self._rows] * self._scale[self._columns])
        _, self._pivots, info = dsytrf(self._factor, lower=1, overwrite_a=1)
        eigenvalues = pivot_eigenvalues(self._factor, self._pivots)
        if info > 0 or np.abs(eigenvalues).min() <= DEPENDENT_PIVOT:
            raise NotPositiveDefiniteError(explain_failure(values, self.n))
        self.n_negative = int((eigenvalues < 0).sum())
        terms = np.concatenate([np.log(np.abs(eigenvalues)), -2.0 * np.log(self._scale)])
        self._logdet = fsum(terms.tolist())

    def _equilibrated(self, sizes: np.ndarray) -> np.ndarray:
        """S (n,) by rounds that each halve the logarithms of the largest entries (Ruiz 2001, RAL-TR-2001-034)."""
        scale = np.ones(self.n)
        for _ in range(ROUNDS):
            scaled = sizes * scale[self._rows] * scale[self._columns]
            largest = np.zeros(self.n)
            np.maximum.at(largest, self._rows, scaled)
            np.maximum.at(largest, self._columns, scaled)
            if not ((largest > 0).all() and np.isfinite(largest).all()):
                raise NotPositiveDefiniteError(explain_failure(sizes, self.n))
            scale /= np.sqrt(largest)
            if largest.max() < 2.0 and largest.min() > 0.5:
                break
        return scale


def pivot_eigenvalues(factor: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """Eigenvalues of the 1x1 and 2x2 diagonal blocks of a lower Bunch-Kaufman factor.

    Parameters
    ----------
    factor : ndarray, shape (n, n)
        Output of ``dsytrf`` with ``lower=1``: D on the diagonal and, for a 2x2 block, below it.
    pivots : ndarray of int, shape (n,)
        ``ipiv`` of ``dsytrf``: a 2x2 block is a pair of equal negative numbers.

    Returns
    -------
    ndarray, shape (n,)
        Their signs are the inertia of the matrix, and their product is its determinant.
    """
    diagonal = np.diagonal(factor)
    eigenvalues = diagonal.copy()
    j = 0
    while j < len(pivots):
        if pivots[j] < 0:
            mean = 0.5 * (diagonal[j] + diagonal[j + 1])
            radius = np.hypot(0.5 * (diagonal[j] - diagonal[j + 1]), factor[j + 1, j])
            eigenvalues[j], eigenvalues[j + 1] = mean - radius, mean + radius
            j += 1
        j += 1
    return eigenvalues
