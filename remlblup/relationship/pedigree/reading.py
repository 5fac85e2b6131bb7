"""From what the user holds (any order, any labels, gaps, errors) to numbered parents: reading and checks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import PedigreeError, RemlBlupWarning, count, some, warn
from remlblup.relationship.labels import as_items, canonical, check_exact, integers, tidy

#: Codes that mean "parent unknown", besides missing values.
UNKNOWN = ("0", "0.0", "", "NA", "N/A", "na", "nan", "NaN", "None", "<NA>", "NULL", ".", "*")

# Labels that stand for an unknown parent in many files but might name an animal.
_USUAL_CODES = frozenset(
    ["9999", "99999", "999999", "unknown", "unk", "unkn", "u", "?", "??", "-", "--", "missing", "miss"]
)
# A parent without a row that looks like a code is spoken of if it has so many offspring, and this share of the rows.
_MANY, _MANY_SHARE = 3, 0.05


@dataclass(frozen=True)
class Family:
    """Numbered animals: the rows given, in order and without repeats, then parents without a row.

    Attributes
    ----------
    labels : numpy.ndarray, shape (n,)
    sire, dam : numpy.ndarray of int32, shape (n,)
        Numbers of the parents, −1 for unknown.
    row : numpy.ndarray of int, shape (n,)
        Row of the input that holds the animal (the first, if repeated), −1 for added parents.
    repeats : int
        Exact duplicate rows that were merged.
    sire_group, dam_group : numpy.ndarray of int32, shape (n,), optional
        Number of the group an unknown parent belongs to, −1 where the parent is known.
    groups : numpy.ndarray, shape (g,), optional
        Labels of the groups of unknown parents.
    selfing : numpy.ndarray, shape (n,), optional
        Generations of selfing after the cross.
    ramets, ortets : numpy.ndarray, shape (c,), optional
        Labels of clones, and the numbers of the animals whose genotype they share.
    """

    labels: np.ndarray
    sire: np.ndarray
    dam: np.ndarray
    row: np.ndarray
    repeats: int
    sire_group: np.ndarray | None = None
    dam_group: np.ndarray | None = None
    groups: np.ndarray | None = None
    selfing: np.ndarray | None = None
    ramets: np.ndarray | None = None
    ortets: np.ndarray | None = None

    def take(self, kept: np.ndarray) -> Family:
        """The animals `kept` (numbers, in the order wanted), parents that are left out becoming unknown."""
        place = np.full(len(self.labels) + 1, -1, dtype=np.int32)
        place[kept] = np.arange(len(kept), dtype=np.int32)
        short: dict[str, Any] = {}
        for name in ("labels", "row", "sire_group", "dam_group", "selfing"):
            values = getattr(self, name)
            short[name] = None if values is None else values[kept]
        if self.ramets is not None and self.ortets is not None:
            held = place[self.ortets] >= 0
            short["ramets"], short["ortets"] = self.ramets[held], place[self.ortets[held]]
        return replace(self, sire=place[self.sire[kept]], dam=place[self.dam[kept]], **short)


def read_family(ids: Iterable, sires: Iterable, dams: Iterable, unknown: Iterable | str) -> Family:
    """Number the animals and check everything that can be checked before sorting.

    Raises
    ------
    PedigreeError
        For an empty pedigree, unequal lengths, missing ids, and repeated animals whose parents differ.
    """
    given: tuple[Any, ...] = (ids, sires, dams)
    if any(getattr(values, "ndim", 1) != 1 for values in given):
        raise PedigreeError("ids, sires and dams must each be one column of labels, not a table.")
    ids, sires, dams = columns = [
        values if hasattr(values, "dtype") or isinstance(values, list) else as_items(values) for values in given
    ]
    lengths = [len(values) for values in columns]
    if len(set(lengths)) > 1:
        raise PedigreeError(
            f"ids, sires and dams must be equally long; they hold {lengths[0]}, {lengths[1]} and {lengths[2]} values."
        )
    if not lengths[0]:
        raise PedigreeError("The pedigree is empty: it has no rows.")
    for role, values in zip(("ids", "sires", "dams"), columns, strict=True):
        name = getattr(values, "name", None)
        check_exact(values, role if name is None else f"the column {name!r} of the pedigree", PedigreeError)
    keys, no_label = _keys((ids, sires, dams), codes_of(unknown))
    _check_ids(ids, no_label[0])

    known = ~np.array(no_label[1:])
    numbers, _ = pd.factorize(np.concatenate([keys[0], keys[1][known[0]], keys[2][known[1]]]))
    own, rest = numbers[: lengths[0]], numbers[lengths[0] :]
    parents = np.full((2, lengths[0]), -1, dtype=np.int32)
    parents[0, known[0]] = rest[: known[0].sum()]
    parents[1, known[1]] = rest[known[0].sum() :]

    n_own, n = int(own.max()) + 1, int(numbers.max()) + 1
    first = np.unique(own, return_index=True)[1]
    labels, added = _labels(ids, sires, dams, first, known, rest, n_own, n)
    if n_own < lengths[0]:
        _check_repeats(own, first, parents, labels)
    sire, dam = (np.concatenate([p[first], np.full(added, -1, np.int32)]) for p in parents)
    row = np.concatenate([first, np.full(added, -1)])
    return Family(labels, sire, dam, row, lengths[0] - n_own)


def check_self(family: Family) -> None:
    """Raise `PedigreeError` for an animal that is its own parent."""
    own = np.arange(len(family.labels))
    selves = own[(family.sire == own) | (family.dam == own)]
    if selves.size:
        raise PedigreeError(
            f"{_animals(selves.size, 'is its own parent', 'are their own parents')}: "
            f"{some(family.labels[selves])}. Correct these rows, or set the parent to unknown."
        )


def check_parents(family: Family, hermaphrodites: bool) -> None:
    """Raise `PedigreeError` for an animal that is its own parent, or a sire and a dam as well."""
    check_self(family)
    if hermaphrodites:
        return
    both = np.intersect1d(family.sire[family.sire >= 0], family.dam[family.dam >= 0])
    if both.size:
        codes = [family.labels[k] for k in both if family.row[k] < 0 and looks_unknown(family.labels[k])]
        hint = (
            f" If {some(codes)} means that a parent is unknown, declare it: unknown=[{some(codes)}]." if codes else ""
        )
        raise PedigreeError(
            f"{_animals(both.size, 'is a sire in one row and a dam in another', 'are both sire and dam')}: "
            f"{some(family.labels[both])}. Correct the rows, or, where plants or hermaphrodites can be both, "
            f"pass hermaphrodites=True.{hint}"
        )


def looks_unknown(label: object) -> bool:
    """True for a negative number and for the usual codes of missing values."""
    text = str(label).strip().lower()
    return text in _USUAL_CODES or bool(re.fullmatch(r"-\d+", text))


def check_codes(family: Family, groups: Iterable | None = None) -> None:
    """Tell of parents without a row of their own that look like a code for unknown parents and have many offspring.

    Raises
    ------
    PedigreeError
        If such a label is both a sire and a dam. Where it is one of them a `RemlBlupWarning` tells of it.
    """
    n, rows = len(family.labels), int((family.row >= 0).sum())
    sires, dams = (np.bincount(p[p >= 0], minlength=n) for p in (family.sire, family.dam))
    offspring = sires + dams - np.bincount(family.sire[(family.sire == family.dam) & (family.sire >= 0)], minlength=n)
    many = np.flatnonzero((family.row < 0) & (offspring >= _MANY) & (offspring > _MANY_SHARE * rows))
    named = set(canonical(as_items(groups))) if groups is not None else set()
    for k in many:
        label = family.labels[k]
        if not looks_unknown(label) or str(label) in named:
            continue
        name = some([label])
        message = (
            f"{name} is a parent in {offspring[k]:,} of {rows:,} rows and has no row of its own: it looks like a code "
            f"for an unknown parent. Declare it, unknown=[{name}]; if it is an animal, give it a row."
        )
        if sires[k] and dams[k]:
            raise PedigreeError(message)
        warn(message, RemlBlupWarning)


def find_loops(sire: np.ndarray, dam: np.ndarray, stuck: np.ndarray, limit: int = 3) -> list[list[int]]:
    """A few loops among the animals that could not be sorted, each as a path from parent to offspring."""
    held = np.zeros(len(sire), dtype=bool)
    held[stuck] = True
    # Every stuck animal has a stuck parent, so that walking up must come round.
    up = np.where((sire >= 0) & held[sire], sire, dam)
    walk_of = np.full(len(sire), -1)
    loops: list[list[int]] = []
    for walk, first in enumerate(stuck.tolist()):
        animal, path = first, []
        while walk_of[animal] < 0:
            walk_of[animal] = walk
            path.append(animal)
            animal = int(up[animal])
        if walk_of[animal] == walk:
            loop = path[path.index(animal) :]
            loops.append([animal, *reversed(loop)])
        if len(loops) == limit:
            break
    return loops


def loop_error(family: Family, stuck: np.ndarray) -> PedigreeError:
    """The error for a pedigree with loops, printing the animals on them."""
    loops = find_loops(family.sire, family.dam, stuck)
    shown = []
    for loop in loops:
        names = [str(label) for label in family.labels[loop]]
        shown.append(" -> ".join(names if len(names) <= 12 else [*names[:6], "...", *names[-5:]]))
    return PedigreeError(
        f"The pedigree holds a loop, an animal that is its own ancestor (parent -> offspring): "
        f"{'; '.join(shown)}. Correct one of these parents or set it to unknown. "
        f"{stuck.size} animals are on a loop or descend from one."
    )


def codes_of(unknown: Iterable | str) -> frozenset[str]:
    """What `unknown=` lists, in the spelling that labels are compared in; and blanks, which name nobody."""
    return frozenset([*(code for code in canonical(as_items(unknown)) if code is not None), ""])


def _keys(columns: tuple, unknown: frozenset[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Comparable keys of the three columns (integers if all labels are, else canonical strings), and which
    of them are missing or a code for unknown."""
    whole = [found for column in columns if (found := integers(column)) is not None]
    if len(whole) == len(columns):
        numbers = [int(code) for code in unknown if code.lstrip("-").isdigit() and str(int(code)) == code]
        return [keys for keys, _ in whole], [gone | np.isin(keys, numbers) for keys, gone in whole]
    texts = [canonical(column) for column in columns]
    return texts, [pd.isna(text) | pd.Series(text, dtype=object).isin(unknown).to_numpy() for text in texts]


