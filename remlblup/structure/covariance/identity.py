"""``id``: one variance for all effects, Σ = σ² I. The structure of every ``(1 | g)``."""

from __future__ import annotations

from math import sqrt

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.base import Structure


class Identity(Structure):
    """Σ(σ²) = σ² I over t effects; for t = 1 the variance of the term."""

    keyword = "id"

    @cached_property
    def names(self) -> tuple[str, ...]:
        return ("variance",)

    @cached_property
    def lower(self) -> Array:
        return np.zeros(1)

    @property
    def slots(self) -> tuple[tuple[int, int], ...]:
        return tuple((i, i) for i in range(self.size))

    @cached_property
    def _identity(self) -> Array:
        return np.eye(self.size)

    @cached_property
    def _positive(self) -> Array:
        return np.ones(self.size)

    @cached_property
    def _negative(self) -> Array:
        return -np.ones(self.size)

    def covariance(self, theta: Array) -> Array:
        return theta[0] * self._identity

    def factor(self, theta: Array) -> tuple[Array, Array]:
        variance = float(theta[0])
        return sqrt(abs(variance)) * self._identity, self._negative if variance < 0.0 else self._positive

    def derivatives(self, theta: Array) -> Array:
        return self._identity[None]

    def project(self, sigma: Array) -> Array:
        return np.array([np.trace(sigma) / self.size])
