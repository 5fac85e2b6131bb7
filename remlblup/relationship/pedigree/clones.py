"""Selfing and clones: what a row of the pedigree may say besides its parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from remlblup.errors import PedigreeError, count, some
from remlblup.relationship.labels import canonical, match, tidy
from remlblup.relationship.pedigree.reading import UNKNOWN, Family


def read_selfing(family: Family, selfing: Iterable) -> Family:
    """The family with the generations of selfing of every animal (0 for parents without a row).

    Parameters
    ----------
    family : Family
    selfing : array-like, shape (m,)
        One value per input row; missing means 0.

    Raises
    ------
    PedigreeError
        For values that are not numbers, below 0, or fractions where a parent is known (see `heterozygosity`).
    """
    values = pd.to_numeric(pd.Series(np.asarray(selfing, dtype=object).ravel()), errors="coerce").to_numpy(float)
    given = ~pd.isna(pd.Series(np.asarray(selfing, dtype=object).ravel())).to_numpy()
    wrong = given & ~(values >= 0)
    if wrong.any():
        rows = np.flatnonzero(wrong)
        raise PedigreeError(
            f"selfing= holds values that are no number of generations (row {some(rows)}, counting from 0). "
            "Give 0, 1, 2, …, inf for completely inbred lines, or a missing value for 0."
        )
    values = np.where(given, values, 0.0)
    result = np.where(family.row >= 0, values[family.row], 0.0)
    fraction = result != np.floor(result)
    founder = (family.sire < 0) & (family.dam < 0)
    wrong = fraction & ((result > 1) | ~founder)
    if wrong.any():
        raise PedigreeError(
            f"selfing= must be a whole number of generations; "
            f"{count(int(wrong.sum()), 'animal', 'has', 'have')} a fraction: "
            f"{some(family.labels[wrong])}. (A fraction below 1 is taken as the inbreeding coefficient of an "
            "animal without known parents only.)"
        )
    return replace(family, selfing=result) if result.any() else family


def check_rows(family: Family, ids: Iterable, values: Iterable, name: str) -> None:
    """Raise `PedigreeError` unless there is one value per input row, and repeated rows say the same."""
    values = canonical(values)
    rows = int((family.row >= 0).sum()) + family.repeats
    if len(values) != rows:
        raise PedigreeError(
            f"{name}= holds {len(values)} values; it needs one for each of the {rows} rows of the pedigree."
        )
    if family.repeats:
        said = pd.Series(values, dtype=object).fillna("").groupby(canonical(ids), sort=False).nunique()
        if (said > 1).any():
            raise PedigreeError(
                f"These animals occur more than once with different values of {name}=: {some(said.index[said > 1])}. "
                "Keep one row for each."
            )


def heterozygosity(selfing: np.ndarray) -> np.ndarray:
    """Share of the cross's heterozygosity left: 2^−k after k generations of selfing; 1 − f for a founder of F = f."""
    fraction = selfing != np.floor(selfing)
    return np.where(fraction, 1.0 - selfing, 0.5 ** np.where(fraction, 0.0, selfing))


def read_clones(family: Family, clones: Mapping | Iterable) -> Family:
    """The family with every ramet merged into its ortet, the original individual.

    Parents (and selfing) known for one member of a clone count for all of it.

    Parameters
    ----------
    family : Family
    clones : mapping ramet → ortet, or array-like of shape (m,)
        The array holds the ortet of every input row, missing for animals that are no ramets; ortets it names that
        have no row are added, as parents without a row are. Those of a mapping must be in the pedigree.

    Raises
    ------
    PedigreeError
        If a ramet or the ortet of a mapping is not in the pedigree, ramets and ortets run in a circle, or members of a
        clone have different parents or selfing.
    """
    ramet, ortet_labels = _pairs(family, clones)
    if not ramet.size:
        return family
    family, ortet = _with_ortets(family, ortet_labels)
    n = len(family.labels)
    root = np.arange(n)
    root[ramet] = ortet
    for _ in range(ramet.size.bit_length() + 1):
        root = root[root]
    stuck = np.flatnonzero(np.isin(root, ramet[ramet != ortet]))
    if stuck.size:
        raise PedigreeError(
            f"clones= runs in a circle: {some(family.labels[stuck])} are ramets of each other. Name one of them the "
            "ortet of the others."
        )
    sire = _agreed(family, root, np.append(root, -1)[family.sire], "sire")
    dam = _agreed(family, root, np.append(root, -1)[family.dam], "dam")
    selfing = family.selfing
    if selfing is not None:
        known = np.where(selfing > 0, selfing, -1.0)
        selfing = np.maximum(_agreed(family, root, known, "number of selfings"), 0.0)
    gone = np.flatnonzero(root != np.arange(n))
    merged = replace(
        family,
        sire=sire.astype(np.int32),
        dam=dam.astype(np.int32),
        selfing=selfing,
        ramets=family.labels[gone],
        ortets=root[gone],
    )
    return merged.take(np.flatnonzero(root == np.arange(n)))


def _pairs(family: Family, clones: Mapping | Iterable) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the ramets, and the labels of their ortets."""
    if isinstance(clones, Mapping):
        ramet, labels = match(family.labels, list(clones)), tidy(list(clones.values()))
        if (ramet < 0).any():
            lacking = [label for label, k in zip(clones, ramet, strict=True) if k < 0]
            raise PedigreeError(
                f"These ramets in clones= are not in the pedigree: {some(lacking)}. Add a row for each."
            )
        absent = labels[match(family.labels, labels) < 0]
        if absent.size:
            raise PedigreeError(
                f"These ortets in clones= are not in the pedigree: {some(dict.fromkeys(absent.tolist()))}. Correct "
                "them, or add a row for each (its parents may be unknown)."
            )
    else:
        column, keys = tidy(clones), canonical(clones)
        known = ~(pd.isna(keys) | pd.Series(keys, dtype=object).isin(UNKNOWN).to_numpy())
        ramet = np.flatnonzero((family.row >= 0) & known[family.row])
        labels = column[family.row[ramet]]
    other = match(family.labels, labels) != ramet  # an ortet may be listed as its own
    return ramet[other], labels[other]


def _with_ortets(family: Family, labels: np.ndarray) -> tuple[Family, np.ndarray]:
    """The family with a founder for every ortet that was not in it, and the ortets' numbers."""
    found = match(family.labels, labels)
    new = np.array(list(dict.fromkeys(labels[found < 0].tolist())), dtype=object)
    if new.size:
        unknown = np.full(new.size, -1, dtype=np.int32)
        selfing = None if family.selfing is None else np.append(family.selfing, np.zeros(new.size))
        family = replace(
            family,
            labels=np.append(family.labels.astype(object), new),
            sire=np.append(family.sire, unknown),
            dam=np.append(family.dam, unknown),
            row=np.append(family.row, unknown),
            selfing=selfing,
        )
        found = match(family.labels, labels)
    return family, found


def _agreed(family: Family, root: np.ndarray, values: np.ndarray, what: str) -> np.ndarray:
    """What the members of each clone say, −1 where none says anything; an error where they differ."""
    result = values.copy()
    known = np.flatnonzero(values >= 0)
    result[root[known]] = values[known]
    differ = known[result[root[known]] != values[known]]
    if differ.size:
        members = known[root[known] == root[differ[0]]]
        raise PedigreeError(
            f"Members of one clone differ in their {what}: {some(family.labels[members])} (clones of "
            f"{family.labels[root[differ[0]]]}). They share a genotype: correct their rows, or take one out of clones=."
        )
    return result
