"""A relationship matrix the user brings: dense or sparse, as itself or as its inverse."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from remlblup.errors import RelationshipError, some
from remlblup.relationship.base import RelationshipBase, conformable
from remlblup.relationship.labels import canonical, tidy

#: Largest matrix (or connected block of one) that is turned into a dense one.
DENSE_LIMIT = 5000
_TOLERANCE = 1e-8
_BLOCK = 512


class MatrixRelationship(RelationshipBase):
    """A relationship given as a matrix K, or as K⁻¹. Public name: `Relationship`.

    Parameters
    ----------
    matrix : numpy.ndarray, pandas.DataFrame or scipy.sparse matrix, shape (q, q)
        Symmetric (to 1e-8 of its largest entry) and positive definite.
    labels : array-like, shape (q,), optional
        Levels in the order of the rows. May be left out for a data frame labelled by its index or columns.
    inverse : bool, optional
        True if `matrix` is K⁻¹.

    Raises
    ------
    RelationshipError
        If the matrix is not square, holds values that are not finite, is not symmetric or not positive
        definite (with its rank and smallest eigenvalue), or the labels are missing, repeated or of another
        number. Matrices of more than 5000 levels are tested for positive definiteness at first use.
    """

    def __init__(self, matrix: object, labels: Iterable | None = None, inverse: bool = False) -> None:
        if isinstance(matrix, pd.DataFrame):
            if labels is None:
                from remlblup.relationship.coerce import labelled_matrix

                matrix, labels, inverse = labelled_matrix(matrix, inverse)
            else:
                matrix = matrix.to_numpy()
        self._given = clean_matrix(matrix)
        self.inverse = bool(inverse)
        self.labels = clean_labels(labels, self._given.shape[0])
        if self.size <= DENSE_LIMIT:
            _ = self.logdet  # factorises, and so finds out whether it is positive definite

    @property
    def is_sparse(self) -> bool:
        """True if K⁻¹ has few entries per row."""
        return sp.issparse(self._given) and (self.inverse or self._blocks is not None)

    @cached_property
    def precision(self) -> sp.csc_array:
        """K⁻¹, shape (q, q), symmetric, both triangles stored."""
        return self._given_sparse if self.inverse else self._inverse_sparse

    @cached_property
    def logdet(self) -> float:
        """log|K|."""
        value = self._blocks[1] if self._blocks is not None else self._factor_logdet
        return -value if self.inverse else value

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Diagonal of K, shape (q,)."""
        if not self.inverse:
            return np.array(self._given.diagonal())
        if self._blocks is not None:
            return self._blocks[0].diagonal()
        if isinstance(self._given, np.ndarray):
            return np.diag(self._inverse_dense).copy()
        return _diagonal_of_inverse(self._lu, self.size)

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """K V for V of shape (q,) or (q, m)."""
        V = conformable(V, self.size)
        if not self.inverse:
            return self._given @ V
        if isinstance(self._given, np.ndarray):
            return scipy.linalg.cho_solve((self._cholesky, True), V, check_finite=False)
        return self._lu.solve(np.ascontiguousarray(V))

    def dense(self) -> np.ndarray:
        """K as an array, shape (q, q).

        Raises
        ------
        RelationshipError
            For a sparse matrix of more than 5000 levels.
        """
        if isinstance(self._given, np.ndarray):
            return self._inverse_dense if self.inverse else self._given
        if self.size > DENSE_LIMIT:
            raise RelationshipError(
                f"A dense relationship matrix of {self.size:,} levels would take "
                f"{8e-9 * self.size**2:,.1f} GB. Use `precision` (its sparse inverse) or "
                "`multiply` (products with it)."
            )
        return (self._inverse_sparse if self.inverse else self._given_sparse).toarray()

    def __repr__(self) -> str:
        kind = "sparse" if sp.issparse(self._given) else "dense"
        return f"Relationship({self.size:,} levels, {kind}{', given as inverse' if self.inverse else ''})"

    # Factorisations, each made once and only if something asks for it.

    @cached_property
    def _given_sparse(self) -> sp.csc_array:
        return sp.csc_array(self._given)

    @cached_property
    def _inverse_sparse(self) -> sp.csc_array:
        return self._blocks[0] if self._blocks is not None else sp.csc_array(self._inverse_dense)

    @cached_property
    def _cholesky(self) -> np.ndarray:
        return _cholesky(self._given, self.inverse)

    @cached_property
    def _inverse_dense(self) -> np.ndarray:
        if sp.issparse(self._given):
            if self.size > DENSE_LIMIT:
                raise RelationshipError(
                    f"This sparse matrix of {self.size:,} levels has a connected part larger than "
                    f"{DENSE_LIMIT:,}, whose inverse would be dense. Give the inverse itself (inverse=True), "
                    "a dense matrix, or a pedigree."
                )
            return _invert(_cholesky(self._given.toarray(), self.inverse))
        return _invert(self._cholesky)

    @cached_property
    def _factor_logdet(self) -> float:
        if isinstance(self._given, np.ndarray):
            return 2.0 * float(np.log(np.diag(self._cholesky)).sum())
        return float(np.log(self._lu.U.diagonal()).sum())

    @cached_property
    def _lu(self):
        return _sparse_factor(self._given, self.inverse)

    @cached_property
    def _blocks(self) -> tuple[sp.csc_array, float] | None:
        """Inverse and log-determinant block by block, if the sparse matrix falls into small blocks."""
        if not sp.issparse(self._given):
            return None
        return _invert_blocks(self._given, self.inverse)