def _check_ids(ids: Iterable, no_label: np.ndarray) -> None:
    rows = np.flatnonzero(no_label)
    if rows.size:
        values = list(dict.fromkeys(str(value) for value in np.asarray(ids, dtype=object)[rows[:1000]]))
        raise PedigreeError(
            f"{count(rows.size, 'row')} of the pedigree {'has' if rows.size == 1 else 'have'} no animal id"
            f" (row {some(rows)}, counting from 0; the value there is {some(values)}). Fill them in or drop them;"
            " if that value is a real animal, say what means 'unknown' in this pedigree with unknown=...."
        )


def _labels(
    ids: Iterable,
    sires: Iterable,
    dams: Iterable,
    first: np.ndarray,
    known: np.ndarray,
    rest: np.ndarray,
    n_own: int,
    n: int,
) -> tuple[np.ndarray, int]:
    """Labels of the animals with a row and of the parents added, as they were first written."""
    own = tidy(ids)[first]
    if n == n_own:
        return own, 0
    numbers, at = np.unique(rest, return_index=True)
    where = at[numbers >= n_own]
    written = np.concatenate([tidy(sires)[known[0]].astype(object), tidy(dams)[known[1]].astype(object)])[where]
    if own.dtype.kind == "i" and all(_is_integer(x) for x in written):
        return np.concatenate([own, np.array([int(x) for x in written], dtype=own.dtype)]), n - n_own
    return np.concatenate([own.astype(object), written]), n - n_own


