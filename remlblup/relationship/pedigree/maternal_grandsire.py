"""Sire models: the relationship of bulls of which the sire and the maternal grandsire are known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import RelationshipError
from remlblup.relationship.base import RelationshipBase, conformable
from remlblup.relationship.descent import numerator
from remlblup.relationship.descent.base import DescentRelationship
from remlblup.relationship.descent.genealogy import generations
from remlblup.relationship.labels import as_frame, once
from remlblup.relationship.pedigree.columns import pick_columns
from remlblup.relationship.pedigree.reading import UNKNOWN, check_codes, check_self, codes_of, loop_error, read_family
from remlblup.relationship.pedigree.spelling import warn_of_spellings

#: What a `Pedigree` has and this has not.
_OF_PEDIGREES = frozenset(
    ["completeness", "dam", "dominance", "effective_size", "founders", "generation", "group_fractions",
     "group_precision", "inbreeding_table", "inverse_subset", "prune", "sex_linked", "sparse", "statistics", "subset",
     "with_metafounders", "with_random_groups"]
)  # fmt: skip


class NotForBulls(RelationshipError, AttributeError):
    """A method of pedigrees of animals asked of a pedigree of bulls."""


class MaternalGrandsirePedigree(RelationshipBase):
    """Numerator relationship of bulls by sire and maternal grandsire (Henderson 1975, J Dairy Sci 58:1917).

    u_i = ½ u_sire + ¼ u_mgs + e_i, with Var(e_i) = d_i = 1 − ¼(1 + F_sire) − (1 + F_mgs)/16 over the known ones:
    11/16 with both, ¾ with the sire and 15/16 with the maternal grandsire alone where they are not inbred. This is
    A of the pedigree in which every bull has a dam of its own, the daughter of the maternal grandsire and of an
    unknown dam: no two bulls are full or maternal sibs, and dams are not inbred. A bull's F = ½ a(sire, dam)
    = ¼ a(sire, mgs).

    Parameters
    ----------
    ids, sires, maternal_grandsires : array-like, shape (m,)
        One row per bull, in any order; those without a row are added.
    unknown : iterable of labels, optional
        As for `Pedigree`.
    ignore_inbreeding : bool, optional
        True: d_i as if no bull were inbred.

    Attributes
    ----------
    labels : numpy.ndarray, shape (n,)
        Bulls, ancestors first.
    sire, maternal_grandsire : numpy.ndarray of int32, shape (n,)
        Positions in `labels`, −1 for unknown.
    added : numpy.ndarray
        Labels of the bulls without a row of their own.

    Raises
    ------
    PedigreeError
        As for `Pedigree`.
    """

    def __init__(
        self,
        ids: Iterable,
        sires: Iterable,
        maternal_grandsires: Iterable,
        unknown: Iterable | str = UNKNOWN,
        *,
        ignore_inbreeding: bool = False,
    ) -> None:
        unknown = once(unknown)
        family = read_family(ids, sires, maternal_grandsires, unknown)
        self.unknown_codes = codes_of(unknown)
        check_codes(family)
        check_self(family)
        warn_of_spellings(family)
        generation = generations(family.sire, family.dam)
        if (generation < 0).any():
            raise loop_error(family, np.flatnonzero(generation < 0))
        family = family.take(np.argsort(generation, kind="stable"))
        self.labels, self.sire, self.maternal_grandsire = family.labels, family.sire, family.dam
        self.added = family.labels[family.row < 0]
        self.ignore_inbreeding = bool(ignore_inbreeding)
        self._with_dams = _WithDams(self.sire, self.maternal_grandsire, self.ignore_inbreeding)

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        id: str | None = None,
        sire: str | None = None,
        mgs: str | None = None,
        unknown: Iterable | str = UNKNOWN,
        *,
        ignore_inbreeding: bool = False,
    ) -> MaternalGrandsirePedigree:
        """From three columns of a data frame, recognised by their names if not given, as in `Pedigree.from_frame`."""
        ids, sires, grandsires = pick_columns(as_frame(df), {"id": id, "sire": sire, "mgs": mgs})
        return cls(ids, sires, grandsires, unknown=unknown, ignore_inbreeding=ignore_inbreeding)

    @property
    def inbreeding(self) -> np.ndarray:
        """Inbreeding coefficients of the bulls, shape (n,)."""
        return self._with_dams.inbreeding[self._with_dams.bulls]

    @cached_property
    def mendelian_variance(self) -> np.ndarray:
        """d_i, shape (n,)."""
        F = np.zeros(self.size) if self.ignore_inbreeding else self.inbreeding
        variance = np.ones(self.size)
        for ancestor, share in ((self.sire, 1 / 4), (self.maternal_grandsire, 1 / 16)):
            known = ancestor >= 0
            variance[known] -= share * (1.0 + F[ancestor[known]])
        return variance

    @cached_property
    def precision(self) -> sp.csc_array:
        """A⁻¹, shape (n, n): bull i adds 1/d_i (1, −½, −¼)(1, −½, −¼)' to itself, sire and maternal grandsire."""
        own = np.arange(self.size)
        parts = [(own, own, 1.0)]
        for ancestor, share in ((self.sire, -0.5), (self.maternal_grandsire, -0.25)):
            known = np.flatnonzero(ancestor >= 0)
            parts.append((known, ancestor[known], share))
        rows, columns = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        values = np.concatenate([np.full(len(row), share) for row, _, share in parts])
        operator = sp.coo_array((values, (rows, columns)), shape=(self.size,) * 2).tocsr()
        scale = sp.dia_array((1.0 / self.mendelian_variance[None, :], [0]), shape=(self.size,) * 2)
        result = sp.csc_array(operator.T @ scale @ operator)
        result.sort_indices()
        return 0.5 * (result + result.T).tocsc()

    @cached_property
    def logdet(self) -> float:
        """log|A| = Σ log d_i."""
        return numerator.log_determinant(self.mendelian_variance)

    @property
    def diagonal(self) -> np.ndarray:
        """Diagonal of A, shape (n,): 1 + F, unless inbreeding is ignored."""
        return self._with_dams.diagonal[self._with_dams.bulls]

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """A V for V of shape (n,) or (n, m), without forming A."""
        V = conformable(V, self.size)
        wide = np.zeros((self._with_dams.size, *V.shape[1:]))
        wide[self._with_dams.bulls] = V
        return self._with_dams.multiply(wide)[self._with_dams.bulls]

    def among(self, positions: np.ndarray) -> np.ndarray:
        """A among the bulls at some positions, as an array of shape (m, m)."""
        return self._with_dams.among(self._with_dams.bulls[positions])

    def __getattr__(self, name: str) -> NoReturn:
        if name in _OF_PEDIGREES:
            raise NotForBulls(
                f"A MaternalGrandsirePedigree has no {name}: it is the relationship of bulls, for vm(sire, K) in sire "
                "models, and holds no dams. For a pedigree of animals use Pedigree(ids, sires, dams)."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"MaternalGrandsirePedigree({self.size:,} bulls)"


class _WithDams(DescentRelationship):
    """The pedigree with a dam for every bull whose maternal grandsire is known; rows are their own labels."""

    def __init__(self, sire: np.ndarray, maternal_grandsire: np.ndarray, ignore_inbreeding: bool) -> None:
        mothered = maternal_grandsire >= 0
        # A bull's dam stands right before it.
        self.bulls = np.arange(len(sire)) + np.cumsum(mothered)
        n = len(sire) + int(mothered.sum())
        self.labels = np.arange(n)
        place = np.append(self.bulls, -1)
        self.sire = np.full(n, -1, dtype=np.int32)
        self.dam = np.full(n, -1, dtype=np.int32)
        self.sire[self.bulls] = place[sire]
        dams = self.bulls[mothered] - 1
        self.dam[self.bulls[mothered]] = dams
        self.sire[dams] = place[maternal_grandsire[mothered]]
        self.ignore_inbreeding = ignore_inbreeding
