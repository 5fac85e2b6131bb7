"""``corg``, ``corgh``: every correlation free, with one variance for all effects or one for each.

Σ_ij = r_ij √(v_i v_j). ``corgh`` is ``us`` written in standard deviations and correlations.
The correlations must exist together: `feasible` is the positive semidefiniteness of R.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.base import Structure
from remlblup.structure.covariance.correlation import CorrelationStructure, semidefinite, shrinkage
from remlblup.structure.covariance.unstructured import Unstructured
from remlblup.structure.edge.base import SNAP
from remlblup.structure.edge.elliptope import Elliptope, steepest


class GeneralCorrelation(CorrelationStructure):
    """Σ_ij = v r_ij; the correlations are the lower triangle of R row by row."""

    keyword = "corg"
    least_effects = 1

    @cached_property
    def n_parameters(self) -> int:
        return self._variances + self.size * (self.size - 1) // 2  # without spelling out the names

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows i and columns j of the correlations, i > j."""
        return np.tril_indices(self.size, -1)

    @property
    def correlation_names(self) -> tuple[str, ...]:
        return tuple(f"cor({self.effects[j]}, {self.effects[i]})" for i, j in zip(*self.pairs, strict=True))

    def correlation(self, rho: Array) -> Array:
        R = np.eye(self.size)
        R[self.pairs] = R.T[self.pairs] = rho
        return R

    @cached_property
    def _derivatives(self) -> Array:
        rows, columns = self.pairs
        d, index = np.zeros((len(rows), self.size, self.size)), np.arange(len(rows))
        d[index, rows, columns] = d[index, columns, rows] = 1.0
        return d

    def correlation_derivatives(self, rho: Array) -> Array:
        return self._derivatives

    def correlations_of(self, C: Array, present: np.ndarray) -> Array:
        # On the edge, R is singular to rounding only; in the order of the effects that may look like indefinite.
        return C[self.pairs] * (1.0 if np.linalg.eigvalsh(C)[0] > -SNAP else shrinkage(C))

    def first_correlations(self) -> Array:
        return np.full(len(self.pairs[0]), 0.1)

    def feasible(self, theta: Array) -> bool:
        return semidefinite(self.correlation(theta[self._variances :]))

    @property
    def charted(self) -> slice | None:
        return slice(self._variances, self.n_parameters) if self.size > 1 else None

    def steepest(self, S: Array) -> Array:
        return steepest(S)[self.pairs]

    def edge(self, theta: Array) -> Elliptope:
        return Elliptope.at(self.correlation(theta[self._variances :]))


class HeterogeneousGeneralCorrelation(GeneralCorrelation):
    """Σ_ij = r_ij √(v_i v_j)."""

    keyword = "corgh"
    heterogeneous = True

    def restated(self) -> Structure | None:
        return Congruent(self.effects) if self.size > 1 else None


class Congruent(Unstructured):
    """``us`` as what a `corgh` is searched in: its parameters carry the names of those they determine."""

    @property  # not kept: what is kept is the one it asks
    def names(self) -> tuple[str, ...]:
        return tuple(name.replace("cov(", "cor(", 1) if name.startswith("cov(") else name for name in super().names)
