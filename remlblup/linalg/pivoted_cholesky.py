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
        left = rest.diagonal()[order[a:]]
        pivot = a + int(left.argmax())
        value = left[pivot - a]
        if value < least:
            return order, L, a
        order[[a, pivot]] = order[[pivot, a]]
        L[[a, pivot]] = L[[pivot, a]]
        own = order[a:]
        L[a:, a] = column = rest[own, own[0]] / np.sqrt(value)
        rest[own[:, None], own] -= column[:, None] * column
    return order, L, t