def _is_integer(label: object) -> bool:
    """Whether it is one, or its usual spelling: 01306 is not 1306."""
    return type(label) is int or (str(label).lstrip("-").isdigit() and str(int(str(label))) == label)


def _check_repeats(own: np.ndarray, first: np.ndarray, parents: np.ndarray, labels: np.ndarray) -> None:
    """Rows of one animal must agree; which of two different parents is right is not ours to choose."""
    differ = (parents != parents[:, first[own]]).any(axis=0)
    if not differ.any():
        return
    animals = np.unique(own[differ])
    a = animals[0]
    rows = np.flatnonzero(own == a)
    name = [str(labels[p]) if p >= 0 else "unknown" for p in parents[:, rows].T.ravel()]
    versions = ", ".join(f"row {r}: {name[2 * k]} x {name[2 * k + 1]}" for k, r in enumerate(rows[:4]))
    raise PedigreeError(
        f"{_animals(animals.size, 'occurs', 'occur')} more than once with different parents: "
        f"{some(labels[animals])}. For {labels[a]} the rows (counting from 0) say {versions} (sire x dam). "
        "Keep one row for each."
    )


def _animals(count: int, singular: str, plural: str) -> str:
    return f"1 animal {singular}" if count == 1 else f"{count} animals {plural}"
