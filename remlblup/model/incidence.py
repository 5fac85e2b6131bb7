"""Z of a random term: an incidence of levels times the covariates of the effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array, sums
from remlblup.cached import cached_property


def incidence(codes: np.ndarray, q: int, values: np.ndarray) -> sp.csr_array:
    """Z (n, q) with `values` in the column of each record's level; zeros are not stored."""
    n = len(codes)
    nonzero = values != 0
    if nonzero.all():
        return sp.csr_array((values.copy(), codes.astype(np.int32), np.arange(n + 1, dtype=np.int32)), shape=(n, q))
    indptr = np.concatenate([[0], np.cumsum(nonzero)]).astype(np.int32)
    return sp.csr_array((values[nonzero], codes[nonzero].astype(np.int32), indptr), shape=(n, q))


class Incidence(Sequence[Any]):
    """Z_1 … Z_t of a term whose effects stand at one level in each record; each a sparse matrix when it is asked for.

    Attributes
    ----------
    codes : (n,) the level of each record
    loads : (n, t) the covariates of the effects
    q : number of levels
    """

    def __init__(self, codes: np.ndarray, loads: Array, q: int):
        self.codes, self.loads, self.q = codes, loads, q

    @cached_property
    def _made(self) -> dict[int, sp.csr_array]:
        """The matrices that were asked for."""
        return {}

    def __len__(self) -> int:
        return self.loads.shape[1]

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return tuple(self[i] for i in range(*k.indices(len(self))))
        k = range(len(self))[k]
        if k not in self._made:
            self._made[k] = incidence(self.codes, self.q, self.loads[:, k])
        return self._made[k]

    def write(self, W: Array, first: int) -> None:
        """[Z_1 … Z_t] into the columns of W (n, m) from `first` on, which hold zeros."""
        n, t = self.loads.shape
        W[np.arange(n)[:, None], first + self.codes[:, None] + self.q * np.arange(t)] = self.loads

    def predictors(self, U: Array) -> Array:
        """Z_i u_i of every effect, (n, t), for U (q, t)."""
        return self.loads * U[self.codes]


def dense_incidence(X: Any, Z: Sequence[Sequence[sp.csr_array]], n: int, m: int) -> Array:
    """[X Z_1 …] (n, m) of the Z of each term, with ones from the last row and column upwards where it is larger."""
    rows, width = X.shape
    W = np.zeros((n, m))
    W[:rows, :width] = X.toarray() if sp.issparse(X) else X
    for of_term in Z:
        if isinstance(of_term, Incidence):
            of_term.write(W[:rows], width)
            width += len(of_term) * of_term.q
            continue
        for z in of_term:
            at = m * np.repeat(np.arange(rows), np.diff(z.indptr)) + width + z.indices
            W += sums(at, z.data, n * m).reshape(n, m)
            width += z.shape[1]
    if n > rows:
        filled = np.arange(n - rows)
        W[rows + filled, width + filled] = 1.0
    return W
