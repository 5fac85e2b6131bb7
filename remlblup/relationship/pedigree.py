"""The pedigree: who descends from whom, and the numerator relationship matrix that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.relationship import numerator
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.labels import as_frame
from remlblup.relationship.pedigree_reading import (
    UNKNOWN,
    check_parents,
    loop_error,
    pick_columns,
    read_family,
)


class Pedigree(RelationshipBase):
    """A pedigree, and with it the numerator relationship matrix A of its animals.

    Rows may come in any order and labels in any type (1306, "1306" and 1306.0 are one animal). Parents
    without a row of their own are added as founders; exact duplicate rows are merged.

    Parameters
    ----------
    ids, sires, dams : array-like, shape (m,)
        One row per animal. A missing value or a code of `unknown` means the parent is unknown.
    unknown : iterable of labels, optional
        Codes for an unknown parent, besides missing values (which always count). Default:
        ``0, "", NA, nan, ., *`` and their usual spellings.
    hermaphrodites : bool, optional
        Allow an animal to be both sire and dam, and to be mated to itself (plants). Default False: such an
        animal is reported as an error.

    Attributes
    ----------
    labels : numpy.ndarray, shape (n,)
        All animals, **parents before their offspring**. Rows that are already in such an order keep it, with
        added parents in front; otherwise animals are sorted by generation, and as given within one.
    sire, dam : numpy.ndarray of int32, shape (n,)
        Positions of the parents in `labels`, −1 for unknown.
    order : numpy.ndarray of int, shape (n,)
        The input row of every animal, −1 for an added parent.
    n_merged, n_added : int
        Duplicate rows merged; parents added.

    Raises
    ------
    PedigreeError
        For an empty pedigree, unequal lengths, missing ids, repeated animals with different parents, animals
        that are their own parent or ancestor, and animals that are both sire and dam.

    Examples
    --------
    >>> ped = Pedigree(["calf", "cow"], ["bull", None], ["cow", None])
    >>> ped.labels.tolist()
    ['bull', 'cow', 'calf']
    >>> ped.dense()[2].tolist()
    [0.5, 0.5, 1.0]
    """

    def __init__(
        self,
        ids: Iterable,
        sires: Iterable,
        dams: Iterable,
        unknown: Iterable | str = UNKNOWN,
        *,
        hermaphrodites: bool = False,
    ) -> None:
        family = read_family(ids, sires, dams, unknown)
        check_parents(family, hermaphrodites)
        self.n_merged = family.repeats
        self.n_added = int((family.row < 0).sum())

        order = np.concatenate([np.flatnonzero(family.row < 0), np.flatnonzero(family.row >= 0)])
        sire, dam = _renumber(family.sire, family.dam, order)
        if not _parents_first(sire, dam):
            generation = numerator.generations(sire, dam)
            if (generation < 0).any():
                raise loop_error(family, np.sort(order[generation < 0]))
            order = order[np.argsort(generation, kind="stable")]
            sire, dam = _renumber(family.sire, family.dam, order)
        self.labels, self.order = family.labels[order], family.row[order]
        self.sire, self.dam = sire, dam
        for array in (self.labels, self.order, self.sire, self.dam):
            array.flags.writeable = False

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        id: str | None = None,
        sire: str | None = None,
        dam: str | None = None,
        unknown: Iterable | str = UNKNOWN,
        *,
        hermaphrodites: bool = False,
    ) -> Pedigree:
        """Pedigree from three columns of a data frame.

        Parameters
        ----------
        df : pandas.DataFrame (or polars)
        id, sire, dam : str, optional
            Column names. Those not given are guessed, case-insensitively (id, animal, calf, ...; sire,
            father, pai, ...; dam, mother, ...); if the names tell nothing, the first three columns are taken
            in the order animal, sire, dam.
        unknown, hermaphrodites
            As for `Pedigree`.

        Raises
        ------
        PedigreeError
            If a named column is absent, the columns cannot be told, or as for `Pedigree`.
        """
        columns = pick_columns(as_frame(df), {"id": id, "sire": sire, "dam": dam})
        return cls(*columns, unknown=unknown, hermaphrodites=hermaphrodites)

    @cached_property
    def inbreeding(self) -> np.ndarray:
        """Inbreeding coefficients, aligned with `labels`, shape (n,). See `numerator.inbreeding`."""
        F = numerator.inbreeding(self.sire, self.dam)
        F.flags.writeable = False
        return F

    @cached_property
    def mendelian_variance(self) -> np.ndarray:
        """Mendelian sampling variances (diagonal of D in A = TDT'), shape (n,)."""
        return numerator.mendelian_variance(self.sire, self.dam, self.inbreeding)

    @cached_property
    def generation(self) -> np.ndarray:
        """Generation: 0 for founders, else one more than the younger parent, shape (n,)."""
        return numerator.generations(self.sire, self.dam)

    @property
    def founders(self) -> np.ndarray:
        """Labels of the animals with neither parent known."""
        return self.labels[(self.sire < 0) & (self.dam < 0)]

    def inbreeding_table(self) -> pd.DataFrame:
        """One row per animal: ``id, sire, dam, generation, inbreeding``, parents before offspring."""
        labels = np.append(self.labels.astype(object), None)
        return pd.DataFrame(
            {
                "id": self.labels,
                "sire": labels[self.sire],
                "dam": labels[self.dam],
                "generation": self.generation,
                "inbreeding": self.inbreeding,
            }
        )

    @cached_property
    def precision(self) -> sp.csc_array:
        """A⁻¹, sparse, both triangles, shape (n, n). See `numerator.inverse`."""
        return numerator.inverse(self.sire, self.dam, self.inbreeding)

    @cached_property
    def logdet(self) -> float:
        """log|A|."""
        return numerator.log_determinant(self.mendelian_variance)

    @property
    def diagonal(self) -> np.ndarray:
        """Diagonal of A: 1 + F, shape (n,)."""
        return 1.0 + self.inbreeding

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """A V for V of shape (n,) or (n, m), without forming A."""
        return numerator.multiply(self.sire, self.dam, self.mendelian_variance, V)

    def dense(self, animals: Iterable | None = None) -> np.ndarray:
        """A, or its part for some animals, as an array.

        Parameters
        ----------
        animals : array-like of labels, shape (m,), optional
            All animals by default.

        Returns
        -------
        numpy.ndarray, shape (m, m)

        Raises
        ------
        RelationshipError
            For more than 20,000 animals, or an animal that is not in the pedigree.
        """
        subset = None if animals is None else self.index(animals)
        return numerator.matrix(self.sire, self.dam, self.mendelian_variance, subset)

    def __repr__(self) -> str:
        last = int(self.generation.max())
        return (
            f"Pedigree({self.size:,} animals, {len(self.founders):,} founders, {last} generations"
            f"{f', {self.n_added:,} parents added' if self.n_added else ''})"
        )


def _renumber(sire: np.ndarray, dam: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parents under a new numbering in which animal order[k] gets number k."""
    position = np.empty(len(order) + 1, dtype=np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    position[-1] = -1  # where the −1 of an unknown parent looks
    return position[sire[order]], position[dam[order]]


def _parents_first(sire: np.ndarray, dam: np.ndarray) -> bool:
    return bool((np.maximum(sire, dam) < np.arange(len(sire))).all())
