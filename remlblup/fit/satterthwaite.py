"""Satterthwaite degrees of freedom of each fixed effect."""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.equations.base import Equations
from remlblup.equations.prediction_error import variance_derivatives
from remlblup.structure.base import Array

# Elements of the columns of C⁻¹ up to which the exact computation is made: beyond, n − p is in the hundreds of
# thousands or the solves would take longer than the fit.
LIMIT = 20_000_000


def within_reach(equations: Equations) -> bool:
    """Whether the columns of C⁻¹ for all fixed effects can be had in reasonable time."""
    return equations.m * max(equations.p, 1) <= LIMIT


def satterthwaite(equations: Equations, nudged: Any, covariance: Array, fallback: float) -> Array:
    """df_j = 2 v_j² / (ġ_j' A⁻¹ ġ_j), v_j = var(β̂_j), ġ_j = ∂v_j/∂θ (Satterthwaite 1946; Giesbrecht & Burns 1985).

    Parameters
    ----------
    nudged : the solution at the estimates, with nonsingular Λ
    covariance : (n_parameters, n_parameters) of the free components (inverse AI), zero elsewhere
    fallback : degrees of freedom where v_j does not depend on any free component (n − p)
    """
    variance, derivative = variance_derivatives(equations, nudged)
    spread = np.einsum("ji,ik,jk->j", derivative, covariance, derivative)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = 2.0 * variance**2 / spread
    return np.where(np.isfinite(df) & (spread > 0.0), df, fallback)
