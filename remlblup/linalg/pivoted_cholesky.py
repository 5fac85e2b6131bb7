"""Cholesky factor with complete pivoting: the rank of a small positive semidefinite matrix, and its factor."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array


def pivoted_cholesky(A: Array, least: float) -> tuple[np.ndarray, Array, int]:
    """A[order, order] = LL', pivots by decreasing size and those below `least` zero.

    (Golub & Van Loan, *Matrix Computations*, 4th ed., section 4.2.8.)

    Returns
    -------
    order : (t,) rows of A by decreasing pivot
    L : (t, t) lower triangular in that order
    rank : number of its nonzero columns
    """
    t = len(A)
    rest, order, L = A.copy(), np.arange(t), np.zeros((t, t))
    for a in range(t):
        pivot = a + int(np.argmax(np.diag(rest)[order[a:]]))
        value = rest[order[pivot], order[pivot]]
        if value < least:
            return order, L, a
        order[[a, pivot]] = order[[pivot, a]]
        L[[a, pivot]] = L[[pivot, a]]
        L[a:, a] = rest[order[a:], order[a]] / np.sqrt(value)
        rest[np.ix_(order[a:], order[a:])] -= np.outer(L[a:, a], L[a:, a])
    return order, L, t
