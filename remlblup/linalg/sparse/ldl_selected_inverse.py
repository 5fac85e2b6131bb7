"""The selected inverse of an indefinite C from its LDL': entries of C⁻¹ at the pattern of L, and no others.

Positive definite equations go by supernodes: `linalg.inverse_multifrontal`.

From ``C⁻¹ = D⁻¹L⁻¹ + (I - L')C⁻¹`` (Takahashi, Fagan & Chin 1973), for the rows i of column j of L,

    z_ij = -sum_k z_ik l_kj            k over the rows of column j,
    z_jj = 1/d_j - sum_k l_kj z_kj,

from the last column to the first. Every z_ik needed is at the pattern of L (Erisman & Tinney 1975).

Neighbouring columns with the same rows (a *supernode*) need the same z_ik. These are gathered once into
a dense *front*, which then grows by a row with each column of the supernode (the inverse multifrontal
method: Campbell & Davis 1995), so that the sums run over contiguous memory.
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import njit


@njit("void(int64[::1], int32[::1], float64[::1], float64[::1], int64, float64[:, ::1])", cache=True)
def gather_front(indptr, rows, inverse, diagonal, j, front):
    """Copy the entries of C⁻¹ between the rows of column j of L into the corner of `front`."""
    start, end = indptr[j], indptr[j + 1]
    for p in range(start, end):
        k = rows[p]
        a = p - start
        front[a, a] = diagonal[k]
        q = indptr[k]
        for other in range(p + 1, end):
            # The rows of column j beyond k are among those of column k; both ascend.
            low, step = q, 1
            while low + step < indptr[k + 1] and rows[low + step] <= rows[other]:  # gallop, then bisect
                low += step
                step *= 2
            while step > 0:
                if low + step < indptr[k + 1] and rows[low + step] <= rows[other]:
                    low += step
                step //= 2
            b = other - start
            front[a, b] = front[b, a] = inverse[low]
            q = low + 1


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
    widest = 0
    for j in range(len(pivots)):
        widest = max(widest, indptr[j + 1] - indptr[j] + 1)
    front = np.empty((widest, widest))
    weight, total = np.empty(widest), np.empty(widest)
    last = len(pivots) - 1
    while last >= 0:
        gather_front(indptr, rows, inverse, diagonal, last, front)
        shared = indptr[last + 1] - indptr[last]  # rows of the front that all columns have
        j = last
        while True:
            size, start = shared + last - j, indptr[j]
            # In the front: the shared rows, then last, last - 1, ..., j + 1, which column j lists first.
            for a in range(size):
                weight[a] = lower[start + last - j + a] if a < shared else lower[start + size - 1 - a]
            total[:size] = 0.0
            for a in range(size):
                for b in range(size):
                    total[b] += weight[a] * front[a, b]
            diagonal[j] = 1.0 / pivots[j] if pivots[j] != 0.0 else 0.0
            for a in range(size):
                diagonal[j] += weight[a] * total[a]
                place = start + last - j + a if a < shared else start + size - 1 - a
                inverse[place] = front[a, size] = front[size, a] = 0.0 - total[a]
            front[size, size] = diagonal[j]
            j -= 1
            if j < 0 or rows[indptr[j]] != j + 1 or indptr[j + 1] - indptr[j] != size + 1:
                break
        last = j
