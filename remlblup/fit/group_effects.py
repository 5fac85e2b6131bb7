"""û* = Qĝ + â of animals whose unknown parents belong to fixed groups, with its prediction error covariance."""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.equations.base import Equations
from remlblup.model.parent_groups import GroupEffects
from remlblup.structure.base import Array


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
        Q = groups.fractions.toarray()
        # Coefficients of the fixed effects in the group part of effect i of each level: (t, q, c).
        at = np.zeros((t, Q.shape[0], len(used)))
        for i in range(t):
            own = np.flatnonzero(groups.columns[i] >= 0)
            at[i][:, np.searchsorted(used, groups.columns[i, own])] = Q[:, own]
        both = np.einsum("iqc,jqc->qij", at, cross)
        within = np.einsum("iqc,cd,jqd->qij", at, of_fixed[np.ix_(used, used)], at, optimize=True)
        out[groups.term] = out[groups.term] + within + both + np.swapaxes(both, 1, 2)
    return out


def estimates(groups: GroupEffects, beta: Array) -> Array:
    """ĝ, (t, g); zero for a group set aside."""
    return np.where(groups.columns >= 0, beta[np.maximum(groups.columns, 0)], 0.0)
