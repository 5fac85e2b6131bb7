"""The levels of the factors behind a bar: which level each record has, and in which relationship."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.errors import DataError, ModelError, RelationshipError, some
from remlblup.model.terms import UNITS, Group, RandomTerm
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.labels import canonical, match, tidy
from remlblup.relationship.pedigree.reading import UNKNOWN

__all__ = ["UNITS", "factorize", "group_keys", "grouped", "unknown_parents"]


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
    if isinstance(keys.dtype, pd.CategoricalDtype):
        keys = keys.cat.remove_unused_categories()
        codes, levels = keys.cat.codes.to_numpy(), keys.cat.categories
    else:
        try:
            codes, levels = pd.factorize(keys, sort=True)
        except TypeError:  # labels of several types have no common order
            codes, levels = pd.factorize(pd.Series(canonical(keys), dtype=object), sort=True)
    # Spellings that mean one label ("a" and "a ") are one level.
    same, first = np.unique(canonical(levels), return_index=True)
    if len(same) < len(levels):
        first = np.sort(first)
        codes = np.append(match(levels[first], levels), -1)[codes]
        levels = levels[first]
    return codes, np.asarray(tidy(levels))


def grouped(
    term: RandomTerm, frame: pd.DataFrame, relationship: RelationshipBase | None
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
        keys = group_keys(group, frame)
        if term.may_miss(position):
            keys = keys.where(~unknown_parents(keys, relationship))
        found.append(factorize(keys))
    levels = found[0][1] if len(found) == 1 else union([levels for _, levels in found])
    label = "' and '".join(g.label for g in term.groups)
    if not len(levels):
        raise ModelError(f"'{label}' of the random term '{term.name}' is unknown in every record: drop the term.")
    if relationship is None:
        relationship = IdentityRelationship(levels)
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
