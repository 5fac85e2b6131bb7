"""``toep``: one correlation for each distance between effects in their order, Σ_ij = v r_|i − j|.

The correlations must exist together: `feasible` is the positive semidefiniteness of R
(Pinheiro & Bates 2000, section 5.3: the general stationary correlation of evenly spaced times).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.linalg

from remlblup.structure.base import Array
from remlblup.structure.correlation import CorrelationStructure, semidefinite, shrinkage
from remlblup.structure.partial_autocorrelation import PartialAutocorrelations, steepest


class Toeplitz(CorrelationStructure):
    """Σ_ij = v r_|i − j|, r_0 = 1."""

    keyword = "toep"
    ordered = True
    least_effects = 1

    @property
    def correlation_names(self) -> tuple[str, ...]:
        return tuple(f"correlation({lag})" for lag in range(1, self.size))

    def correlation(self, rho: Array) -> Array:
        return np.asarray(scipy.linalg.toeplitz(np.r_[1.0, rho]))

    @cached_property
    def _derivatives(self) -> Array:
        return np.array([scipy.linalg.toeplitz(unit) for unit in np.eye(self.size)[1:]]).reshape(-1, *(self.size,) * 2)

    def correlation_derivatives(self, rho: Array) -> Array:
        return self._derivatives

    def correlations_of(self, C: Array, present: np.ndarray) -> Array:
        rho = np.array([np.diag(C, lag).mean() for lag in range(1, self.size)])
        return rho * shrinkage(self.correlation(rho))

    def first_correlations(self) -> Array:
        return 0.25 ** np.arange(1.0, self.size)

    def feasible(self, theta: Array) -> bool:
        return semidefinite(self.correlation(theta[1:]))

    @property
    def charted(self) -> slice | None:
        return slice(1, self.n_parameters) if self.size > 1 else None

    def steepest(self, S: Array) -> Array:
        return steepest(S)

    def edge(self, theta: Array) -> PartialAutocorrelations:
        return PartialAutocorrelations(theta[1:])
