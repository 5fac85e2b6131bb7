"""The score ∂ℓ/∂θ from the slopes by Σ or Λ and by the coefficients of R, as the engine gives them.

With S = ∂ℓ/∂Σ, ∂ℓ/∂θ_i = tr(S Σ̇_i); of a structure written in Λ itself tr(∂ℓ/∂Λ' Λ̇_i). For the residual, with the
conditional moments m_r = ê'D_r ê + τ_r = E[e'D_r e | y], τ_r = ∂log|C|/∂ρ_r,

    ∂ℓ/∂φ = −½ [ ∂log|R|/∂φ + Σ_r m_r ∂ρ_r/∂φ ].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations


@dataclass(frozen=True)
class Score:
    """First derivatives of ℓ at θ.

    Attributes
    ----------
    gradient : (n_parameters,) ∂ℓ/∂θ
    of_sigma, of_factor, moments, solution : see `ScoreMatrices`
    ml : whether ℓ is the full likelihood
    """

    gradient: Array
    of_sigma: tuple[Any, ...]
    of_factor: tuple[Any, ...]
    moments: Array
    solution: Any
    ml: bool = False


def score(equations: Equations, solution: Any, units: list[Array], ml: bool = False) -> Score:
    """∂ℓ/∂θ at a solution; `units` (t, t) per term are the covariance matrices that count as 1 for a nudge."""
    spec, of = equations.spec, equations.score_matrices(solution, units, ml)
    theta, parameters = of.solution.theta, spec.parameters
    gradient = np.empty(len(theta))
    for S, G, design, place in zip(of.of_sigma, of.of_factor, spec.random, parameters.of_terms, strict=True):
        structure = design.structure
        if G is not None:
            derivatives = structure.factor_derivatives(theta[place])
            gradient[place] = derivatives.reshape(len(derivatives), -1) @ G.ravel()
        else:
            assert S is not None
            gradient[place] = structure.score(theta[place], S)
    gradient[parameters.of_residual] = spec.residual.score(theta[parameters.of_residual], of.moments)
    return Score(gradient, of.of_sigma, of.of_factor, of.moments, of.solution, ml)
