"""R of all records as the Σ of one random term: a residual with no smaller matrix in it (fields, chains, powers)."""

from __future__ import annotations

import itertools

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.base import Structure
from remlblup.structure.residual.scaled import Scaled

# Where correlations are looked for, as shares of the way between their bounds.
GRID = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class WholeResidual(Structure):
    """Σ(φ) = R(φ) over the n records, on its bounds too, where it is singular.

    Parameters
    ----------
    residual : a `Scaled` residual structure; the cells it fills in have no part
    """

    linear = False

    def __init__(self, residual: Scaled):
        n = residual.size - residual.n_filled
        super().__init__([str(i) for i in range(n)])
        self.residual = residual
        self.keyword = residual.keyword

    @cached_property
    def names(self) -> tuple[str, ...]:
        return self.residual.names

    @cached_property
    def lower(self) -> Array:
        return self.residual.lower

    @cached_property
    def upper(self) -> Array:
        return self.residual.upper

    @cached_property
    def powers(self) -> Array:
        return self.residual.powers

    def feasible(self, theta: Array) -> bool:
        return self.residual.feasible(theta)

    def covariance(self, theta: Array) -> Array:
        unit = np.eye(self.residual.size, self.size)
        return self.residual.multiply(theta, unit)[: self.size]

    def derivatives(self, theta: Array) -> Array:
        return self.residual.derivatives(theta)

    def project(self, sigma: Array) -> Array:
        """The start values at the mean variance of `sigma`: what a size of each parameter is."""
        return self.residual.start(float(np.mean(np.diag(sigma))), np.zeros(self.size))

    def undefined(self, theta: Array) -> np.ndarray:
        """Correlations, the variance being zero."""
        return (np.arange(len(theta)) > 0) & (theta[0] == 0.0)

    def lifted(self, theta: Array, S: Array, scale: Array, free: np.ndarray) -> Array | None:
        """The correlations C of a grid with the largest ∂ℓ/∂σ² = tr(S C)."""
        if theta[0] > 0.0:
            return None
        bounded = np.isfinite(self.upper) & free
        best, most = theta, -np.inf
        for share in itertools.product(GRID, repeat=int(bounded.sum())):
            at = theta.copy()
            at[0] = float(np.mean(scale**2))
            at[bounded] = self.lower[bounded] + np.array(share) * (self.upper - self.lower)[bounded]
            slope = float(np.sum(S * self.covariance(at)))
            if slope > most:
                best, most = at, slope
        return best
