"""Numeric ``P C P' = L D L'`` without pivoting, and the triangular solves.

Left-looking by columns (George & Liu 1981, section 5.4.3; Davis 2006, section 4.8): column j receives
the updates of all columns k < j with ``l_jk != 0``, which wait in a list linked by their next row. No
pivoting, hence a fixed pattern; signs of pivots may be negative, as for an indefinite C whose leading
submatrices are not singular. A pivot is zero beside the largest magnitude its diagonal has had, in C or
after any of its updates: with negative pivots before it, it can grow before it cancels.
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import njit


@njit("int64(int64[::1], int32[::1], float64[::1], float64[::1], float64)", cache=True)
def ldl(indptr, rows, lower, pivots, tolerance):
    """Overwrite the lower triangle of P C P' with L (unit diagonal not stored) and D.

    Parameters
    ----------
    indptr, rows : ndarray, shapes (n + 1,) and (nnz_l,)
        Pattern of L below its diagonal.
    lower, pivots : ndarray of float, shapes (nnz_l,) and (n,)
        On entry the permuted matrix, zeros where L fills in; on exit L and the diagonal of D.
    tolerance : float
        A pivot not above this share of the largest magnitude its diagonal has had (in C, or after any update)
        is dependent: d = 0 and the column of L is zero, as if the equation were not there.

    Returns
    -------
    int
        -1, or the first column at which a zero pivot meets a column that is not zero. In a positive
        semidefinite matrix that cannot happen; an indefinite one would need pivoting.
    """
    n = len(pivots)
    original = np.abs(pivots)
    column = np.zeros(n)  # column j while it is updated
    waiting = np.full(n, -1, np.int32)  # first of the columns whose next row is j ...
    after = np.full(n, -1, np.int32)  # ... and the one after it
    position = indptr[:-1].copy()  # of the next row of each column
    for j in range(n):
        for p in range(indptr[j], indptr[j + 1]):
            column[rows[p]] = lower[p]
        pivot = pivots[j]
        largest = abs(pivot)
        k = waiting[j]
        while k != -1:
            following = after[k]
            p = position[k]
            factor = lower[p] * pivots[k]
            pivot -= lower[p] * factor
            largest = max(largest, abs(pivot))
            for q in range(p + 1, indptr[k + 1]):
                column[rows[q]] -= lower[q] * factor
            position[k] = p + 1
            if p + 1 < indptr[k + 1]:
                after[k] = waiting[rows[p + 1]]
                waiting[rows[p + 1]] = k
            k = following
        if not abs(pivot) > tolerance * largest:
            pivots[j] = 0.0
            for p in range(indptr[j], indptr[j + 1]):
                # Roundoff leaves |c_ij| ~ sqrt(tolerance c_ii c_jj) at most when C is semidefinite.
                bound = 1e4 * tolerance * largest * original[rows[p]]
                if not column[rows[p]] ** 2 <= bound:
                    return j
                lower[p] = 0.0
            continue
        pivots[j] = pivot
        for p in range(indptr[j], indptr[j + 1]):
            lower[p] = column[rows[p]] / pivot
        if indptr[j] < indptr[j + 1]:
            after[j] = waiting[rows[indptr[j]]]
            waiting[rows[indptr[j]]] = j
    return -1


@njit("void(int64[::1], int32[::1], float64[::1], float64[:, ::1])", cache=True)
def forward_solve(indptr, rows, lower, X):
    """Overwrite X, shape (n, k), with the solution of ``L Y = X``."""
    n, n_columns = X.shape
    for j in range(n):
        for p in range(indptr[j], indptr[j + 1]):
            for c in range(n_columns):
                X[rows[p], c] -= lower[p] * X[j, c]


@njit("void(int64[::1], int32[::1], float64[::1], float64[::1], float64[:, ::1])", cache=True)
def backward_solve(indptr, rows, lower, pivots, X):
    """Overwrite X, shape (n, k), with the solution of ``D L' Y = X``; zero in dependent equations."""
    n, n_columns = X.shape
    for j in range(n - 1, -1, -1):
        if pivots[j] == 0.0:
            X[j, :] = 0.0
            continue
        for c in range(n_columns):
            X[j, c] /= pivots[j]
        for p in range(indptr[j], indptr[j + 1]):
            for c in range(n_columns):
                X[j, c] -= lower[p] * X[rows[p], c]
