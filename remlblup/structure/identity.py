"""``id``: one variance for all effects, Σ = σ² I. The structure of every ``(1 | g)``."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from remlblup.structure.base import Array, Structure


class Identity(Structure):
    """Σ(σ²) = σ² I over t effects; for t = 1 the variance of the term."""

    keyword = "id"

    @property
    def names(self) -> tuple[str, ...]:
        return ("variance",)

    @property
    def lower(self) -> Array:
        return np.zeros(1)

    @property
    def slots(self) -> tuple[tuple[int, int], ...]:
        return tuple((i, i) for i in range(self.size))

    @cached_property
    def _identity(self) -> Array:
        return np.eye(self.size)

    def covariance(self, theta: Array) -> Array:
        return theta[0] * self._identity

    def derivatives(self, theta: Array) -> Array:
        return self._identity[None]

    def project(self, sigma: Array) -> Array:
        return np.array([np.trace(sigma) / self.size])
