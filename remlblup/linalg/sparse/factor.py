"""Sparse engine: symbolic analysis once, then a factor, solves and the selected inverse at each new C.

This module brings numba, whose functions are compiled on their first use on a machine and come from a
cache later on: import it only when a sparse factor is made (`remlblup.linalg.factor.make_factor` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from remlblup.errors import OptionError
from remlblup.linalg.contract import DenseBlock, FactorStats, check_ready, check_values, columns_of
from remlblup.linalg.memory import give_back
from remlblup.linalg.sparse.supernodal import SupernodalFactor
from remlblup.linalg.sparse.symbolic import analyse

if TYPE_CHECKING:
    from remlblup.linalg.sparse.columns import ColumnFactor

ANALYSIS, PER_EQUATION = 45.0, 60.0
"""Bytes for an entry of C and for an equation while the order is found: the graph, its parts, and its places in L."""

LARGE = 500_000
"""Equations whose temporaries are worth giving back to the system before others come."""

MOST = 2**31 - 1
"""Equations are numbered in 32 bits; entries of C and of L are counted in 64."""


class SparseFactor:
    """Factor of a sparse symmetric matrix: L L' by supernodes, or L D L' by columns if it is indefinite.

    Implements `remlblup.linalg.contract.Factor`. Dependent equations get a zero pivot and are left out:
    their number is `n_dependent`, their solutions are zero, and so are their rows and columns of the
    (generalised) inverse. The count is exact for designs of factors. It can miss where the *independent*
    equations are ill-conditioned themselves, for roundoff then leaves more than `DEPENDENT_PIVOT` of a
    pivot that should vanish: drop aliased columns of the fixed effects beforehand
    (`remlblup.linalg.rank.independent.independent_columns`), and read `n_dependent` as a check.

    Parameters
    ----------
    indptr, indices : ndarray, shapes (n + 1,) and (nnz,)
        Pattern of the lower triangle of C, as in `make_factor`.
    n : int
        Order of C.
    groups : ndarray of int, shape (n,), optional
        Equations to be ordered as one node.
    beside : float
        Bytes needed beside the factor, see `make_factor`.
    blocks : sequence of DenseBlock
        Dense parts of C, see `make_factor`.
    """

    def __init__(
        self,
        indptr: np.ndarray,
        indices: np.ndarray,
        n: int,
        groups: np.ndarray | None = None,
        beside: float = 0.0,
        blocks: Sequence[DenseBlock] = (),
    ) -> None:
        if n > MOST:
            raise OptionError(
                f"{n:,} equations are more than the {MOST:,} that a sparse factor numbers: leave out levels"
                " without records of their own or of descendants."
            )
        self.n, self._blocks, self._nnz = n, blocks, len(indices)
        self._symbolic = analyse(indptr, indices, n, groups, beside, [block.at for block in blocks])
        self._definite = SupernodalFactor(self._symbolic, indices, columns_of(indptr, np.int32), beside, blocks)
        self._symbolic.forget_supernodes()
        self._indefinite: ColumnFactor | None = None
        self._current: SupernodalFactor | ColumnFactor = self._definite
        self.stats = FactorStats(
            n=n,
            nnz_matrix=len(indices) + sum(block.entries for block in blocks),
            nnz_factor=int(self._symbolic.counts.sum(dtype=np.int64)),
            flops=self._symbolic.flops,
            engine="sparse",
            ordering=self._symbolic.ordering.name,
            ordering_reason=self._symbolic.ordering.reason,
            memory=self._definite.memory,
            kept=self._definite.kept,
            analysis=ANALYSIS * len(indices) + PER_EQUATION * n + 4.0 * sum(block.entries for block in blocks),
        )
        self._give_back()
        self._selected: np.ndarray | None = None
        self._logdet: float | None = None
        self._ready = False
        self.n_negative = 0
        self.n_dependent = 0

    def forget(self) -> None:
        """Let go of what was computed of C: other values are coming."""
        self._ready, self._selected, self._logdet = False, None, None

    def factorize(self, values: np.ndarray) -> None:
        """Factorise C; the signs of its pivots are free."""
        values = check_values(values, self._nnz + len(self._blocks))
        self.forget()
        self._current = self._definite
        if not np.isfinite(values).all() or not self._definite.factorize(values):
            if self._indefinite is None:
                from remlblup.linalg.sparse.columns import ColumnFactor

                self._indefinite = ColumnFactor(self._symbolic, self._blocks)
            self._indefinite.factorize(values)
            self._current = self._indefinite
        self.n_negative, self.n_dependent = self._current.n_negative, self._current.n_dependent
        self._ready = True

    @property
    def logdet(self) -> float:
        """``sum log|d_i|`` over the pivots that are not dependent, summed exactly."""
        check_ready(self._ready)
        if self._logdet is None:
            self._logdet = self._current.logdet
        return self._logdet

    def rest(self) -> None:
        """Let go of workspaces until they are needed again."""
        self._definite.rest()
        self._give_back()

    def _give_back(self) -> None:
        """What temporaries have left of memory, in a process where that counts."""
        if self.n >= LARGE:
            give_back()

    def solve(self, B: np.ndarray) -> np.ndarray:
        """Solve ``C X = B``, B of shape (n,) or (n, k)."""
        check_ready(self._ready)
        B = np.asarray(B, dtype=np.float64)
        return self._current.solve(B.reshape(self.n, -1)).reshape(B.shape)

    def products_of(self, B: np.ndarray) -> np.ndarray:
        """``B'C⁻¹B``, B of shape (n, k)."""
        check_ready(self._ready)
        return self._definite.products_of(B) if self._current is self._definite else B.T @ self.solve(B)

    def inverse_on_pattern(self) -> np.ndarray:
        """Entries of C⁻¹ at the pattern of C, shape (nnz,)."""
        check_ready(self._ready)
        if self._selected is None:
            self._give_back()
            self._selected = self._current.inverse_on_pattern()
        return self._selected

    def inverse_diagonal(self) -> np.ndarray:
        """Diagonal of C⁻¹, (n,), of which nothing is kept."""
        check_ready(self._ready)
        return self._current.inverse_diagonal()
