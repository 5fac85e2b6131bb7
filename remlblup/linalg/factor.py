"""The choice between the engines of a factor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remlblup.errors import OptionError, choose
from remlblup.linalg.compilation import announce_compilation
from remlblup.linalg.contract import DenseBlock, Factor, columns_of

DENSE_LIMIT = 1000
"""Orders up to this one use the dense engine under ``engine="auto"``.

The reason is compilation, not arithmetic: at order 1,000 LAPACK takes some 30 ms for a factor and its
inverse, so that a fit of ten iterations ends long before numba would have compiled the sparse
functions (seconds on the first use on a machine, some tenths of a second from its cache).
"""

SMALLEST_BORDERED = 64
"""Below this order there is nothing to be gained from the blocks of C."""

ENGINES = ("auto", "dense", "sparse")


def make_factor(
    indptr: np.ndarray,
    indices: np.ndarray,
    n: int,
    engine: str = "auto",
    groups: np.ndarray | None = None,
    beside: float = 0.0,
    blocks: Sequence[DenseBlock] = (),
) -> Factor:
    """Make the factor of a symmetric matrix from its pattern.

    Parameters
    ----------
    indptr, indices : ndarray of int32 or int64, shapes (n + 1,) and (nnz,)
        Compressed sparse columns of the lower triangle: every diagonal entry is present, and the row
        indices of a column ascend (so that the diagonal comes first).
    n : int
        Order of the matrix.
    engine : {"auto", "dense", "sparse"}
        ``"auto"`` is dense up to `DENSE_LIMIT` equations.
    groups : ndarray of int, shape (n,), optional
        Equations that stay together, e.g. the traits of one animal: one node of an ordering.
    beside : float
        Bytes that will be needed beside the factor: what does not fit with them is refused before it is made.
    blocks : sequence of DenseBlock
        Dense parts of the matrix, of different equations, each with a coefficient of its own behind the values of the
        pattern, which need not hold their entries. For the sparse engine only.
    """
    choose("engine", engine, ENGINES)
    indptr, indices = np.asarray(indptr), np.asarray(indices)
    check_lower_pattern(indptr, indices, n)
    if engine_of(engine, n) == "dense":
        assert not blocks
        from remlblup.linalg.dense.bordered import BorderedFactor, independent_blocks
        from remlblup.linalg.dense.full import DenseFactor

        apart = independent_blocks(indices, columns_of(indptr), n, groups) if n > SMALLEST_BORDERED else None
        return DenseFactor(indptr, indices, n, beside) if apart is None else BorderedFactor(indptr, indices, n, apart)
    # Imported only here: the module brings numba, and its functions may have to be compiled.
    announce_compilation()
    from remlblup.linalg.sparse.factor import SparseFactor

    return SparseFactor(indptr, indices, n, groups, beside, blocks)


def engine_of(engine: str, n: int) -> str:
    """The engine of a matrix of order n."""
    if engine == "auto":
        return "dense" if n <= DENSE_LIMIT else "sparse"
    return engine


def check_lower_pattern(indptr: np.ndarray, indices: np.ndarray, n: int) -> None:
    """Raise `OptionError` unless the pattern is a sorted lower triangle with a full diagonal."""
    if n < 1 or indptr.shape != (n + 1,) or indptr[0] != 0 or indices.shape != (indptr[-1],):
        raise OptionError(f"The pattern of a matrix of order {n} is malformed: see indptr and indices.")
    if (indptr[1:] <= indptr[:-1]).any() or (indices[indptr[:-1]] != np.arange(n)).any():
        raise OptionError("Each column of the lower triangle must start with its diagonal entry.")
    ascending = indices[1:] > indices[:-1]
    ascending[indptr[1:-1] - 1] = True  # from one column to the next
    if not ascending.all() or indices.max() >= n:
        raise OptionError("The row indices of each column must ascend, without duplicates, below n.")
