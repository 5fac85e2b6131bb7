"""What a matrix of the user must be: square, finite, symmetric, with a label for every row, in one order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import RelationshipError, count, some
from remlblup.linalg.magnitude import require_magnitude
from remlblup.linalg.well_formed import require_well_formed
from remlblup.relationship.base import symmetrise
from remlblup.relationship.labels import canonical, nameless, tidy

_TOLERANCE = 1e-8
# Rows of a dense matrix looked at together: what is made of them is small beside the whole.
_ROWS = 256


def check_order(frame: pd.DataFrame, labels: Iterable) -> None:
    """Raise `RelationshipError` if the index or the columns name the levels of `labels` in another order."""
    wanted = canonical(labels).tolist()
    for where, names in (("index", frame.index), ("columns", frame.columns)):
        own = canonical(names).tolist()
        if not isinstance(names, pd.RangeIndex) and own != wanted and set(own) == set(wanted):
            first = next(k for k, (a, b) in enumerate(zip(own, wanted, strict=False)) if a != b)
            raise RelationshipError(
                f"The {where} of the data frame names the same levels as labels= in another order: row {first} "
                f"(counting from 0) is {own[first]!r} in the one and {wanted[first]!r} in the other. Leave "
                "labels= out, or give frame.to_numpy() if the frame's names are wrong."
            )


def clean_matrix(matrix: Any) -> np.ndarray | sp.csc_array:
    """The matrix as float64, square, finite and exactly symmetric."""
    require_well_formed(matrix, "The relationship matrix", RelationshipError)
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
    dense = not sp.issparse(matrix)
    values = matrix if dense else matrix.data
    if not np.isfinite(values).all():
        raise RelationshipError(
            f"The relationship matrix holds {int((~np.isfinite(values)).sum())} missing or infinite entries. "
            "Every pair of levels needs a value."
        )
    require_magnitude(values, "The relationship matrix", RelationshipError)
    worst, (row, column) = asymmetry(matrix) if dense else sparse_asymmetry(matrix)
    if worst > _TOLERANCE * max(values.max(initial=0.0), -values.min(initial=0.0)):
        raise RelationshipError(
            f"The relationship matrix is not symmetric: row {row}, column {column} holds "
            f"{matrix[row, column]:.8g}, and row {column}, column {row} holds {matrix[column, row]:.8g} "
            "(counting from 0). If one triangle only was stored, fill in the other."
        )
    return symmetrise(np.array(matrix)) if dense else sp.csc_array(0.5 * (matrix + matrix.T))


def asymmetry(matrix: np.ndarray) -> tuple[float, tuple[int, int]]:
    """Largest |M − M'| of a dense matrix, and the first place of it."""
    worst, place = 0.0, (0, 0)
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        # Tile by tile, for a whole row of tiles would be read down its columns; what lies before has been seen.
        tiles = [slice(left, left + _ROWS) for left in range(start, len(matrix), _ROWS)]
        gap = np.abs(np.hstack([matrix[rows, columns] - matrix[columns, rows].T for columns in tiles]))
        if (largest := float(gap.max())) > worst:
            row, column = np.unravel_index(int(gap.argmax()), gap.shape)
            worst, place = largest, (start + int(row), start + int(column))
    return worst, place


def sparse_asymmetry(matrix: sp.csc_array) -> tuple[float, tuple[int, int]]:
    """As `asymmetry`, of a sparse matrix."""
    gap = abs(matrix - matrix.T)
    row, column = np.unravel_index(int(gap.argmax()), matrix.shape)
    return float(gap.max()), (int(row), int(column))


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
    missing = np.flatnonzero(nameless(keys))
    if missing.size:
        raise RelationshipError(
            f"{count(missing.size, 'label', 'is', 'are')} missing (row {some(missing)}, counting from 0)."
        )
    repeated = pd.Index(keys, dtype=object).duplicated()
    if repeated.any():
        raise RelationshipError(
            f"These labels occur more than once: {some(dict.fromkeys(keys[repeated]))}. "
            "Every row of a relationship matrix needs a label of its own."
        )
    return names
