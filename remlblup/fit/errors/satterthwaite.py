"""Satterthwaite degrees of freedom of each fixed effect."""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.fixed_errors import variance_derivatives
from remlblup.equations.memory import WITHIN_REACH
from remlblup.fit.errors.information import Information

# v_j depends on a flat direction if a change of about the variance of y along it changes v_j by more than this share.
DEPENDS = 1e-6
MISSING = (
    "df are missing where the standard error depends on variance components that the data cannot tell apart or say"
    " nothing about"
)


def within_reach(equations: Equations) -> bool:
    """Whether the columns of C⁻¹ for all fixed effects can be had in reasonable time.

    Beyond, n − p is in the hundreds of thousands, or the solves would take longer than the fit.
    """
    return equations.m * max(equations.p, 1) <= WITHIN_REACH


def satterthwaite(equations: Equations, nudged: Any, information: Information, fallback: float) -> Array:
    """df_j = 2 v_j² / (ġ_j' A⁻¹ ġ_j), v_j = var(β̂_j), ġ_j = ∂v_j/∂θ (Satterthwaite 1946; Giesbrecht & Burns 1985).

    A⁻¹ is taken in the directions with information. Components that cannot be told apart enter most v_j together only:
    along a flat direction v_j then stays as it is, and nothing is missing. Where it does not, df is NaN.

    Parameters
    ----------
    nudged : the solution at the estimates, with nonsingular Λ
    fallback : degrees of freedom where v_j does not depend on any free component: infinite, all of it being known
    """
    variance, derivative = variance_derivatives(equations, nudged)
    spread = np.sum((derivative @ information.curved) ** 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = 2.0 * variance**2 / spread
    df = np.where(np.isfinite(df) & (spread > 0.0), df, fallback)
    depends = np.abs(derivative @ information.flat) > DEPENDS * variance[:, None]
    return np.where(np.any(depends, axis=1), np.nan, df)
