"""Factorisations and inverses of relationship matrices, dense, in blocks, and sparse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.relationship.given.spectrum import not_positive_definite, rounding

if TYPE_CHECKING:
    from scipy.sparse.linalg import SuperLU

_BLOCK = 512


def cholesky(matrix: np.ndarray, inverse: bool) -> np.ndarray:
    """Lower Cholesky factor; a pivot that is zero to rounding counts as not positive definite."""
    try:
        factor = scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise not_positive_definite(matrix, inverse) from None
    if np.diag(factor).min() ** 2 <= rounding(matrix):
        raise not_positive_definite(matrix, inverse)
    return factor


def invert(factor: np.ndarray) -> np.ndarray:
    """Inverse from a lower Cholesky factor, both triangles (LAPACK potri)."""
    lower, _ = scipy.linalg.lapack.dpotri(factor, lower=1)
    lower = np.tril(lower)
    return lower + np.tril(lower, -1).T


def invert_blocks(matrix: sp.csc_array, inverse: bool, limit: int) -> tuple[sp.csc_array, float, float] | None:
    """Inverse, log-determinant and smallest over largest pivot by connected blocks; None if one is all of the matrix.

    Families that are unrelated to each other give a block-diagonal K, whose inverse is as sparse as K.
    """
    n = matrix.shape[0]
    count, block = sp.csgraph.connected_components(matrix, directed=False)
    sizes = np.bincount(block, minlength=count)
    if sizes.max() > min(limit, max(n // 4, 1)):
        return None
    diagonal = matrix.diagonal()
    if diagonal.min() <= 0:
        raise not_positive_definite(matrix.toarray() if n <= limit else None, inverse)
    members = np.split(np.argsort(block, kind="stable"), np.cumsum(sizes)[:-1])
    alone = np.flatnonzero(sizes[block] == 1)
    rows, columns, values = [alone], [alone], [1.0 / diagonal[alone]]
    logdet = float(np.log(diagonal[alone]).sum())
    pivots = [diagonal[alone]]
    rowwise = matrix.tocsr()
    for group in (group for group in members if group.size > 1):
        factor = cholesky(rowwise[group][:, group].toarray(), inverse)
        logdet += 2.0 * float(np.log(np.diag(factor)).sum())
        pivots.append(np.diag(factor) ** 2)
        rows.append(np.repeat(group, group.size))
        columns.append(np.tile(group, group.size))
        values.append(invert(factor).ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    squares = np.concatenate(pivots)
    return sp.csc_array(sp.coo_array(entries, shape=(n, n))), logdet, float(squares.min() / squares.max())


def sparse_factor(matrix: sp.csc_array, inverse: bool) -> SuperLU:
    """SuperLU with diagonal pivots: a symmetric LDL' in all but name, whose pivots show definiteness."""
    from scipy.sparse.linalg import splu  # a heavy import

    dense = matrix.toarray() if matrix.shape[0] <= 1000 else None
    options = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    try:
        lu = splu(matrix, **options)
    except RuntimeError:  # "Factor is exactly singular"
        raise not_positive_definite(dense, inverse) from None
    pivots = lu.U.diagonal()
    tiny = matrix.shape[0] * np.finfo(float).eps * float(abs(matrix).sum(axis=0).max())
    if not np.array_equal(lu.perm_r, lu.perm_c) or not (pivots > tiny).all():
        raise not_positive_definite(dense, inverse)
    return lu


def diagonal_of_inverse(lu: SuperLU, n: int) -> np.ndarray:
    """Diagonal of the inverse by solving for the unit vectors, a block at a time."""
    diagonal = np.empty(n)
    for first in range(0, n, _BLOCK):
        block = np.arange(first, min(first + _BLOCK, n))
        unit = np.zeros((n, block.size))
        unit[block, np.arange(block.size)] = 1.0
        diagonal[block] = lu.solve(unit)[block, np.arange(block.size)]
    return diagonal
