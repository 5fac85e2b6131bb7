"""R of records at places: R_ij = Σ(φ) between their places, within a subject or trial; R⁻¹ is dense.

It stands among the random terms (`remlblup.model.residual_effects`) and V alone works with it, so that two records may
lie at one place if there is something independent beside it. What is asked of R itself is made dense.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.cached import cached_property
from remlblup.structure.distance.base import Distance
from remlblup.structure.residual.of_structure import OfStructure
from remlblup.structure.residual.pattern import Pattern


class Places(OfStructure):
    """R(φ) = Σ(φ)[place i, place j] where two records are of one unit, else 0.

    Parameters
    ----------
    structure : Σ over the distinct places
    unit, place : (n,) codes of the unit and the place of each record
    """

    dense = True
    structure: Distance

    def __init__(self, structure: Distance, unit: Index, place: Index):
        self.structure, self.keyword = structure, structure.keyword
        self.unit, self.place = np.asarray(unit, np.int64), np.asarray(place, np.int64)
        none = np.zeros(0, np.int64)
        self.pattern = Pattern(len(self.unit), none, none, none, np.zeros(0), 0)

    @property
    def n_units(self) -> int:
        return int(self.unit.max()) + 1

    @cached_property
    def variances(self) -> np.ndarray:
        return self.structure.variances

    @cached_property
    def powers(self) -> Array:
        return self.structure.powers

    def sizes(self, variance: float) -> Array | None:
        return self.structure.sizes(variance)

    def feasible(self, phi: Array) -> bool:
        return self.structure.feasible(phi)

    def record_variances(self, phi: Array) -> Array:
        return np.full(self.size, phi[0])

    def start(self, variance: float, squares: Array) -> Array:
        return np.r_[variance, self.structure.first()]

    def covariance(self, phi: Array) -> Array:
        """R (n, n)."""
        return self._over_records(self.structure.covariance(phi))

    def _over_records(self, sigma: Array) -> Array:
        R = sigma[self.place].take(self.place, axis=1)
        R *= self.unit[:, None] == self.unit
        return np.asarray(R)

    def multiply(self, phi: Array, v: Array) -> Array:
        return np.asarray(self.covariance(phi) @ v)

    def precision(self, phi: Array, v: Array) -> Array:
        return np.asarray(np.linalg.solve(self.covariance(phi), v), np.float64)

    def coefficients(self, phi: Array) -> Array:
        return np.zeros(0)

    def jacobian(self, phi: Array) -> Array:
        return np.zeros((self.n_parameters, 0))

    def logdet(self, phi: Array) -> float:
        return float(np.linalg.slogdet(self.covariance(phi))[1])

    def _solved(self, phi: Array) -> list[Array]:
        """R⁻¹Ṙ_j."""
        inverse = np.linalg.inv(self.covariance(phi))
        return [inverse @ self._over_records(change) for change in self.structure.each_derivative(phi)]

    def logdet_gradient(self, phi: Array) -> Array:
        return np.array([np.trace(change) for change in self._solved(phi)])

    def information(self, phi: Array) -> Array:
        solved = self._solved(phi)
        return np.array([[0.5 * np.sum(a * b.T) for b in solved] for a in solved])
