"""Cutting a pedigree down to what some animals need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from remlblup.errors import OptionError, PedigreeError, count, some
from remlblup.relationship.descent.genealogy import ancestors
from remlblup.relationship.pedigree.reading import Family


def pruned(family: Family, animals: np.ndarray, generations: int | None, drop_uninformative: bool) -> Family:
    """The part of a sorted family that informs on `animals` (positions).

    Raises
    ------
    OptionError
        If `generations` is not a whole number from 0 on.
    PedigreeError
        If the pedigree has groups of unknown parents and the cut would leave parents without one.
    """
    if generations is not None and (generations != int(generations) or generations < 0):
        raise OptionError(f"generations={generations!r} must be 0, 1, 2, … generations of ancestors to keep, or None.")
    kept = ancestors(family.sire, family.dam, animals, None if generations is None else int(generations))
    if drop_uninformative:
        kept = _without_uninformative(family, kept, animals)
    rows = np.flatnonzero(kept)
    short = replace(family.take(rows), repeats=0)
    if short.sire_group is not None and short.dam_group is not None:
        cut = (short.sire < 0) & (short.sire_group < 0) | (short.dam < 0) & (short.dam_group < 0)
        if cut.any():
            raise PedigreeError(
                f"{count(int(cut.sum()), 'animal')} would lose a parent and have no group in its place: "
                f"{some(short.labels[cut])}. "
                "In a pedigree with groups keep all ancestors: prune(animals)."
            )
    return short


def _without_uninformative(family: Family, kept: np.ndarray, animals: np.ndarray) -> np.ndarray:
    """Drop, again and again, founders that have one offspring only: they tie nobody to anybody."""
    asked = np.zeros(len(kept), dtype=bool)
    asked[animals] = True
    kept = kept.copy()
    while True:
        sire = np.where(kept & np.append(kept, False)[family.sire], family.sire, -1)
        dam = np.where(kept & np.append(kept, False)[family.dam], family.dam, -1)
        offspring = np.bincount(sire[sire >= 0], minlength=len(kept)) + np.bincount(dam[dam >= 0], minlength=len(kept))
        gone = kept & ~asked & (sire < 0) & (dam < 0) & (offspring <= 1)
        if not gone.any():
            return kept
        kept &= ~gone
