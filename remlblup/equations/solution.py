"""What every engine knows of a model solved at θ, and what it tells of the slopes of ℓ there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from remlblup.arrays import Array


class Solution(Protocol):
    """V(θ) solved for y.

    Attributes
    ----------
    theta : (n_parameters,)
    effects : (m,) β_work, then û over the effects of W
    residual : (n,) ê
    weighted_residual : (n,) R⁻¹ê = Py
    quadratic : y'Py
    b : (m,) β_work, then b̂ in factor form; None in an engine without one
    """

    @property
    def theta(self) -> Array: ...
    @property
    def effects(self) -> Array: ...
    @property
    def residual(self) -> Array: ...
    @property
    def weighted_residual(self) -> Array: ...
    @property
    def quadratic(self) -> float: ...
    @property
    def b(self) -> Array | None: ...


@dataclass(frozen=True)
class ScoreMatrices:
    """First derivatives of ℓ, before they are those by θ.

    Attributes
    ----------
    solution : what they were taken at (nudged where Σ is singular)
    of_sigma : ∂ℓ/∂Σ (t, t) of each term, only its slots where Λ is diagonal; None of one written in Λ itself
    of_factor : ∂ℓ/∂Λ (t, n_factors) of each term written in Λ itself; None of the others
    moments : (n_coefficients,) E[e'D_r e | y]
    """

    solution: Solution
    of_sigma: tuple[Array | None, ...]
    of_factor: tuple[Array | None, ...]
    moments: Array
