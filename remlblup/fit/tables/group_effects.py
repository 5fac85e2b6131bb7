"""û* = Qĝ + â of animals whose unknown parents belong to fixed groups, with its prediction error covariance."""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.model.parent_groups import GroupEffects

# Levels at a time.
LEVELS = 10_000


def total_effects(equations: Equations, solution: Any, beta: Array) -> list[Array]:
    """û of every term over its levels, (t, q), the part of their groups included."""
    out = list(equations.level_effects(solution))
    for groups in equations.spec.groups:
        out[groups.term] = out[groups.term] + (groups.fractions @ estimates(groups, beta).T).T
    return out


def total_covariances(equations: Equations, solution: Any) -> list[Array]:
    """Per term (q, t, t): var(û* − u*)."""
    out = list(equations.level_covariances(solution))
    if equations.spec.groups:
        of_fixed = equations.fixed_covariance(solution)
    for groups in equations.spec.groups:
        t = len(groups.columns)
        used = np.unique(groups.columns[groups.columns >= 0])
        if not len(used):
            continue
        cross = equations.fixed_cross_covariances(solution, used)[groups.term]  # (t, q, c)
        within = of_fixed[np.ix_(used, used)]
        q = groups.fractions.shape[0]
        added = np.empty((q, t, t))
        for start in range(0, q, LEVELS):
            levels = slice(start, min(start + LEVELS, q))
            at = coefficients(groups, used, groups.fractions[levels].toarray())
            both = np.einsum("iqc,jqc->qij", at, cross[:, levels])
            added[levels] = np.einsum("iqc,cd,jqd->qij", at, within, at, optimize=True) + both + np.swapaxes(both, 1, 2)
        out[groups.term] = out[groups.term] + added
    return out


def coefficients(groups: GroupEffects, used: np.ndarray, Q: Array) -> Array:
    """Of the fixed effects `used` (c,) in the group part of each effect of some levels, (t, levels, c)."""
    at = np.zeros((len(groups.columns), len(Q), len(used)))
    for i, columns in enumerate(groups.columns):
        own = np.flatnonzero(columns >= 0)
        at[i][:, np.searchsorted(used, columns[own])] = Q[:, own]
    return at


def estimates(groups: GroupEffects, beta: Array) -> Array:
    """ĝ, (t, g); zero for a group set aside."""
    return np.where(groups.columns >= 0, beta[np.maximum(groups.columns, 0)], 0.0)
