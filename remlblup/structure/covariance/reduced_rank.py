"""``rr``: reduced rank, Σ = ΓΓ' with Γ (t × k), singular for k < t.

The structure is written in its factor Λ = Γ itself (Kirkpatrick & Meyer 2004, Genetics 168:2295), so
that the singular Σ is an ordinary point. With k = t it is ``us`` in other coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.base import Structure
from remlblup.structure.covariance.loadings import Loadings, standardized


class ReducedRank(Structure):
    """Σ(θ) = ΓΓ'; θ the loadings, column by column."""

    keyword = "rr"
    options = ("k",)
    linear = False
    in_factor = True

    def __init__(self, effects: Sequence[str], positions: Array | None = None, k: int = 1):
        super().__init__(effects, positions)
        self.factors = Loadings(self.keyword, self.effects, k)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return self.factors.names

    @cached_property
    def lower(self) -> Array:
        return np.full(len(self.factors), -np.inf)

    @property
    def n_factors(self) -> int:
        return self.factors.k

    def loadings(self, theta: Array) -> Array:
        """Γ, shape (t, k)."""
        return self.factors.matrix(theta)

    def covariance(self, theta: Array) -> Array:
        gamma = self.loadings(theta)
        return np.asarray(gamma @ gamma.T)

    def derivatives(self, theta: Array) -> Array:
        return self.factors.product_derivatives(theta)

    def factor(self, theta: Array) -> tuple[Array, Array]:
        return self.loadings(theta), np.ones(self.n_factors)

    def factor_derivatives(self, theta: Array) -> Array:
        return self.factors.derivatives

    def project(self, sigma: Array) -> Array:
        """The principal components of the correlations, so that the units of the effects play no part."""
        s, C = standardized(sigma)
        return self.factors.vector(s[:, None] * self.factors.rotated(self.factors.principal(C)))

    def start(self, sigma: Array) -> Array:
        """Loadings that give the variances of the guess: Γ = 0 is a saddle point."""
        return self.factors.vector(self.factors.first(np.maximum(np.diag(sigma), 0.0)))
