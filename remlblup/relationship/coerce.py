"""From whatever a user puts in ``relationships={"A": ...}`` to a relationship."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.errors import RelationshipError, some
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.genotypes import Genotypes
from remlblup.relationship.labels import as_frame, canonical, match
from remlblup.relationship.maternal_grandsire import MaternalGrandsirePedigree
from remlblup.relationship.matrix import MatrixRelationship
from remlblup.relationship.parent_groups import LabelledMatrix
from remlblup.relationship.pedigree import Pedigree
from remlblup.relationship.pedigree_columns import candidates

_ACCEPTED = (
    "Give a Pedigree, a Relationship, a data frame (a pedigree with columns id, sire, dam, or a square "
    "matrix with the levels as index and columns), a pair (matrix, labels), or a dict "
    '{"matrix": ..., "labels": ..., "inverse": True or False}'
)


def coerce(name: str, obj: object) -> RelationshipBase:
    """Turn what a user gives for a relationship into one.

    Parameters
    ----------
    name : str
        Its name in the formula, for messages.
    obj : object
        A `Pedigree` or `Relationship`; a data frame holding a pedigree or a labelled square matrix (an
        inverse if ``df.attrs["inverse"]`` or ``df.attrs["INVERSE"]`` is true); a pair ``(matrix, labels)``;
        or a dict with ``matrix``, ``labels`` and optionally ``inverse``.

    Returns
    -------
    RelationshipBase

    Raises
    ------
    RelationshipError
        If it is none of these, or is one but wrong; the message starts with the relationship's name.
    """
    try:
        return _coerce(obj)
    except RelationshipError as error:
        raise type(error)(f"Relationship {name!r}: {error}") from None


def _coerce(obj: object) -> RelationshipBase:
    if isinstance(obj, RelationshipBase):
        return obj
    if isinstance(obj, dict):
        extra = set(obj) - {"matrix", "labels", "inverse"}
        if extra or "matrix" not in obj:
            raise RelationshipError(f"the dict has the keys {some(obj)}. {_ACCEPTED}.")
        return MatrixRelationship(obj["matrix"], obj.get("labels"), bool(obj.get("inverse", False)))
    if isinstance(obj, LabelledMatrix):
        raise RelationshipError(
            "this is what group_precision() returns: an inverse, and a singular one, which would be taken for K. Give the "
            "pedigree itself, whose groups become fixed effects, or its with_random_groups(variance)."
        )
    if isinstance(obj, tuple):
        if len(obj) != 2:
            raise RelationshipError(f"a pair (matrix, labels) was expected, not {len(obj)} items. {_ACCEPTED}.")
        return MatrixRelationship(*obj)
    if isinstance(obj, np.ndarray) or hasattr(obj, "tocsc"):
        return MatrixRelationship(obj)  # raises: a bare matrix has no labels
    if isinstance(obj, pd.DataFrame) or hasattr(obj, "get_column"):
        frame = as_frame(obj)
        if not looks_like_pedigree(frame):
            return MatrixRelationship(frame)
        of_bulls = candidates(frame.columns, "mgs") and not candidates(frame.columns, "dam")
        return (MaternalGrandsirePedigree if of_bulls else Pedigree).from_frame(frame)
    if isinstance(obj, Genotypes):
        raise RelationshipError(
            "these are genotypes, not a relationship made of them. Give rb.genomic_relationship(genotypes)."
        )
    raise RelationshipError(f"cannot make a relationship of {type(obj).__name__}. {_ACCEPTED}.")


def looks_like_pedigree(frame: pd.DataFrame) -> bool:
    """True if columns are named like parents, or it is no square and one is or there are three columns.

    Raises
    ------
    RelationshipError
        If the three columns look like row, column and value of a sparse matrix.
    """
    named = {role: bool(candidates(frame.columns, role)) for role in ("sire", "dam", "mgs")}
    if set(canonical(frame.index)) == set(canonical(frame.columns)):  # a matrix of levels that may be called so
        return False
    if named["sire"] and (named["dam"] or named["mgs"]):
        return True
    if frame.shape[1] - frame.shape[0] in (0, 1):
        return False
    if named["sire"] or named["dam"]:
        return True
    if frame.shape[1] != 3:
        return False
    last = frame.iloc[:, 2]
    if pd.api.types.is_float_dtype(last.dtype) and (last.dropna() % 1 != 0).any():
        raise RelationshipError(
            f"the columns {some(frame.columns)} look like row, column and value of a sparse matrix. Build it "
            "with scipy.sparse.coo_array (both triangles) and give Relationship(matrix, labels, inverse=...)."
        )
    return True


def labelled_matrix(frame: pd.DataFrame, inverse: bool) -> tuple[np.ndarray, np.ndarray, bool]:
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
