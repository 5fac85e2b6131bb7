"""Which columns are aliased in one order, when their dependencies were found in another.

A wide sparse X is factorised in a fill-reducing order (with the intercept first, as usual, X'X in the
order given would fill in completely). That gives the null space of X, which belongs to no order: column
j is a combination of the columns before it exactly when some null vector has its last entry at j. So
the null vectors, brought to echelon form from their ends, name the columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LAST_ENTRY = 1e-7
"""Entries of a null vector below this share of its largest one are roundoff."""

REPLACED_ENTRY = 1e-12
"""Entries below this at a replaced column are roundoff; they are about to be divided by a small length."""


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
