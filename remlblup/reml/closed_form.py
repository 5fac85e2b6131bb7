"""The start of a small model by exact moments: MIVQUE(0) in closed form, q = S θ (`reml.moments`).

Where the matrices of V multiply among themselves, as in balanced data, it is the analysis of variance: best among
quadratic unbiased estimators, and inside the parameter space REML itself, from whatever start (Seely 1971, Ann Math
Stat 42:710; Searle, Casella & McCulloch 1992, Variance Components, section 11.3). The search is then at its end where
it begins. Of other data it is a start nearer than a guess.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.linalg.scaled_solve import Scaled
from remlblup.reml.space import Space

# A pivot of S, of unit diagonal, below this leaves no digits that two machines share.
ALIKE = 1e-8
# No variance and no Σ starts smaller than this share of what would explain all of y.
FLOOR = 0.01


def closed_form(space: Space) -> Array | None:
    """θ = S⁻¹q; None of a model without, and where it is not well inside the parameter space."""
    equations = space.equations
    D = equations.spec.parameters.elements
    G = None if D is None else equations.moment_expectations
    if G is None or D is None:
        return None
    S = Scaled.of(D.T @ G @ D)
    if S.root is None or (S.root.diagonal() ** 2).min() < ALIKE:
        return None
    theta = S.solve(D.T @ equations.moment_forms())
    return theta if is_inside(space, theta) else None


def is_inside(space: Space, theta: Array) -> bool:
    """Whether θ is well inside the parameter space."""
    spec = space.equations.spec
    if theta[-1] < FLOOR * space.equations.scales.variance:
        return False
    for k, (design, place) in enumerate(zip(spec.random, spec.parameters.of_terms, strict=True)):
        if design.structure.cone:
            least = space.smallest_eigenvalue(k, theta)
        else:
            least = np.min(design.structure.covariance(theta[place]).diagonal() / space.units[k].diagonal())
        if least < FLOOR:
            return False
    return True
