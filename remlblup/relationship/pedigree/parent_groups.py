"""Groups of unknown parents: reading them, their shares in the animals, and their part of the equations.

The genetic merit of animal i is u*_i = u_i + Σ_k q_ik g_k, with g_k the mean of the group an unknown parent is
drawn from and Q = (q_ik) the shares of the groups in the animals (Quaas 1988, J Dairy Sci 71:1338; Westell,
Quaas & Van Vleck 1988, J Dairy Sci 71:1310).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import PedigreeError, RelationshipError, count, some
from remlblup.relationship.descent import numerator
from remlblup.relationship.descent.base import DescentRelationship
from remlblup.relationship.labels import as_items, canonical, match, tidy
from remlblup.relationship.pedigree.reading import Family

# Columns of Q made at a time: they are dense until they are done.
_BLOCK = 16


class Grouped(Protocol):
    """What is asked of a pedigree with groups of unknown parents here."""

    labels: np.ndarray
    sire: np.ndarray
    dam: np.ndarray
    groups: np.ndarray | None
    sire_group: np.ndarray | None
    dam_group: np.ndarray | None
    left: np.ndarray | None
    ramets: np.ndarray
    ortets: np.ndarray
    unknown_codes: frozenset[str] | None
    ignore_inbreeding: bool

    @property
    def inbreeding(self) -> np.ndarray: ...
    @property
    def mendelian_variance(self) -> np.ndarray: ...
    @property
    def diagonal(self) -> np.ndarray: ...
    @property
    def group_fraction_matrix(self) -> sp.csr_array: ...


class LabelledMatrix(NamedTuple):
    """A sparse symmetric matrix and the labels of its rows."""

    matrix: sp.csc_array
    labels: np.ndarray


def separate_groups(family: Family, groups: Iterable) -> Family:
    """The family without the groups of unknown parents, and for every unknown parent its group.

    Raises
    ------
    PedigreeError
        If a group is listed twice, is the parent of no animal, or has parents itself, or an animal has a parent
        that is neither known nor a group.
    """
    labels = tidy(as_items(groups))
    if not len(labels):
        raise PedigreeError("groups= is empty. Name the groups of unknown parents, or leave it out.")
    if len(set(canonical(labels))) < len(labels):
        raise PedigreeError(f"groups= names a group twice: {some(labels)}.")
    found = match(family.labels, labels)
    number = np.full(len(family.labels) + 1, -1, dtype=np.int32)
    number[found[found >= 0]] = np.flatnonzero(found >= 0)
    used = np.isin(np.arange(len(labels)), number[np.concatenate([family.sire, family.dam])])
    if not used.all():
        raise PedigreeError(
            f"No animal has a parent in these groups: {some(labels[~used])}. Write the group in place of the unknown "
            "sire or dam, or leave it out of groups=. (A code for an unknown parent, such as 0, cannot name a group.)"
        )
    descended = found[(family.sire[found] >= 0) | (family.dam[found] >= 0)]
    if descended.size:
        raise PedigreeError(
            f"Groups of unknown parents cannot have parents: {some(family.labels[descended])}. Remove them from "
            "these rows, or from groups=."
        )
    sire_group, dam_group = number[family.sire], number[family.dam]
    animals = np.flatnonzero(number[:-1] < 0)
    lacking = animals[((family.sire < 0) | (family.dam < 0))[animals]]
    if lacking.size:
        raise PedigreeError(
            f"{count(lacking.size, 'animal', 'has', 'have')} a parent that is neither known nor of a group: "
            f"{some(family.labels[lacking])}. With groups= every unknown parent needs one: write its group "
            f"({some(labels)}) in place of the missing sire or dam."
        )
    return replace(family, sire_group=sire_group, dam_group=dam_group, groups=labels).take(animals)


def group_incidence(sire_group: np.ndarray, dam_group: np.ndarray, g: int) -> sp.csr_array:
    """½ for each parent that is unknown and of a group, shape (n, g)."""
    n = len(sire_group)
    rows = np.concatenate([np.flatnonzero(sire_group >= 0), np.flatnonzero(dam_group >= 0)])
    columns = np.concatenate([sire_group[sire_group >= 0], dam_group[dam_group >= 0]])
    return sp.coo_array((np.full(rows.size, 0.5), (rows, columns)), shape=(n, g)).tocsr()


def group_fractions(sire: np.ndarray, dam: np.ndarray, direct: sp.csr_array) -> sp.csr_array:
    """Q: an animal's shares are the means of its parents', shape (n, g); `direct` is what groups give themselves."""
    columns = direct.tocsc()
    blocks = [
        sp.csc_array(numerator.pass_down(sire, dam, columns[:, first : first + _BLOCK].toarray()))
        for first in range(0, direct.shape[1], _BLOCK)
    ]
    return sp.csr_array(sp.hstack(blocks))


def qp_precision(sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, direct: sp.csr_array) -> sp.csc_array:
    """[Q'A⁻¹Q, −Q'A⁻¹; −A⁻¹Q, A⁻¹] over groups, then animals, by the rules of Westell, Quaas & Van Vleck (1988).

    Animal i adds 1/d_i (1, −½, −½)(1, −½, −½)' to itself and its parents or their groups. Shape (g + n, g + n), of
    rank n.
    """
    numerator.check_variance(variance)
    wide = sp.hstack([-direct, numerator.descent_operator(sire, dam)]).tocsr()
    weighted = wide.copy()
    weighted.data *= np.repeat(1.0 / variance, np.diff(wide.indptr))
    result = (wide.T.tocsr() @ weighted).tocsr()
    result.sort_indices()
    return sp.csc_array((result.data, result.indices, result.indptr), shape=result.shape)


def group_matrix(gamma: object, groups: np.ndarray, name: str) -> np.ndarray:
    """A covariance matrix over the groups, from a number, an array in their order, or a labelled data frame.

    Raises
    ------
    RelationshipError
        If it is of another size, names other groups, or is not symmetric and positive definite.
    """
    g = len(groups)
    if isinstance(gamma, pd.DataFrame):
        rows, columns = match(gamma.index, groups), match(gamma.columns, groups)
        lacking = groups[(rows < 0) | (columns < 0)]
        if lacking.size:
            raise RelationshipError(f"{name} has no row and column for these groups: {some(lacking)}.")
        gamma = gamma.to_numpy()[np.ix_(rows, columns)]
    try:
        matrix = np.asarray(gamma, dtype=float)
    except (TypeError, ValueError):
        raise PedigreeError(
            f"{name} holds something that is no number. Give one number, a {g} x {g} array in the order of the groups, "
            f"or a data frame with the groups {some(groups)} as index and columns."
        ) from None
    if not np.isfinite(matrix).all():
        raise RelationshipError(f"{name} must hold finite numbers, none of them missing.")
    matrix = matrix * np.eye(g) if matrix.ndim == 0 else matrix
    if matrix.shape != (g, g):
        raise RelationshipError(
            f"{name} must have a row and a column for each of the {g} groups {some(groups)}; "
            f"its shape is {matrix.shape}."
        )
    if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=0):
        raise RelationshipError(f"{name} must be symmetric.")
    matrix = 0.5 * (matrix + matrix.T)
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest <= 1e-12 * np.abs(matrix).max():
        raise RelationshipError(
            f"{name} is not positive definite (smallest eigenvalue {smallest:.4g}). Merge groups that are one and the "
            "same, or give a larger variance."
        )
    return matrix


def metafounder_matrix(gamma: object, groups: np.ndarray) -> np.ndarray:
    """Γ, checked: a self-relationship of 2 or more would leave founders without Mendelian variance."""
    matrix = group_matrix(gamma, groups, "gamma=")
    large = np.diag(matrix) >= 2.0
    if large.any():
        raise RelationshipError(
            f"The self-relationship of these metafounders is 2 or more: {some(groups[large])}. It lies between 0 (an "
            "outbred pool) and 2 (a completely inbred one)."
        )
    return matrix


class RandomGroups(DescentRelationship):
    """Groups of unknown parents with random effects, and their animals: K = [Γ, ΓQ'; QΓ, A + QΓQ'].

    The effect of a row is u* = u + Qg for an animal and g for a group, g ~ N(0, Γσ²). K⁻¹ is the QP-transformed
    inverse plus Γ⁻¹ on the groups (Westell, Quaas & Van Vleck 1988; Sullivan & Schaeffer 1994, Proc 5th WCGALP
    18:409). Made by `Pedigree.with_random_groups`.

    Attributes
    ----------
    labels : numpy.ndarray, shape (g + n,)
        Groups, then animals.
    """

    def __init__(self, pedigree: Grouped, gamma: np.ndarray) -> None:
        self.labels, self.sire, self.dam = with_groups_first(pedigree)
        self.gamma: np.ndarray = gamma
        self._pedigree, self.unknown_codes = pedigree, pedigree.unknown_codes
        self.ramets, self.ortets = pedigree.ramets, pedigree.ortets + len(gamma)
        self.ignore_inbreeding = pedigree.ignore_inbreeding

    @property
    def inbreeding(self) -> np.ndarray:
        """Inbreeding coefficients of the animals as in their pedigree, 0 for groups, shape (g + n,)."""
        return np.append(np.zeros(len(self.gamma)), self._pedigree.inbreeding)

    @property
    def mendelian_variance(self) -> np.ndarray:
        """Those of the animals in their own pedigree, 1 for groups, shape (g + n,)."""
        return np.append(np.ones(len(self.gamma)), self._pedigree.mendelian_variance)

    @property
    def diagonal(self) -> np.ndarray:
        """Diagonal of K: that of Γ, and a_ii + q_i'Γq_i."""
        Q = self._pedigree.group_fraction_matrix
        spread = np.zeros(Q.shape[0])
        for k, row in enumerate(self.gamma):
            spread += Q[:, [k]].toarray().ravel() * (Q @ row)
        return np.append(np.diag(self.gamma), self._pedigree.diagonal + spread)

    def __repr__(self) -> str:
        return f"RandomGroups({len(self.gamma)} groups, {self.size - len(self.gamma):,} animals)"


