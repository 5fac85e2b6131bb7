"""``cs``, ``csh`` (= ``corh``): every two effects have the same correlation r.

``cs`` is Σ = v[(1 − r) I + r J] with J all ones; ``csh`` has a variance for each effect,
Σ_ij = r √(v_i v_j). R has the eigenvalues 1 − r and 1 + (t − 1) r, so −1/(t − 1) ≤ r ≤ 1
(Pinheiro & Bates 2000, section 5.3).
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.structure.covariance.correlation import CorrelationStructure


class CompoundSymmetry(CorrelationStructure):
    """Σ = v[(1 − r) I + r J]."""

    keyword = "cs"

    @property
    def correlation_bounds(self) -> tuple[float, float]:
        return -1.0 / (self.size - 1), 1.0

    def correlation(self, rho: Array) -> Array:
        R = np.full((self.size, self.size), rho[0])
        np.fill_diagonal(R, 1.0)
        return R

    def correlation_derivatives(self, rho: Array) -> Array:
        return (1.0 - np.eye(self.size))[None]

    def correlations_of(self, C: Array, present: np.ndarray) -> Array:
        known = C[np.ix_(present, present)]
        pairs = known[np.tril_indices(len(known), -1)]
        return np.array([pairs.mean() if len(pairs) else 0.0])

    def first_correlations(self) -> Array:
        return np.array([0.1])


class HeterogeneousCompoundSymmetry(CompoundSymmetry):
    """Σ_ij = r √(v_i v_j), Σ_ii = v_i."""

    keyword = "csh"
    heterogeneous = True


class CorrelationHeterogeneous(HeterogeneousCompoundSymmetry):
    """`csh` by the name ASReml gives it."""

    keyword = "corh"
