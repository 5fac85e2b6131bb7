"""``diag``: independent effects, each with its own variance, Σ = diag(σ²_1 … σ²_t)."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.base import Structure


class Diagonal(Structure):
    """Σ(θ) = diag(θ); also the structure of ``(1 + x || g)``."""

    keyword = "diag"

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"var({e})" for e in self.effects)

    @cached_property
    def lower(self) -> Array:
        return np.zeros(self.size)

    @property
    def slots(self) -> tuple[tuple[int, int], ...]:
        return tuple((i, i) for i in range(self.size))

    def covariance(self, theta: Array) -> Array:
        return np.diag(theta)

    def derivatives(self, theta: Array) -> Array:
        d = np.zeros((self.size,) * 3)
        index = np.arange(self.size)
        d[index, index, index] = 1.0
        return d

    def project(self, sigma: Array) -> Array:
        return np.diag(sigma).copy()
