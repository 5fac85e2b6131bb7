"""Groups of unknown parents as fixed effects: X is extended by ZQ, one column per group and effect of the term.

u* = Qg + a with g fixed (Quaas 1988): the model y = Xβ + ZQg + Za + e, whose likelihood is that of the QP-transformed
equations, with groups confounded with X set aside like any dependent column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.model.design import RandomDesign


@dataclass(frozen=True)
class GroupEffects:
    """The groups of one term.

    Attributes
    ----------
    term : position of the term
    fractions : Q, CSR (q, g)
    columns : (t, g) positions among the fixed effects, −1 for a group set aside
    first : position of the first of them among all columns of X, those set aside included
    """

    term: int
    fractions: sp.csr_array
    columns: np.ndarray
    first: int

    @property
    def numbers(self) -> np.ndarray:
        """(t, g) positions among all columns of X."""
        return self.first + np.arange(self.columns.size).reshape(self.columns.shape)

    def rows(self, columns: Sequence[Any]) -> sp.csr_array:
        """Their columns of X, (n, t·g), for records with the given Z_i (t of shape (n, q))."""
        return sp.csr_array(sp.hstack([sp.csr_array(Z) @ self.fractions for Z in columns]))


def has_groups(design: RandomDesign) -> bool:
    """Whether groups of unknown parents go with the term's relationship as fixed effects."""
    return design.relationship.groups is not None


def group_columns(random: Sequence[RandomDesign]) -> tuple[list[str], list[sp.csr_array]]:
    """Names and columns of X of all groups, term by term, effect by effect."""
    names: list[str] = []
    columns: list[sp.csr_array] = []
    for design in filter(has_groups, random):
        Q = design.relationship.group_fraction_matrix
        for effect, Z in zip(design.structure.effects, design.columns, strict=True):
            suffix = "" if design.t == 1 else f", {effect}"
            names += [f"{design.name}: {group}{suffix}" for group in design.relationship.groups]  # type: ignore[union-attr]
            columns.append(sp.csr_array(Z @ Q))
    return names, columns


def group_effects(random: Sequence[RandomDesign], kept: np.ndarray, first: int) -> tuple[GroupEffects, ...]:
    """Where the groups stand among the fixed effects kept, their first column having been number `first`."""
    position = np.full(int(kept.max(initial=-1)) + 1, -1)
    position[kept] = np.arange(len(kept))
    out = []
    for k, design in enumerate(random):
        if has_groups(design):
            Q = sp.csr_array(design.relationship.group_fraction_matrix)
            numbers = first + np.arange(design.t * Q.shape[1]).reshape(design.t, -1)
            inside = numbers < len(position)
            columns = np.where(inside, position[np.minimum(numbers, len(position) - 1)], -1)
            out.append(GroupEffects(k, Q, columns, first))
            first += numbers.size
    return tuple(out)
