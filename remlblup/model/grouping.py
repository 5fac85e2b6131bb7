"""The levels of the factors behind a bar: which level each record has, and in which relationship."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.errors import DataError, ModelError, RelationshipError, some
from remlblup.model.columns import Column, Columns
from remlblup.model.terms import UNITS, Group, RandomTerm
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.labels import canonical, tidy
from remlblup.relationship.pedigree.reading import UNKNOWN

__all__ = ["UNITS", "factor_of", "factorize", "group_keys", "grouped", "unknown_parents"]


def group_keys(group: Group, frame: pd.DataFrame) -> pd.Series:
    """The level of each record: the factor's own values, or 'a:b' for a combination of factors."""
    if not group.factors:
        return pd.Series("all", index=frame.index, dtype=object)
    if len(group.factors) == 1:
        column = frame[group.factors[0]]
        return column if column.dtype.kind != "f" else pd.Series(tidy(column), index=frame.index)
    parts = [pd.Series(tidy(frame[f]), index=frame.index).astype(str) for f in group.factors]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + ":" + part
    if any(part.str.contains(":", regex=False).any() for part in parts):
        cells = pd.MultiIndex.from_arrays(parts).nunique()
        if cells != joined.nunique():
            raise DataError(
                f"levels of {some(group.factors)} contain ':' so that different cells read alike: rename them."
            )
    return joined


def factorize(keys: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n,) and the levels that occur, in category order or sorted; the code of a missing value is −1."""
    return Column(keys).factor


def factor_of(group: Group, data: Columns) -> tuple[np.ndarray, np.ndarray]:
    """The same of what stands behind a bar."""
    if len(group.factors) == 1 and (column := data[group.factors[0]]).dtype.kind != "f":
        return column.factor
    return factorize(group_keys(group, data.frame))


def grouped(
    term: RandomTerm, data: Columns, relationship: RelationshipBase | None
) -> tuple[RelationshipBase, list[np.ndarray]]:
    """K, and the position of each record's level in it for every factor of the term (−1: unknown parent).

    Of a factor that may be unknown (`RandomTerm.may_miss`) a missing value, or a code for an unknown parent (``0``,
    empty, ``NA``, as the pedigree reads it), means that it adds nothing there. Others must be known in every record.

    Raises
    ------
    ModelError
        If no level is known.
    RelationshipError
        If the relationship lacks levels.
    """
    found = []
    for position, group in enumerate(term.groups):
        if term.may_miss(position):
            keys = group_keys(group, data.frame)
            found.append(factorize(keys.where(~unknown_parents(keys, relationship))))
        else:
            found.append(factor_of(group, data))
    levels = found[0][1] if len(found) == 1 else union([levels for _, levels in found])
    label = "' and '".join(g.label for g in term.groups)
    if not len(levels):
        raise ModelError(f"'{label}' of the random term '{term.name}' is unknown in every record: drop the term.")
    if relationship is None:
        relationship = IdentityRelationship.of(levels)
        if len(found) == 1:
            return relationship, [found[0][0]]
    codes = []
    for group, (code, own) in zip(term.groups, found, strict=True):
        try:
            codes.append(np.append(relationship.index(own), -1)[code])
        except RelationshipError as error:
            hint = ""
            if unknown_parents(pd.Series(own), relationship).any():
                hint = (
                    f" If '{group.label}' holds parents, some of them unknown, say so to keep these records: "
                    f"unknown_parents=['{group.label}']."
                )
            raise RelationshipError(
                f"in '{term.name}' (factor '{group.label}', relationship '{group.relationship}'): {error}{hint}"
            ) from None
    return relationship, codes


def unknown_parents(keys: pd.Series, relationship: RelationshipBase | None) -> np.ndarray:
    """Where the level is missing or a code for an unknown parent: the pedigree's, else a usual one that is no level.

    Of levels without a relationship any code is one of them: 0 is a school like others.
    """
    if relationship is None:
        return np.asarray(keys.isna())
    codes, levels = pd.factorize(keys)
    spelled = canonical(levels)
    of_pedigree = relationship.unknown_codes
    unknown = np.isin(spelled.astype(str), list(UNKNOWN if of_pedigree is None else of_pedigree))
    if of_pedigree is None and unknown.any():
        unknown[unknown] = relationship.find(levels[unknown]) < 0
    return np.append(unknown, True)[codes]


def union(levels: list[np.ndarray]) -> np.ndarray:
    """The levels of several factors, each once."""
    together = np.concatenate([np.asarray(part, dtype=object) for part in levels])
    _, first = np.unique(canonical(together).astype(str), return_index=True)
    kept = together[np.sort(first)]
    try:
        return np.asarray(tidy(np.array(sorted(kept), dtype=object)))
    except TypeError:
        return np.asarray(tidy(kept))