def clean_matrix(matrix: object) -> np.ndarray | sp.csc_array:
    """The matrix as float64, square, finite and exactly symmetric."""
    try:
        if not sp.issparse(matrix):
            matrix = np.asarray(matrix)
        if np.iscomplexobj(matrix):
            raise TypeError("they are complex")
        if sp.issparse(matrix):
            matrix = sp.csc_array(matrix, dtype=float)
            matrix.sum_duplicates()
        else:
            matrix = np.asarray(matrix, dtype=float)
    except (TypeError, ValueError) as error:
        raise RelationshipError(f"The relationship matrix holds entries that are not numbers: {error}.") from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise RelationshipError(f"A relationship matrix must be square; this one has shape {matrix.shape}.")
    values = matrix.data if sp.issparse(matrix) else matrix
    if not np.isfinite(values).all():
        raise RelationshipError(
            f"The relationship matrix holds {int((~np.isfinite(values)).sum())} missing or infinite entries. "
            "Every pair of levels needs a value."
        )
    gap = abs(matrix - matrix.T)
    worst, largest = (gap.max() if gap.size else 0.0), np.abs(values).max(initial=0.0)
    if worst > _TOLERANCE * largest:
        row, column = np.unravel_index(int(gap.argmax()), matrix.shape)
        raise RelationshipError(
            f"The relationship matrix is not symmetric: row {row}, column {column} holds "
            f"{matrix[row, column]:.8g}, and row {column}, column {row} holds {matrix[column, row]:.8g} "
            "(counting from 0). If one triangle only was stored, fill in the other."
        )
    matrix = 0.5 * (matrix + matrix.T)
    return sp.csc_array(matrix) if sp.issparse(matrix) else matrix


def clean_labels(labels: Iterable | None, size: int) -> np.ndarray:
    """The labels of a matrix, all there and each once."""
    if labels is None:
        raise RelationshipError(
            "A bare matrix does not say which row belongs to which level. Give labels: "
            "Relationship(matrix, labels), or a data frame with the levels as its index and columns."
        )
    names, keys = tidy(labels), canonical(labels)
    if len(names) != size:
        raise RelationshipError(f"The matrix has {size} rows but {len(names)} labels were given.")
    missing = np.flatnonzero(np.equal(keys, None).astype(bool))
    if missing.size:
        raise RelationshipError(f"{missing.size} labels are missing (row {some(missing)}, counting from 0).")
    repeated = pd.Index(keys, dtype=object).duplicated()
    if repeated.any():
        raise RelationshipError(
            f"These labels occur more than once: {some(dict.fromkeys(keys[repeated]))}. "
            "Every row of a relationship matrix needs a label of its own."
        )
    return names


