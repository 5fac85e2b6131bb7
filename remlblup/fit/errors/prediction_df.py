"""Degrees of freedom of prediction errors: Satterthwaite's, of combinations of β̂ and û.

With v(θ) the variance of a prediction error and W = var(θ̂),

    df = 2 v² / (∇v' W ∇v)

as for β̂ alone (Giesbrecht & Burns 1985; for û as well McLean & Sanders 1988, Proc. Stat. Comput. Sect. ASA, 50). ∇v is
differenced along the directions in which θ̂ has one standard error and no correlation: ∇v'W∇v is a sum of squares.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from remlblup.arrays import Array
from remlblup.fit.errors.directions import Around
from remlblup.fit.errors.information import Information
from remlblup.reml.optimum import Optimum

# A relative slope below this is none.
NONE = 1e-9


def slopes_along(
    optimum: Optimum, ml: bool, constrain: bool, information: Information, of: Callable[[Array], Array]
) -> Array:
    """∂`of`(θ) along each direction of one standard error, (c, …)."""
    around = Around(optimum, ml, constrain, information)
    return np.array([around.difference(a, of) for a in range(information.curved.shape[1])])


def satterthwaite_df(variances: Array, slopes: Array) -> Array:
    """df (k,) of variances (k,) with slopes (c, k); infinite where they hang on nothing that was estimated."""
    spread = np.sum(slopes**2, axis=0) if len(slopes) else np.zeros_like(variances)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread <= (NONE * variances) ** 2, np.inf, 2.0 * variances**2 / spread)
