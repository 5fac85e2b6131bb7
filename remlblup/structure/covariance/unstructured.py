"""``us``: every variance and covariance free, θ = vech(Σ) row by row."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.cached import cached_property
from remlblup.linalg.small import triangle
from remlblup.structure.base import Structure


class Unstructured(Structure):
    """Σ(θ) with θ = (σ_11, σ_21, σ_22, σ_31, …), the lower triangle row by row."""

    keyword = "us"
    cone = True

    @cached_property
    def n_parameters(self) -> int:
        return self.size * (self.size + 1) // 2  # without spelling out the names

    @cached_property
    def slots(self) -> tuple[tuple[int, int], ...]:
        return tuple((i, j) for i in range(self.size) for j in range(i + 1))

    @cached_property
    def names(self) -> tuple[str, ...]:
        e = self.effects
        return tuple(f"var({e[i]})" if i == j else f"cov({e[j]}, {e[i]})" for i, j in self.slots)

    @cached_property
    def lower(self) -> Array:
        return np.array([0.0 if i == j else -np.inf for i, j in self.slots])

    @cached_property
    def _triangle(self) -> tuple[Index, Index]:
        return triangle(self.size)

    @cached_property
    def _places(self) -> Index:
        """(t, t) where each element of Σ stands in θ."""
        places = np.empty((self.size, self.size), dtype=np.intp)
        places[self._triangle] = places.T[self._triangle] = np.arange(self.n_parameters)
        return places

    def covariance(self, theta: Array) -> Array:
        return theta[self._places]

    @cached_property
    def _derivatives(self) -> Array:
        d = np.zeros((len(self.slots), self.size, self.size))
        for k, (i, j) in enumerate(self.slots):
            d[k, i, j] = d[k, j, i] = 1.0
        return d

    def derivatives(self, theta: Array) -> Array:
        return self._derivatives

    def project(self, sigma: Array) -> Array:
        return sigma[self._triangle]
