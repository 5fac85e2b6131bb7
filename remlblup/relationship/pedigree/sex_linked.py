"""Relationships at loci of the X chromosome (or Z, where females are the heterogametic sex)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import PedigreeError, choose, count, some
from remlblup.relationship.base import RelationshipBase, conformable
from remlblup.relationship.descent.base import DescentRelationship
from remlblup.relationship.labels import absent, canonical, match, with_missing

#: What a heterogametic animal's one gene counts, in units of a homogametic animal's.
DOSAGE = {"ngdc": 1.0, "hedo": 2.0, "hori": 2.0, "hoha": 2.0}


class SexLinkedRelationship(RelationshipBase):
    """S: additive relationship at X-linked loci (Fernando & Grossman 1990, Theor Appl Genet 80:75).

    In units of the additive variance of non-inbred females, without dosage compensation: the diagonal is 1 + F for a
    female (F on the X chromosome) and ½ for a male; a son gets half of his dam's value, a daughter half of her
    dam's and all of her sire's; only the dam's meiosis is random, d = ¼(1 − F_dam), plus ½ for an unknown parent's
    gene. S is the numerator relationship of a pedigree in which males are completely inbred offspring of their dams
    alone, with males halved. Made by `Pedigree.sex_linked`.

    Attributes
    ----------
    labels : numpy.ndarray, shape (n,)
    heterogametic : numpy.ndarray of bool, shape (n,)
        The animals with one X (males), or one Z (females).
    inbreeding : numpy.ndarray, shape (n,)
        F at X-linked loci; 0 for the heterogametic, who have one gene.
    """

    def __init__(self, pedigree: DescentRelationship, heterogametic: np.ndarray, dosage: str = "ngdc") -> None:
        choose("dosage", dosage, DOSAGE)
        self.labels, self.heterogametic, self.dosage = pedigree.labels, heterogametic, dosage
        self.ramets, self.ortets = pedigree.ramets, pedigree.ortets
        self.unknown_codes = pedigree.unknown_codes
        self._doubled = _Doubled(pedigree, heterogametic)
        self._scale = np.where(heterogametic, 0.5 * DOSAGE[dosage], 1.0)

    @property
    def inbreeding(self) -> np.ndarray:
        return np.where(self.heterogametic, 0.0, self._doubled.inbreeding)

    @property
    def mendelian_variance(self) -> np.ndarray:
        """What the parents do not explain of an animal's variance, shape (n,)."""
        return self._scale**2 * self._doubled.mendelian_variance

    @cached_property
    def precision(self) -> sp.csc_array:
        """S⁻¹, shape (n, n)."""
        result = self._doubled.precision.copy()
        unscale = 1.0 / self._scale
        result.data *= unscale[result.indices] * np.repeat(unscale, np.diff(result.indptr))
        return result

    @cached_property
    def logdet(self) -> float:
        """log|S|."""
        return self._doubled.logdet + 2.0 * float(np.log(self._scale).sum())

    @property
    def diagonal(self) -> np.ndarray:
        """Diagonal of S, shape (n,)."""
        return self._scale**2 * self._doubled.diagonal

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """S V for V of shape (n,) or (n, m)."""
        V = conformable(V, self.size)
        return (self._scale * self._doubled.multiply((self._scale * V.T).T).T).T

    def among(self, positions: np.ndarray) -> np.ndarray:
        """S among the animals at some positions, as an array of shape (m, m)."""
        scale = self._scale[positions]
        return np.asarray(scale[:, None] * self._doubled.among(positions) * scale)

    def __repr__(self) -> str:
        return f"SexLinkedRelationship({self.size:,} animals, {int(self.heterogametic.sum()):,} heterogametic)"


class _Doubled(DescentRelationship):
    """Males as completely inbred offspring of their dams: the pedigree whose A is S with males doubled."""

    def __init__(self, pedigree: DescentRelationship, heterogametic: np.ndarray) -> None:
        self.labels, self.ramets, self.ortets = pedigree.labels, pedigree.ramets, pedigree.ortets
        sires, dams = pedigree.sire[pedigree.sire >= 0], pedigree.dam[pedigree.dam >= 0]
        males_are_heterogametic = heterogametic[sires].all() if sires.size else not heterogametic[dams].any()
        one, two = (pedigree.sire, pedigree.dam) if males_are_heterogametic else (pedigree.dam, pedigree.sire)
        self.sire, self.dam = np.where(heterogametic, two, one), two
        self.left = np.where(heterogametic, 0.0, 1.0)


def read_sex(
    pedigree: DescentRelationship, sex: Mapping | pd.Series | Iterable, heterogametic: object | None
) -> np.ndarray:
    """Mask of the heterogametic animals, shape (n,).

    Parameters
    ----------
    sex : mapping or Series (label → sex), or array-like of shape (n,) in the order of ``pedigree.labels``
        Missing for a sire or dam: its sex is that of its role.
    heterogametic : optional
        The code of the heterogametic sex; that of the sires by default.

    Raises
    ------
    PedigreeError
        If there are not two sexes, an animal's sex is missing, or it contradicts its role as a parent.
    """
    codes = _codes(pedigree, sex)
    roles = [np.unique(parent[parent >= 0]) for parent in (pedigree.sire, pedigree.dam)]
    found = [pd.Series(codes[role], dtype=object).dropna() for role in roles]
    sexes = pd.unique(pd.Series(codes, dtype=object).dropna())
    if len(sexes) > 2:
        raise PedigreeError(
            f"sex= holds more than two sexes: {some(sexes)}. Correct it, or set other codes to missing."
        )
    mode = [series.mode().iloc[0] if len(series) else None for series in found]
    if heterogametic is None:
        if mode[0] is None:
            raise PedigreeError("No sire has a sex, so that the code of males is unknown: give heterogametic=.")
        hetero = mode[0]
    else:
        hetero = canonical([heterogametic])[0]
        if hetero not in sexes:
            raise PedigreeError(f"heterogametic={heterogametic!r} is not among the sexes {some(sexes)}.")
    if mode[0] is None:
        role_of_hetero = 1 if mode[1] == hetero else 0
    else:
        role_of_hetero = 0 if mode[0] == hetero else 1
    result = codes == hetero
    missing = absent(codes)
    for k, role in enumerate(roles):
        expected = k == role_of_hetero
        result[role[missing[role]]] = expected
        missing[role] = False
        wrong = role[result[role] != expected]
        if wrong.size:
            raise PedigreeError(
                f"{count(wrong.size, 'animal', 'is', 'are')} among the {('sires', 'dams')[k]} "
                f"but of the other sex in sex=: {some(pedigree.labels[wrong])}."
                " Correct their sex or the rows where they are parents."
            )
    if missing.any():
        raise PedigreeError(
            f"{count(int(missing.sum()), 'animal', 'has', 'have')} no sex: {some(pedigree.labels[missing])}."
            " Give it in sex=."
        )
    return result.astype(bool)


def _codes(pedigree: DescentRelationship, sex: Mapping | pd.Series | Iterable) -> np.ndarray:
    """Canonical codes of the sexes, None where missing, in the order of the pedigree's labels."""
    if isinstance(sex, Mapping | pd.Series):
        series = pd.Series(sex)
        at = match(series.index, pedigree.labels)
        return with_missing(canonical(series.to_numpy()))[at]
    codes = canonical(sex)
    if len(codes) != pedigree.size:
        raise PedigreeError(
            f"sex= holds {len(codes)} values for {pedigree.size:,} animals. Give a mapping or a Series from label to "
            "sex, or one value per animal in the order of `labels`."
        )
    return codes
