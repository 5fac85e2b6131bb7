"""From whatever a user puts in ``relationships={"A": ...}`` to a relationship."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.errors import RelationshipError, some
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.genomic.genotypes import Genotypes
from remlblup.relationship.genomic.relationship import UnformedRelationship
from remlblup.relationship.given.matrix import MatrixRelationship
from remlblup.relationship.labels import as_frame, canonical
from remlblup.relationship.pedigree.columns import candidates
from remlblup.relationship.pedigree.maternal_grandsire import MaternalGrandsirePedigree
from remlblup.relationship.pedigree.parent_groups import LabelledMatrix
from remlblup.relationship.pedigree.pedigree import Pedigree

_ACCEPTED = (
    "Give a Pedigree, a Relationship, Genotypes, a data frame (a pedigree with columns id, sire, dam, or a square "
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
        A `Pedigree` or `Relationship`; `Genotypes`, for K of VanRaden's first method; a
        data frame holding a pedigree or a labelled square matrix (an
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
            "this is what group_precision() returns: an inverse, and a singular one, which would be taken for K. Give "
            "the pedigree itself, whose groups become fixed effects, or its with_random_groups(variance)."
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
        return UnformedRelationship(obj)
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
