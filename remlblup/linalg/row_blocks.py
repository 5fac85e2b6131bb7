"""Products of a long sparse matrix with vectors, by blocks of its rows side by side.

Every row is summed by itself, from left to right: the digits depend neither on the blocks nor on the threads.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.linalg.threads import n_threads, side_by_side

# Multiplications from which threads are worth being woken.
MANY = 500_000
# Elements up to which W' is held beside W.
HELD = 2_000_000


def transposed(W: Any) -> Any:
    """W', of a sparse W by rows where it is not too large to be held once more."""
    return sp.csr_array(W.T) if sp.issparse(W) and W.nnz <= HELD else W.T


def times(A: Any, v: Array) -> Array:
    """A v of a sparse or dense A (n, m) for v (m,) or (m, k)."""
    if isinstance(A, np.ndarray) or A.format != "csr" or A.nnz * (v.size // max(len(v), 1)) < MANY or n_threads() < 2:
        return np.asarray(A @ v)
    out = np.empty((A.shape[0], *v.shape[1:]))
    cuts = np.searchsorted(A.indptr, np.linspace(0, A.nnz, n_threads() + 1)[1:-1]).tolist()

    def multiply(first: int, last: int) -> None:
        begin, end = A.indptr[first], A.indptr[last]
        block = A.data[begin:end], A.indices[begin:end], A.indptr[first : last + 1] - begin
        out[first:last] = sp.csr_array(block, shape=(last - first, A.shape[1])) @ v

    side_by_side(multiply, list(pairwise([0, *cuts, A.shape[0]])))
    return out
