"""Cholesky of a Gram matrix X'X in the order of its columns, leaving out those with small pivots.

`gram_factor` chooses between a dense factor (LAPACK when nothing is left out, else blocks of rows in
numpy) and, past `DENSE_COLUMNS` columns, the sparse LDL' of the equations as they come. Both
can project on the columns before any one of them, because the leading part of such a factor is the
factor of the leading part.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dpotrf

DENSE_COLUMNS = 3000
"""More columns than this (a dense Gram matrix of 72 MB), when X is sparse, go to the sparse factor."""

FULL = 0.5
"""Share of its elements that an X with few zeros has."""

BLOCK = 64
"""Columns eliminated between two matrix products of the dense factor."""


class DenseGram:
    """``R'R`` of a dense Gram matrix without its excluded columns.

    Parameters
    ----------
    gram : ndarray, shape (p, p)
        X'X for columns of length one.
    excluded : ndarray of bool, shape (p,)
        Columns to leave out from the start.
    smallest : float
        A column whose pivot is below this is left out.

    Attributes
    ----------
    excluded : ndarray of bool, shape (p,)
        Columns left out, those given included.
    pivots : ndarray, shape (p,)
        Pivot of each column.
    """

    def __init__(self, gram: np.ndarray, excluded: np.ndarray, smallest: float) -> None:
        self.excluded = excluded.copy()
        self._L, info = dpotrf(gram, lower=1, clean=1)  # stops at a zero column, excluded or not
        self.pivots = np.diagonal(self._L) ** 2
        if info != 0 or self.pivots.min(initial=1.0) < smallest:
            self._L = self._eliminate(gram, smallest)

    def solve_before(self, columns: np.ndarray, products: np.ndarray) -> np.ndarray:
        """Coefficients of projections on the columns before each of `columns`, shape (p, k)."""
        half = dtrsm(1.0, self._L, np.where(self.excluded[:, None], 0.0, products), lower=1)
        return dtrsm(1.0, self._L, only_before(columns, half), lower=1, trans_a=1)

    def _eliminate(self, gram: np.ndarray, smallest: float) -> np.ndarray:
        """Right-looking Cholesky by blocks of rows; excluded columns get a unit row that does nothing."""
        p = len(gram)
        R = np.triu(gram)
        for start in range(0, p, BLOCK):
            stop = min(start + BLOCK, p)
            for j in range(start, stop):
                R[j, j:] -= R[start:j, j] @ R[start:j, j:]
                self.pivots[j] = R[j, j]
                if self.excluded[j] or not R[j, j] >= smallest:
                    self.excluded[j] = True
                    R[:j, j] = 0.0
                    R[j, j:] = 0.0
                    R[j, j] = 1.0
                else:
                    R[j, j:] /= np.sqrt(R[j, j])
            # An excluded column keeps its unit pivot, which lies inside the block and touches no other.
            R[stop:, stop:] -= R[start:stop, stop:].T @ R[start:stop, stop:]
        return R.T  # column-major, as LAPACK likes it


class SparseGram:
    """``L D L'`` of a sparse Gram matrix in its natural order, without its excluded columns.

    Parameters and attributes as in `DenseGram`; the Gram matrix is a sparse array, and a column left out
    has pivot zero.
    """

    def __init__(self, gram: sp.csc_array, excluded: np.ndarray, smallest: float) -> None:
        # Imported only here, for very wide designs: they bring numba.
        from remlblup.linalg.sparse.ldl import ldl
        from remlblup.linalg.sparse.symbolic import analyse_natural

        lower = sp.tril(gram, format="csc") + sp.diags_array(np.zeros(gram.shape[0]), format="csc")
        columns = np.repeat(np.arange(gram.shape[0]), np.diff(lower.indptr))
        values = np.where(excluded[lower.indices] | excluded[columns], 0.0, lower.data)
        self._symbolic = symbolic = analyse_natural(lower.indptr, lower.indices, gram.shape[0])
        nnz_l = len(symbolic.rows)
        storage = np.zeros(nnz_l + gram.shape[0])
        storage[symbolic.places] = values
        self._lower, self.pivots = storage[:nnz_l], storage[nnz_l:]
        ldl(symbolic.indptr, symbolic.rows, self._lower, self.pivots, smallest)
        self.excluded = self.pivots == 0.0

    def solve_before(self, columns: np.ndarray, products: np.ndarray) -> np.ndarray:
        """Coefficients of projections on the columns before each of `columns`, shape (p, k)."""
        from remlblup.linalg.sparse.ldl import backward_solve, forward_solve

        factor = (self._symbolic.indptr, self._symbolic.rows, self._lower)
        work = np.where(self.excluded[:, None], 0.0, products)
        forward_solve(*factor, work)
        work = only_before(columns, work)
        backward_solve(*factor, self.pivots, work)
        return work


def only_before(columns: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Half-solved right-hand sides, zero from row ``columns[c]`` on in column c.

    The leading part of a factor is the factor of the leading part, so that the second triangular solve
    then gives the solution of the leading equations.
    """
    return np.where(np.arange(len(half))[:, None] < columns, half, 0.0)


def fill_reducing_order(basis: sp.csc_array) -> np.ndarray:
    """Order of the columns in which the sparse factor of ``basis' basis`` stays sparse."""
    from remlblup.linalg.sparse.symbolic import analyse

    lower = sp.tril(basis.T @ basis, format="csc")
    lower.sort_indices()
    return analyse(lower.indptr, lower.indices, lower.shape[0]).ordering.permutation


def products(X: sp.csc_array, weights: np.ndarray | None = None) -> sp.csc_array:
    """X'DX of a sparse X, D the diagonal matrix of the weights; of an X with few zeros by BLAS."""
    if X.nnz > FULL * X.shape[0] * X.shape[1]:
        full = X.toarray(order="F")
        return sp.csc_array(full.T @ (full if weights is None else weights[:, None] * full))
    weighted = X if weights is None else sp.csc_array((X.data * weights[X.indices], X.indices, X.indptr), shape=X.shape)
    return sp.csc_array(X.T @ weighted)


def gram_factor(basis: np.ndarray | sp.csc_array, excluded: np.ndarray, smallest: float) -> DenseGram | SparseGram:
    """Factorise ``basis' basis`` in the order of the columns, which have length one or are excluded."""
    gram = products(basis) if sp.issparse(basis) else basis.T @ basis
    if sp.issparse(gram):
        if gram.shape[0] > DENSE_COLUMNS:
            return SparseGram(gram.tocsc(), excluded, smallest)
        gram = gram.toarray()
    return DenseGram(gram, excluded, smallest)
