"""Sparse engine: symbolic analysis once, then LDL', solves and the selected inverse by columns.

This module brings numba, whose functions are compiled on their first use on a machine and come from a
cache later on: import it only when a sparse factor is made (`remlblup.linalg.factor.make_factor` does).
"""

from __future__ import annotations

from math import fsum

import numpy as np

from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.factor import (
    DEPENDENT_PIVOT,
    FactorStats,
    check_ready,
    check_values,
    explain_failure,
)
from remlblup.linalg.ldl import backward_solve, forward_solve, ldl
from remlblup.linalg.selected_inverse import selected_inverse
from remlblup.linalg.symbolic import analyse


class SparseFactor:
    """``P C P' = L D L'`` of a sparse symmetric matrix.

    Implements `remlblup.linalg.factor.Factor`. Dependent equations get a zero pivot and are left out:
    their number is `n_dependent`, their solutions are zero, and so are their rows and columns of the
    (generalised) inverse.

    Parameters
    ----------
    indptr, indices : ndarray, shapes (n + 1,) and (nnz,)
        Pattern of the lower triangle of C, as in `make_factor`.
    n : int
        Order of C.
    """

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, n: int) -> None:
        self.n = n
        self._symbolic = analyse(indptr, indices, n)
        nnz_l = len(self._symbolic.rows)
        self.stats = FactorStats(
            n=n,
            nnz_matrix=len(indices),
            nnz_factor=nnz_l + n,
            flops=self._symbolic.flops,
            engine="sparse",
            ordering=self._symbolic.ordering.name,
            ordering_reason=self._symbolic.ordering.reason,
        )
        # L and D in one array, so that one scatter loads C and one gather reads the inverse.
        self._storage = np.zeros(nnz_l + n)
        self._lower, self._pivots = self._storage[:nnz_l], self._storage[nnz_l:]
        self._selected: np.ndarray | None = None
        self._logdet: float | None = None
        self._ready = False
        self.n_negative = 0
        self.n_dependent = 0

    def factorize(self, values: np.ndarray) -> None:
        """Factorise C; the signs of its pivots are free."""
        symbolic = self._symbolic
        values = check_values(values, len(symbolic.places))
        self._ready, self._selected, self._logdet = False, None, None
        self._storage.fill(0.0)
        self._storage[symbolic.places] = values
        stop = ldl(symbolic.indptr, symbolic.rows, self._lower, self._pivots, DEPENDENT_PIVOT)
        if stop >= 0:
            raise NotPositiveDefiniteError(self._breakdown(values, stop))
        self.n_negative = int((self._pivots < 0).sum())
        self.n_dependent = int((self._pivots == 0).sum())
        self._ready = True

    @property
    def logdet(self) -> float:
        """``sum log|d_i|`` over the pivots that are not dependent, summed exactly."""
        check_ready(self._ready)
        if self._logdet is None:
            self._logdet = fsum(np.log(np.abs(self._pivots[self._pivots != 0])).tolist())
        return self._logdet

    def solve(self, B: np.ndarray) -> np.ndarray:
        """Solve ``C X = B``, B of shape (n,) or (n, k)."""
        check_ready(self._ready)
        symbolic = self._symbolic
        B = np.asarray(B, dtype=np.float64)
        permutation = symbolic.ordering.permutation
        work = np.ascontiguousarray(B.reshape(self.n, -1)[permutation])
        forward_solve(symbolic.indptr, symbolic.rows, self._lower, work)
        backward_solve(symbolic.indptr, symbolic.rows, self._lower, self._pivots, work)
        solution = np.empty_like(work)
        solution[permutation] = work
        return solution.reshape(B.shape)

    def inverse_on_pattern(self) -> np.ndarray:
        """Entries of C⁻¹ at the pattern of C, shape (nnz,)."""
        check_ready(self._ready)
        if self._selected is None:
            symbolic = self._symbolic
            nnz_l = len(symbolic.rows)
            inverse = np.empty_like(self._storage)
            selected_inverse(
                symbolic.indptr, symbolic.rows, self._lower, self._pivots, inverse[:nnz_l], inverse[nnz_l:]
            )
            self._selected = inverse[symbolic.places]
        return self._selected

    def _breakdown(self, values: np.ndarray, stop: int) -> str:
        """Message for an elimination that stopped at column `stop` of the permuted matrix."""
        if not np.isfinite(values).all():
            return explain_failure(values, self.n)
        equation = int(self._symbolic.ordering.permutation[stop])
        return (
            f"The coefficient matrix of order {self.n} is indefinite and its elimination breaks down at "
            f"equation {equation}. Keep the variances positive (constrain=True), or start from larger ones."
        )
