"""``toep``: one correlation for each number of steps between two effects, Σ_ij = v r_|i − j| where none is left out.

The correlations must exist together: `feasible` is the positive semidefiniteness of R
(Pinheiro & Bates 2000, section 5.3: the general stationary correlation of evenly spaced times).
Where effects are left out, R has a correlation for each distance that occurs; the R of the effects must exist, and
nothing is asked of what lies between. With all distances different that is `corg`, and has its coordinates near the
edge; with some alike there are none.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.covariance.correlation import semidefinite, shrinkage
from remlblup.structure.covariance.steps import InSteps
from remlblup.structure.edge import elliptope, partial_autocorrelation
from remlblup.structure.edge.base import Edge, Reordered
from remlblup.structure.edge.elliptope import Elliptope
from remlblup.structure.edge.partial_autocorrelation import PartialAutocorrelations


class Toeplitz(InSteps):
    """Σ_ij = v r_d, d the number of steps between i and j, r_0 = 1."""

    keyword = "toep"
    least_effects = 1

    @cached_property
    def lags(self) -> np.ndarray:
        """The distances that occur, ascending."""
        if np.ptp(self.places) == self.size - 1.0:
            return np.arange(1.0, self.size)
        return np.unique(self.distances[self.distances > 0.0])

    @cached_property
    def _even(self) -> bool:
        """Whether no effect is left out."""
        return len(self.lags) == self.size - 1

    @cached_property
    def _distinct(self) -> np.ndarray | None:
        """Where each correlation stands in the lower triangle of R, if it stands there once."""
        pairs = self._lag[np.tril_indices(self.size, -1)]
        return np.argsort(pairs) if len(pairs) == len(self.lags) else None

    @cached_property
    def _lag(self) -> np.ndarray:
        """Which element of (1, ρ) stands at (i, j)."""
        return np.searchsorted(np.r_[0.0, self.lags], self.distances)

    @property
    def correlation_names(self) -> tuple[str, ...]:
        return tuple(f"correlation({lag:.0f})" for lag in self.lags)

    def correlation(self, rho: Array) -> Array:
        return np.asarray(np.r_[1.0, rho][self._lag])

    @cached_property
    def _derivatives(self) -> Array:
        return np.asarray(self._lag == np.arange(1, len(self.lags) + 1)[:, None, None], dtype=float)

    def correlation_derivatives(self, rho: Array) -> Array:
        return self._derivatives

    def correlations_of(self, C: Array, present: np.ndarray) -> Array:
        pairs = np.tril_indices(self.size, -1)
        lag = self._lag[pairs]
        rho = np.bincount(lag, C[pairs], len(self.lags) + 1)[1:] / np.bincount(lag, minlength=len(self.lags) + 1)[1:]
        return rho * shrinkage(self.correlation(rho))

    def first_correlations(self) -> Array:
        return 0.25**self.lags

    def feasible(self, theta: Array) -> bool:
        return semidefinite(self.correlation(theta[1:]))

    @property
    def charted(self) -> slice | None:
        known = self._even or self._distinct is not None
        return slice(1, self.n_parameters) if self.size > 1 and known else None

    def steepest(self, S: Array) -> Array:
        if self._even:
            return partial_autocorrelation.steepest(S)
        if self._distinct is None:
            return self.first_correlations()
        return elliptope.steepest(S)[np.tril_indices(self.size, -1)][self._distinct]

    def edge(self, theta: Array) -> Edge:
        if self._even or self._distinct is None:
            return PartialAutocorrelations(theta[1:])
        return Reordered(Elliptope.at(self.correlation(theta[1:])), self._distinct)
