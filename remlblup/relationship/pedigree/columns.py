"""Which columns of a data frame hold an animal and its parents: by names that are known, never by their order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import pandas as pd

from remlblup.errors import PedigreeError, some

#: Names of the columns by role, without case, accents, blanks and punctuation;
#: "id", "no" and their like may go with them.
NAMES = {
    "id": "animal anim ani bird calf kid lamb piglet foal pup chick ind indiv individual progeny offspring self ego",
    "sire": "sire father dad papa pai padre pere vater far maleparent pollenparent",
    "dam": "dam mother mum mom mama mae madre mere mutter mor femaleparent seedparent",
    "mgs": "mgs maternalgrandsire maternalgrandfather damsire damssire sireofdam",
}
# Taken for the animal if no column of the names above is there.
_LESS_CLEAR = "tag genotype line name label"
_NUMBERS = ("id", "ids", "no", "nr", "num", "number", "code", "ident")


def _spellings(names: str) -> frozenset[str]:
    plain = names.split()
    return frozenset(
        [*plain, *(name + n for name in plain for n in _NUMBERS), *(n + name for name in plain for n in _NUMBERS)]
    )


_KNOWN = {role: _spellings(names) for role, names in NAMES.items()}
_KNOWN["id"] |= {"id", "ids", "ident"}
_KNOWN_LESS = _spellings(_LESS_CLEAR)


def plain(name: object) -> str:
    """A column's name in lower case, without accents, blanks and punctuation."""
    letters = unicodedata.normalize("NFKD", str(name)).casefold()
    return re.sub(r"[^0-9a-z]", "", letters)


def candidates(columns: Iterable, role: str) -> list:
    """The columns whose names are known for a role, the less clear ones only where there is no other."""
    columns = list(columns)
    clear = [column for column in columns if plain(column) in _KNOWN[role]]
    if clear or role != "id":
        return clear
    return [column for column in columns if plain(column) in _KNOWN_LESS]


def pick_columns(frame: pd.DataFrame, named: dict[str, object]) -> list[pd.Series]:
    """The columns of a data frame that hold the roles (``id, sire, dam``): as the user names them, else by known names.

    Raises
    ------
    PedigreeError
        If a named column is absent, no column has a name known for a role, or several have.
    """
    columns = list(frame.columns)
    for role, column in named.items():
        if column is not None:
            named_column(frame, column, role)
    given = [column for column in named.values() if column is not None]
    chosen: dict[str, Any] = {}
    lacking: list[str] = []
    for role, column in named.items():
        found = [column] if column is not None else candidates([c for c in columns if c not in given], role)
        if len(set(found)) > 1:
            raise PedigreeError(
                f"Several columns of the pedigree may hold the {role}: {some(found)}. Say which: {role}={found[0]!r}."
            )
        if found:
            chosen[role] = found[0]
        else:
            lacking.append(role)
    if lacking or len(set(map(str, chosen.values()))) < len(named):
        raise PedigreeError(_unknown_columns(columns, list(named), lacking or list(chosen)))
    picked = [frame.loc[:, chosen[role]] for role in named]
    if any(isinstance(column, pd.DataFrame) for column in picked):
        raise PedigreeError(f"Two columns of the pedigree share one name: {some(columns, 20)}. Rename one.")
    return picked


def _unknown_columns(columns: list, roles: list[str], lacking: list[str]) -> str:
    ask = ", ".join(f"{role}=..." for role in roles)
    bulls = ""
    if lacking == ["dam"] and (grandsires := candidates(columns, "mgs")):
        bulls = (
            f" If {some(grandsires)} is the maternal grandsire, this is a pedigree of bulls:"
            " Pedigree.from_maternal_grandsires(ids, sires, maternal_grandsires)."
        )
    nameless = len(lacking) == len(roles) and any(re.search(r"\d", str(name)) for name in columns)
    first = " If these are animals, its first row was taken for names: put names above it." if nameless else ""
    return (
        f"Cannot tell which columns of the pedigree hold {' and '.join(lacking)}: its columns are "
        f"{some(columns, 20)}.{first} Name three different ones: {ask}.{bulls} (Names such as id or animal, sire or "
        "father, dam or mother are known, in any case and order; the order of columns says nothing.)"
    )


def named_column(frame: pd.DataFrame, column: Any, role: str) -> pd.Series:
    """The column of a data frame the user has named, or a `PedigreeError`."""
    try:
        known = column in frame.columns
    except TypeError:  # what has no hash is no name
        known = False
    if not known:
        raise PedigreeError(
            f"The pedigree has no column {column!r} (given as {role}=). Its columns are: {some(frame.columns, 20)}."
        )
    return frame.loc[:, column]
