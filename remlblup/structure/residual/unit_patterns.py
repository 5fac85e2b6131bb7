"""Units grouped by the effects that were observed on them (traits, occasions)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array, Index


@dataclass(frozen=True)
class Stack:
    """Patterns with the same number c of observed effects, and the units that have them.

    Attributes
    ----------
    effects : (P, c) observed effects of each pattern, ascending
    member : (U,) pattern of each unit
    records : (U, c) records of each unit, in the order of its effects
    units : (P,) number of units of each pattern
    """

    effects: Index
    member: Index
    records: Index
    units: Array

    @property
    def c(self) -> int:
        """Number of observed effects."""
        return int(self.effects.shape[1])

    @property
    def triangle(self) -> tuple[Index, Index]:
        """Lower triangle of a c × c matrix, row by row."""
        return np.tril_indices(self.c)

    @property
    def n_coefficients(self) -> int:
        """Entries of the lower triangles of all patterns."""
        return len(self.effects) * self.c * (self.c + 1) // 2

    def block(self, sigma: Array) -> Array:
        """Σ_oo of each pattern from Σ (…, t, t): (…, P, c, c)."""
        return sigma[..., self.effects[:, :, None], self.effects[:, None, :]]

    def lower(self, matrices: Array) -> Array:
        """Lower triangles of (…, P, c, c), pattern by pattern: (…, P c(c + 1)/2)."""
        i, j = self.triangle
        return matrices[..., i, j].reshape(*matrices.shape[:-3], -1)

    def moments(self, moments: Array) -> Array:
        """M_o = Σ_units E[e_o e_o'] of each pattern from E[e'D_r e], where an entry off the diagonal counts twice."""
        i, j = self.triangle
        M = np.empty((len(self.effects), self.c, self.c))
        M[:, i, j] = moments.reshape(len(M), -1) * np.where(i == j, 1.0, 0.5)
        M[:, j, i] = M[:, i, j]
        return M

    def entries(self, first: int) -> tuple[Index, Index, Index, Index]:
        """Records i and j, place (i, j) and coefficient of every entry of the lower triangles;
        coefficients from `first`."""
        i, j = self.triangle
        k = first + self.member[:, None] * len(i) + np.arange(len(i))
        return self.records[:, i].ravel(), self.records[:, j].ravel(), np.tile(i == j, len(self.records)), k.ravel()


def repeated_units(unit: Index, effect: Index) -> Index:
    """Codes of the units with more than one record of the same effect."""
    unit, effect = np.asarray(unit), np.asarray(effect)
    order = np.lexsort((effect, unit))
    u, e = unit[order], effect[order]
    return np.unique(u[1:][(np.diff(u) == 0) & (np.diff(e) == 0)])


def stack_units(unit: Index, effect: Index, n_effects: int, capacity: int) -> list[Stack]:
    """The patterns of all units by their number of effects, at most about `capacity`/c² patterns in a stack."""
    order = np.lexsort((effect, unit))
    starts = np.flatnonzero(np.diff(unit[order], prepend=unit[order[0]] - 1))
    counts = np.diff(starts, append=len(order))
    stacks = []
    for c in np.unique(counts):
        records = order[starts[counts == c][:, None] + np.arange(c)]
        _, first, member = np.unique(_keys(effect[records], n_effects), return_index=True, return_inverse=True)
        effects = effect[records[first]]
        width = max(1, capacity // int(c) ** 2)
        for low in range(0, len(effects), width):
            inside = slice(None) if width >= len(effects) else (member >= low) & (member < low + width)
            own = member[inside] - low
            part = effects[low : low + width]
            stacks.append(Stack(part, own, records[inside], np.bincount(own, minlength=len(part)).astype(float)))
    return stacks


def _keys(effects: Index, n_effects: int) -> Index:
    """One integer for each row, equal where the rows (U, c) are equal: digits in base t,
    renumbered before they overflow."""
    key, bound = effects[:, 0], n_effects
    for digit in effects.T[1:]:
        if bound > 2**62 // n_effects:
            key = np.unique(key, return_inverse=True)[1]
            bound = len(key)
        key = key * n_effects + digit
        bound *= n_effects
    return key


def fill_in(sigma: Array, stacks: Sequence[Stack], inverses: Sequence[Array], moments: Array) -> Array:
    """The EM update of an unstructured Σ where effects are missing (Little & Rubin 2002, section 11.2).

    Σ ← Σ_o [B M_o B' + n_o (Σ − B Σ_o·)]/n_units with B = Σ_·o Σ_oo⁻¹ and M_o as in `Stack.moments`.
    """
    total, first = np.zeros_like(sigma), 0
    for stack, inverse in zip(stacks, inverses, strict=True):
        M = stack.moments(moments[first : first + stack.n_coefficients])
        first += stack.n_coefficients
        B = np.moveaxis(sigma[:, stack.effects], 0, 1) @ inverse
        # B Σ_o· = B Σ_oo B'.
        change = M - stack.units[:, None, None] * stack.block(sigma)
        total += (B @ change @ np.swapaxes(B, 1, 2)).sum(axis=0)
    return sigma + total / sum(float(stack.units.sum()) for stack in stacks)
