"""Cholesky factor with complete pivoting: the rank of a small positive semidefinite matrix, and its factor."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpstrf

from remlblup.arrays import Array
from remlblup.linalg.small import upper


def pivoted_cholesky(A: Array, least: float) -> tuple[np.ndarray, Array, int]:
    """A[order, order] = LL', pivots by decreasing size and those below `least` zero.

    (Golub & Van Loan, *Matrix Computations*, 4th ed., section 4.2.8.)

    Returns
    -------
    order : (t,) rows of A by decreasing pivot
    L : (t, t) lower triangular in that order
    rank : number of its nonzero columns
    """
    if not A.diagonal().max(initial=0.0) >= least:  # LAPACK takes a first pivot of any size
        return np.arange(len(A)), np.zeros_like(A), 0
    L, order, rank, _ = dpstrf(A, tol=least, lower=1)
    L = np.where(upper(len(A)).T, L, 0.0)
    L[:, rank:] = 0.0
    return order - 1, L, int(rank)