def _not_positive_definite(matrix: np.ndarray | None, inverse: bool) -> RelationshipError:
    """The error for a singular or indefinite matrix: how bad it is and what is usually done."""
    detail = ""
    if matrix is not None and len(matrix) <= DENSE_LIMIT:
        values = scipy.linalg.eigvalsh(matrix, check_finite=False)
        rank = int((values > _eps(matrix)).sum())
        detail = (
            f" ({rank} of its {len(values)} eigenvalues are positive; the smallest is {values[0]:.4g}, the "
            f"largest {values[-1]:.4g})"
        )
    what = "inverse relationship matrix" if inverse else "relationship matrix"
    cure = (
        "Invert a matrix that has been blended or bent first."
        if inverse
        else "Blend it, for example 0.99 K + 0.01 I (or 0.95 G + 0.05 A for genomic relationships), remove "
        "duplicate or clonal levels, or give the inverse with inverse=True."
    )
    return RelationshipError(f"The {what} is not positive definite{detail}. {cure}")


def _eps(matrix: np.ndarray) -> float:
    """What counts as zero: numpy's matrix_rank rule, the row-sum norm standing for the largest eigenvalue."""
    return len(matrix) * np.finfo(float).eps * float(np.abs(matrix).sum(axis=0).max())


def _cholesky(matrix: np.ndarray, inverse: bool) -> np.ndarray:
    """Lower Cholesky factor; a pivot that is zero to rounding counts as not positive definite."""
    try:
        factor = scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise _not_positive_definite(matrix, inverse) from None
    if np.diag(factor).min() ** 2 <= _eps(matrix):
        raise _not_positive_definite(matrix, inverse)
    return factor


def _invert(factor: np.ndarray) -> np.ndarray:
    """Inverse from a lower Cholesky factor, both triangles (LAPACK potri)."""
    lower, _ = scipy.linalg.lapack.dpotri(factor, lower=1)
    lower = np.tril(lower)
    return lower + np.tril(lower, -1).T


def _invert_blocks(matrix: sp.csc_array, inverse: bool) -> tuple[sp.csc_array, float] | None:
    """Inverse and log-determinant of a sparse matrix by its connected blocks; None if one is all of it.

    Families that are unrelated to each other give a block-diagonal K, whose inverse is as sparse as K.
    """
    n = matrix.shape[0]
    count, block = sp.csgraph.connected_components(matrix, directed=False)
    sizes = np.bincount(block, minlength=count)
    if sizes.max() > min(DENSE_LIMIT, max(n // 4, 1)):
        return None
    diagonal = matrix.diagonal()
    if diagonal.min() <= 0:
        raise _not_positive_definite(matrix.toarray() if n <= DENSE_LIMIT else None, inverse)
    members = np.split(np.argsort(block, kind="stable"), np.cumsum(sizes)[:-1])
    alone = np.flatnonzero(sizes[block] == 1)
    rows, columns, values = [alone], [alone], [1.0 / diagonal[alone]]
    logdet = float(np.log(diagonal[alone]).sum())
    rowwise = matrix.tocsr()
    for group in (group for group in members if group.size > 1):
        factor = _cholesky(rowwise[group][:, group].toarray(), inverse)
        logdet += 2.0 * float(np.log(np.diag(factor)).sum())
        rows.append(np.repeat(group, group.size))
        columns.append(np.tile(group, group.size))
        values.append(_invert(factor).ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sp.csc_array(sp.coo_array(entries, shape=(n, n))), logdet


def _sparse_factor(matrix: sp.csc_array, inverse: bool):
    """SuperLU with diagonal pivots: a symmetric LDL' in all but name, whose pivots show definiteness."""
    dense = matrix.toarray() if matrix.shape[0] <= 1000 else None
    options = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    try:
        lu = splu(matrix, **options)
    except RuntimeError:  # "Factor is exactly singular"
        raise _not_positive_definite(dense, inverse) from None
    pivots = lu.U.diagonal()
    tiny = matrix.shape[0] * np.finfo(float).eps * float(abs(matrix).sum(axis=0).max())
    if not np.array_equal(lu.perm_r, lu.perm_c) or not (pivots > tiny).all():
        raise _not_positive_definite(dense, inverse)
    return lu


def _diagonal_of_inverse(lu: object, n: int) -> np.ndarray:
    """Diagonal of the inverse by solving for the unit vectors, a block at a time."""
    diagonal = np.empty(n)
    for first in range(0, n, _BLOCK):
        block = np.arange(first, min(first + _BLOCK, n))
        unit = np.zeros((n, block.size))
        unit[block, np.arange(block.size)] = 1.0
        diagonal[block] = lu.solve(unit)[block, np.arange(block.size)]
    return diagonal
