"""The indefinite engine: LDL' by columns, without pivoting, where a variance component is negative.

Positive definite equations, nearly all there are, never come here (see `remlblup.linalg.sparse.factor`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

import numpy as np

from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.contract import DEPENDENT_PIVOT, DenseBlock, explain_failure
from remlblup.linalg.sparse.ldl import backward_solve, forward_solve, ldl
from remlblup.linalg.sparse.ldl_selected_inverse import selected_inverse
from remlblup.linalg.sparse.symbolic import Symbolic


class ColumnFactor:
    """``P C P' = L D L'`` of a sparse symmetric matrix, D of any signs.

    Parameters
    ----------
    symbolic : Symbolic
        Order of elimination and pattern of L.
    blocks : sequence of DenseBlock
        Dense parts of C.
    """

    def __init__(self, symbolic: Symbolic, blocks: Sequence[DenseBlock] = ()) -> None:
        self._symbolic, self._blocks = symbolic, blocks
        self.n = len(symbolic.ordering.permutation)
        nnz_l = len(symbolic.rows)
        # L and D in one array, so that one scatter loads C and one gather reads the inverse.
        self._storage = np.zeros(nnz_l + self.n)
        self._lower, self._pivots = self._storage[:nnz_l], self._storage[nnz_l:]

    def factorize(self, values: np.ndarray) -> None:
        """Factorise C; the signs of its pivots are free."""
        symbolic = self._symbolic
        self._storage.fill(0.0)
        self._storage[symbolic.places] = values[: len(symbolic.places)]
        for block, coefficient in zip(self._blocks, values[len(symbolic.places) :], strict=True):
            for j in range(len(block.at)):
                rows = block.at[j:]
                places = symbolic.places_of(rows, np.full(len(rows), block.at[j]))
                self._storage[places] += coefficient * block.values[j, j:]
        stop = ldl(symbolic.indptr, symbolic.rows, self._lower, self._pivots, DEPENDENT_PIVOT)
        if stop >= 0:
            raise NotPositiveDefiniteError(self._breakdown(values, stop))

    @property
    def n_negative(self) -> int:
        """Number of negative pivots."""
        return int((self._pivots < 0).sum())

    @property
    def n_dependent(self) -> int:
        """Number of zero pivots."""
        return int((self._pivots == 0).sum())

    @property
    def logdet(self) -> float:
        """``sum log|d_i|`` over the pivots that are not dependent, summed exactly."""
        return fsum(np.log(np.abs(self._pivots[self._pivots != 0])).tolist())

    def solve(self, B: np.ndarray) -> np.ndarray:
        """Solve ``C X = B``, B of shape (n, k)."""
        symbolic = self._symbolic
        permutation = symbolic.ordering.permutation
        work = np.ascontiguousarray(B[permutation])
        forward_solve(symbolic.indptr, symbolic.rows, self._lower, work)
        backward_solve(symbolic.indptr, symbolic.rows, self._lower, self._pivots, work)
        solution = np.empty_like(work)
        solution[permutation] = work
        return solution

    def inverse_on_pattern(self) -> np.ndarray:
        """Entries of C⁻¹ at the pattern of C, shape (nnz,)."""
        return self._inverse_storage()[self._symbolic.places]

    def inverse_diagonal(self) -> np.ndarray:
        """Diagonal of C⁻¹, (n,)."""
        out = np.empty(self.n)
        out[self._symbolic.ordering.permutation] = self._inverse_storage()[len(self._lower) :]
        return out

    def _inverse_storage(self) -> np.ndarray:
        """C⁻¹ on the pattern of L, as the factor is stored."""
        symbolic = self._symbolic
        nnz_l = len(symbolic.rows)
        inverse = np.empty_like(self._storage)
        selected_inverse(symbolic.indptr, symbolic.rows, self._lower, self._pivots, inverse[:nnz_l], inverse[nnz_l:])
        return inverse

    def _breakdown(self, values: np.ndarray, stop: int) -> str:
        """Message for an elimination that stopped at column `stop` of the permuted matrix."""
        if not np.isfinite(values).all():
            return explain_failure(values, self.n)
        equation = int(self._symbolic.ordering.permutation[stop])
        return (
            f"The coefficient matrix of order {self.n} is indefinite and its elimination breaks down at "
            f"equation {equation}. Keep the variances positive (constrain=True), or start from larger ones."
        )