class Metafounders(DescentRelationship):
    """A^Γ: animals whose unknown parents are metafounders, related by Γ to themselves and each other.

    A metafounder is a pool of gametes with self-relationship γ; F of an animal from two unknown parents of pool b
    is γ_b/2 (Legarra, Christensen, Vitezica, Aguilar & Misztal 2015, Genetics 200:455, eqs 3 to 7). The inverse
    follows Henderson's rules with d = 1 − ¼ Σ a_pp, and Γ⁻¹ on the metafounders. Made by
    `Pedigree.with_metafounders`.

    Attributes
    ----------
    labels : numpy.ndarray, shape (g + n,)
        Metafounders, then animals.
    gamma : numpy.ndarray, shape (g, g)
    inbreeding : numpy.ndarray, shape (g + n,)
        Relative to the pools; γ − 1 for metafounders.
    """

    def __init__(self, pedigree: Grouped, gamma: np.ndarray) -> None:
        self.labels, self.sire, self.dam = with_groups_first(pedigree)
        self.gamma: np.ndarray = gamma
        self.ramets, self.ortets = pedigree.ramets, pedigree.ortets + len(gamma)
        self.left = None if pedigree.left is None else np.append(np.ones(len(gamma)), pedigree.left)
        self.unknown_codes = pedigree.unknown_codes

    def __repr__(self) -> str:
        return f"Metafounders({len(self.gamma)} metafounders, {self.size - len(self.gamma):,} animals)"


def with_groups_first(pedigree: Grouped) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, sires and dams with the groups as rows of their own in front."""
    assert pedigree.groups is not None and pedigree.sire_group is not None and pedigree.dam_group is not None
    g = len(pedigree.groups)
    unknown = np.full(g, -1, dtype=np.int32)
    sire = np.where(pedigree.sire >= 0, pedigree.sire + g, pedigree.sire_group).astype(np.int32)
    dam = np.where(pedigree.dam >= 0, pedigree.dam + g, pedigree.dam_group).astype(np.int32)
    labels = np.concatenate([pedigree.groups, pedigree.labels])
    if labels.dtype.kind not in "iu":
        labels = np.append(pedigree.groups.astype(object), pedigree.labels.astype(object))
    return labels, np.append(unknown, sire), np.append(unknown, dam)
