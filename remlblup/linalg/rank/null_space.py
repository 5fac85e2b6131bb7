"""The null space of X: which columns are aliased, and which rows are rows of X.

A wide sparse X is factorised in a fill-reducing order (with the intercept first, as usual, X'X in the
order given would fill in completely). That gives the null space of X, which belongs to no order: column
j is a combination of the columns before it exactly when some null vector has its last entry at j. So
the null vectors, brought to echelon form from their ends, name the columns.

x'β is estimable exactly when x is orthogonal to that space (Searle 1971, *Linear Models*, section 5.4), whichever
columns were set aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

LAST_ENTRY = 1e-7
"""Entries of a null vector below this share of its largest one are roundoff."""

REPLACED_ENTRY = 1e-12
"""Entries below this at a replaced column are roundoff; they are about to be divided by a small length."""


SAME = 1e-8
"""A product of a row and a null vector below this share of its terms is zero."""

ROUNDOFF = 1e-10
"""Entries of a null vector below this share of its largest one, and products this small beside usual rows, are zero."""


@dataclass(frozen=True, eq=False)
class NullSpace:
    """Combinations of the columns of X that are zero in every record, Xv = 0, free of the units of the columns.

    Attributes
    ----------
    vectors : csc_array, shape (p, r)
        A basis, of columns of X scaled to length one.
    lengths : ndarray, shape (p,)
        Lengths of the columns of X; 1 for a column of zeros.
    floors : ndarray, shape (r,)
        What rounding can leave of the product of a vector with a row like those of X.
    """

    vectors: sp.csc_array
    lengths: np.ndarray
    floors: np.ndarray

    def crossed(self, rows: Any) -> sp.csr_array:
        """Which rows x (m, p) are not orthogonal to which vectors, x'v ≠ 0: (m, r) of booleans."""
        X, V = sp.csr_array(rows), self.vectors
        scaled = sp.csr_array(X @ sp.diags_array(1.0 / self.lengths))
        products = abs(sp.csr_array(scaled @ V))
        limits = SAME * sp.csr_array(abs(scaled) @ abs(V))
        excess = sp.csr_array(products - limits)
        excess.data -= self.floors[excess.indices]
        excess.data = np.maximum(excess.data, 0.0)
        excess.eliminate_zeros()
        return excess.astype(bool)

    def columns(self, k: int) -> np.ndarray:
        """Positions of the columns in vector k, ascending."""
        return np.sort(self.vectors.indices[self.vectors.indptr[k] : self.vectors.indptr[k + 1]])


def null_space(vectors: np.ndarray, lengths: np.ndarray, n: int) -> NullSpace:
    """The null space of X (n, p) from null vectors (p', r) of its columns other than zero and the lengths of all."""
    if not vectors.shape[1] and lengths.all():
        return NullSpace(no_vectors(len(lengths)), lengths, np.zeros(0))
    zero, nonzero = np.flatnonzero(lengths == 0.0), np.flatnonzero(lengths)
    largest = np.abs(vectors).max(axis=0, initial=0.0)
    vectors = np.where(np.abs(vectors) > ROUNDOFF * largest, vectors, 0.0)
    spread = placed(vectors, nonzero, len(lengths))
    units = sp.csc_array((np.ones(len(zero)), (zero, np.arange(len(zero)))), shape=(len(lengths), len(zero)))
    floors = np.concatenate([ROUNDOFF * largest / np.sqrt(max(n, 1)), np.zeros(len(zero))])
    return NullSpace(sp.csc_array(sp.hstack([spread, units])), np.where(lengths > 0.0, lengths, 1.0), floors)


@lru_cache(maxsize=64)
def no_vectors(p: int) -> sp.csc_array:
    """The basis of a null space of p columns that holds nothing."""
    return sp.csc_array((p, 0))


def placed(vectors: np.ndarray, rows: np.ndarray, p: int) -> sp.csc_array:
    """Vectors (k, r) as (p, r) with their entries in `rows`."""
    i, j = np.nonzero(vectors)
    return sp.csc_array((vectors[i, j], (rows[i], j)), shape=(p, vectors.shape[1]))


@dataclass(frozen=True, eq=False)
class Projected:
    """Columns that were projected on a basis: ``x = B c + length q``.

    Attributes
    ----------
    columns : ndarray of int, shape (k,)
        Column numbers.
    combinations : ndarray, shape (p, k)
        Coefficients c.
    lengths : ndarray, shape (k,)
        Lengths of the residuals.
    replaced : bool
        True when q took the place of the (one) column x in the basis; False when the columns were
        aliased.
    """

    columns: np.ndarray
    combinations: np.ndarray
    lengths: np.ndarray
    replaced: bool


def null_vectors(projected: list[Projected], p: int) -> np.ndarray:
    """Null vectors of X from the columns that were found dependent, shape (p, deficiency).

    An aliased column gives ``x - B c = 0``. Where the basis B holds a q in the place of a column, that q
    is written out as ``(x - B c) / length``, the last replacement first, for it may rest on earlier ones.
    """
    if not projected:
        return np.zeros((p, 0))
    blocks = [np.zeros((p, 0))]
    for aliased in projected:
        if not aliased.replaced:
            block = -aliased.combinations
            block[aliased.columns, np.arange(len(aliased.columns))] += 1.0
            blocks.append(block)
    vectors = np.hstack(blocks)
    for event in reversed(projected):
        if event.replaced:
            j = event.columns[0]
            weight = np.where(np.abs(vectors[j]) > REPLACED_ENTRY, vectors[j], 0.0) / event.lengths[0]
            vectors -= event.combinations * weight
            vectors[j] = weight
    return vectors


def last_entries(vectors: np.ndarray) -> np.ndarray:
    """Positions of the last entries of an echelon basis of the span of `vectors`, ascending.

    Gaussian elimination on the columns of `vectors`, shape (p, r), from the last row upwards, with the
    largest entry of a row as the pivot.
    """
    vectors = vectors / np.abs(vectors).max(axis=0, initial=0.0)
    positions = []
    row = len(vectors)
    while vectors.shape[1]:
        filled = np.flatnonzero((np.abs(vectors[:row]) > LAST_ENTRY).any(axis=1))
        if not len(filled):
            break
        row = int(filled[-1])
        positions.append(row)
        pivot = np.abs(vectors[row]).argmax()
        column = vectors[:, pivot] / vectors[row, pivot]
        vectors = np.delete(vectors, pivot, axis=1)
        touched = np.flatnonzero(np.abs(vectors[row]) > LAST_ENTRY)
        vectors[:, touched] -= column[:, None] * vectors[row, touched]
        vectors[row] = 0.0
        largest = np.abs(vectors[:, touched]).max(axis=0, initial=0.0)
        vectors[:, touched] /= np.where(largest > 0, largest, 1.0)
    return np.array(positions[::-1], dtype=np.int64)
