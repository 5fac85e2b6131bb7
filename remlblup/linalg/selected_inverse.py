"""The selected inverse: entries of C⁻¹ at the pattern of L, without the rest of C⁻¹.

From ``C⁻¹ = D⁻¹L⁻¹ + (I - L')C⁻¹`` (Takahashi, Fagan & Chin 1973), for the rows i of column j of L,

    z_ij = -sum_k l_kj z_ki            k over the rows of column j,
    z_jj = 1/d_j - sum_k l_kj z_kj,

from the last column to the first. Every z_ki needed is at the pattern of L (Erisman & Tinney 1975).
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit("void(int64[::1], int32[::1], float64[::1], float64[::1], float64[::1], float64[::1])", cache=True)
def selected_inverse(indptr, rows, lower, pivots, inverse, diagonal):
    """Fill `inverse` and `diagonal` with the lower triangle of (L D L')⁻¹ at the pattern of L.

    Parameters
    ----------
    indptr, rows : ndarray, shapes (n + 1,) and (nnz_l,)
        Pattern of L below its diagonal.
    lower, pivots : ndarray of float, shapes (nnz_l,) and (n,)
        L and D from `ldl`.
    inverse, diagonal : ndarray of float, shapes (nnz_l,) and (n,)
        Output: below and on the diagonal. Zero in the rows and columns of dependent equations (d = 0),
        which is the generalised inverse that leaves them out.
    """
    n = len(pivots)
    weight = np.zeros(n)  # column j of L
    total = np.zeros(n)  # sum_k l_kj z_ik; outside column j of L it collects sums nobody reads
    for j in range(n - 1, -1, -1):
        start, end = indptr[j], indptr[j + 1]
        if pivots[j] == 0.0:
            diagonal[j] = 0.0
            inverse[start:end] = 0.0
            continue
        for p in range(start, end):
            weight[rows[p]] = lower[p]
            total[rows[p]] = 0.0
        for p in range(start, end):  # column k of C⁻¹ is used as a column and, by symmetry, as a row
            k = rows[p]
            from_row = lower[p] * diagonal[k]
            for q in range(indptr[k], indptr[k + 1]):
                total[rows[q]] += lower[p] * inverse[q]
                from_row += weight[rows[q]] * inverse[q]
            total[k] += from_row
        corner = 1.0 / pivots[j]
        for p in range(start, end):
            k = rows[p]
            inverse[p] = -total[k]
            corner += lower[p] * total[k]
            weight[k] = 0.0
        diagonal[j] = corner
