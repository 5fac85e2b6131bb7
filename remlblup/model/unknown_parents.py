"""Records whose sire or dam is unknown: in a term over a pedigree the unknown parent adds nothing,
and the record stays. So does one that lacks a neighbour, or a school, of a sum of them.

Which columns hold parents: the factors of a sum, those of a term after its first, columns named like a sire, a dam or
a maternal grandsire, and those the user lists. The individual itself, ``vm(animal, A)``, must be known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from remlblup.errors import DataError, OptionError, some
from remlblup.model.given import Given
from remlblup.model.grouping import unknown_parents
from remlblup.model.products import missing
from remlblup.model.terms import Group, MixedFormula, RandomTerm
from remlblup.relationship.pedigree.columns import candidates

CHOICES = ("keep", "drop", "error")
Choice = str | tuple[str, ...]


def settle(
    parsed: MixedFormula, frame: pd.DataFrame, given: Given, choice: str | Sequence[str]
) -> tuple[MixedFormula, pd.DataFrame, Choice]:
    """The formula with its parents marked, the data with codes of unknown parents as missing values,
    the choice checked.

    Parameters
    ----------
    choice : "keep", "drop", "error", or the columns that hold parents, whose unknown ones are kept

    Raises
    ------
    OptionError
        If `choice` is none of these, or lists a column that is not behind a pedigree.
    DataError
        If a parent is unknown and the choice is "error".
    """
    choice = _checked(choice)
    if not given.entries and isinstance(choice, str):
        return parsed, frame, choice
    kept: tuple[str, ...] | None = None if isinstance(choice, str) else choice
    behind = {group.factors[0] for _, _, group in _of_pedigrees(parsed, frame, given)}
    if absent := [column for column in kept or () if column not in behind]:
        raise OptionError(
            f"unknown_parents= lists {some(absent)}, which no term has over a pedigree, vm(column, NAME). "
            f"Those that are: {some(sorted(behind)) or 'none'}."
        )
    unknown: dict[str, np.ndarray] = {}
    terms = list(parsed.random)
    for number, position, group in _of_pedigrees(parsed, frame, given):
        column = group.factors[0]
        named = column in kept if kept is not None else _named_like_a_parent(column)
        term = terms[number]
        assert isinstance(term, RandomTerm)
        if not term.may_miss(position) and not named:
            continue
        terms[number] = _marked(term, position, choice != "drop")
        relationship = given.relationship(str(group.relationship), terms[number].name)
        unknown[column] = unknown_parents(frame[column], relationship)
    if choice == "error":
        _refuse(unknown, frame)
    columns = {c: _missing_where(frame[c], rows) for c, rows in unknown.items() if (rows & frame[c].notna()).any()}
    return replace(parsed, random=tuple(terms)), frame.assign(**columns) if columns else frame, choice


def counted(parsed: MixedFormula, frame: pd.DataFrame, given: Given) -> dict[str, int]:
    """How many records have an unknown parent or neighbour that adds nothing, by column; and all of a sum."""
    counts: dict[str, int] = {}
    for term in parsed.random:
        if not isinstance(term, RandomTerm) or not any(map(term.may_miss, range(len(term.groups)))):
            continue
        absent = []
        for position, group in enumerate(term.groups):
            parts = [None if name is None else given.relationship(name, term.name) for name in group.names]
            absent.append(missing(term, position, frame, parts))
            counts[group.label] = max(int(absent[-1].sum()), counts.get(group.label, 0))
        for effect in dict.fromkeys(group.effect for group in term.groups):
            own = [rows for rows, group in zip(absent, term.groups, strict=True) if group in term.of_effect(effect)]
            if len(own) > 1:
                label = "all of " + " + ".join(group.label for group in term.of_effect(effect))
                counts[label] = int(np.all(own, axis=0).sum())
    return {label: number for label, number in counts.items() if number}


def said(counts: Mapping[str, int], parsed: MixedFormula | None) -> str:
    """What is said of records that stay though a parent, or another factor of a sum, is unknown."""
    terms = [t for t in (parsed.random if parsed is not None else ()) if isinstance(t, RandomTerm)]
    added = {g.label for t in terms for g in t.groups if len(t.of_effect(g.effect)) > 1}
    parents = {label for label in counts if _named_like_a_parent(label) or not (label in added or " + " in label)}
    texts = []
    for what, labels in (("an unknown parent", parents), ("a missing level", set(counts) - parents)):
        own = {label: number for label, number in counts.items() if label in labels}
        if own:
            texts.append(f"{what} adds nothing: " + ", ".join(f"{label} in {n:,}" for label, n in own.items()))
    return "; ".join(texts)


def _checked(choice: object) -> Choice:
    if isinstance(choice, str):
        if choice in CHOICES:
            return choice
    elif isinstance(choice, Sequence) and all(isinstance(column, str) for column in choice):
        return tuple(choice)
    raise OptionError(
        f"unknown_parents={choice!r} must be one of {', '.join(map(repr, CHOICES))}, or a list of the columns that "
        "hold parents."
    )


def _of_pedigrees(parsed: MixedFormula, frame: pd.DataFrame, given: Given) -> Iterator[tuple[int, int, Group]]:
    """Term, position and factor of every ``vm(column, NAME)`` whose relationship comes from a pedigree."""
    for number, term in enumerate(parsed.random):
        if not isinstance(term, RandomTerm):
            continue
        for position, group in enumerate(term.groups):
            name = group.relationship
            if name is None or name not in given.entries or len(group.factors) > 1 or group.factors[0] not in frame:
                continue  # what is wrong there is said where the term is made
            if given.relationship(name, term.name).unknown_codes is not None:
                yield number, position, group


def _named_like_a_parent(column: str) -> bool:
    return any(candidates([column], role) for role in ("sire", "dam", "mgs"))


def _marked(term: RandomTerm, position: int, may_miss: bool) -> RandomTerm:
    """The term, its factor at `position` marked as one that may be unknown, or must not."""
    groups = list(term.groups)
    groups[position] = replace(groups[position], may_miss=may_miss)
    return replace(term, group=groups[0], more=tuple(groups[1:]))


def _missing_where(column: pd.Series, rows: np.ndarray) -> pd.Series:
    """The column with missing values in some rows; whole numbers stay whole."""
    return (column.astype("Int64") if column.dtype.kind in "iu" else column).mask(rows)


def _refuse(unknown: dict[str, np.ndarray], frame: pd.DataFrame) -> None:
    found = {column: rows for column, rows in unknown.items() if rows.any()}
    if found:
        counts = ", ".join(f"{column} ({int(rows.sum())})" for column, rows in found.items())
        rows = np.any(list(found.values()), axis=0)
        raise DataError(
            f"unknown parents in {counts}; first rows concerned: {some(frame.index[rows])}. Fill them in, or keep the "
            "records, the unknown parent adding nothing (unknown_parents='keep'), or drop them ('drop')."
        )
