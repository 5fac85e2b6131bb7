"""A data frame that holds a square matrix: which of its names are the levels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.errors import RelationshipError, some
from remlblup.relationship.labels import canonical, match


def labelled_matrix(frame: pd.DataFrame, inverse: bool) -> tuple[np.ndarray, pd.Index, bool]:
    """Values, labels and inverse flag of a data frame that holds a square matrix and its levels' names.

    Labels come from the index if the columns name the same levels (the columns are put in its order) or only
    count; from the columns if the index only counts; from the first column if the frame has one column more
    than rows.

    Raises
    ------
    RelationshipError
        If it is not square, or rows and columns name different levels, or neither names any.
    """
    flagged = any(bool(frame.attrs.get(key, False)) for key in ("inverse", "INVERSE"))
    if frame.shape[1] == frame.shape[0] + 1:
        # A file read without index_col: its first column holds the row names.
        frame = frame.set_index(frame.columns[0])
    rows, columns = frame.shape
    if rows != columns:
        raise RelationshipError(
            f"a relationship matrix must be square; this data frame has {rows} rows and {columns} columns. "
            "(A pedigree needs the columns id, sire and dam.)"
        )
    frame, labels = _choose_labels(frame)
    return frame.to_numpy(), labels, bool(inverse) or flagged


def _choose_labels(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index]:
    index, columns = frame.index, frame.columns
    mute_rows, mute_columns = isinstance(index, pd.RangeIndex), _numbered(columns)
    if mute_rows and isinstance(columns, pd.RangeIndex):
        raise RelationshipError(
            "neither the rows nor the columns of this data frame are named, so it does not say which row "
            "belongs to which level. Set its index and columns to the levels, or give (matrix, labels)."
        )
    if set(canonical(index)) == set(canonical(columns)):
        if index.is_unique and columns.is_unique:
            frame = frame.iloc[:, match(columns, index)]
        return frame, index
    if mute_rows:
        return frame, columns
    if mute_columns:
        return frame, index
    if _numbered(index):
        return frame, columns
    apart = [label for label in index if label not in set(columns)]
    raise RelationshipError(
        f"the rows and columns of this data frame name different levels: {some(apart)} of the rows are not "
        f"among the columns ({some(columns, 4)}). Rows and columns must hold the same levels."
    )


def _numbered(names: pd.Index) -> bool:
    """True if the names only count: 0, 1, 2, ..., or 1, 2, 3, ..., or V1, V2, ... as R writes them."""
    texts = [str(name) for name in names]
    return any(
        texts == [f"{letter}{first + k}" for k in range(len(texts))] for letter in ("", "V", "X") for first in (0, 1)
    )
