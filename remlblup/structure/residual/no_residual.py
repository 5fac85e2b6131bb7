"""R = 0: the residual of a model whose residual stands among the random terms."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.pattern import Pattern


class NoResidual(ResidualStructure):
    """R = 0 over n records, without parameters: for equations that do not divide by R.

    Parameters
    ----------
    n : number of records
    stands_for : the residual that stands among the random terms
    """

    keyword = "none"

    def __init__(self, n: int, stands_for: ResidualStructure | None = None):
        self._stands_for = stands_for
        self.pattern = Pattern.diagonal(np.zeros(n, np.int64), np.ones(n), 1)

    @property
    def stands_for(self) -> ResidualStructure:
        return self._stands_for or self

    @cached_property
    def names(self) -> tuple[str, ...]:
        return ()

    @cached_property
    def lower(self) -> Array:
        return np.zeros(0)

    def coefficients(self, phi: Array) -> Array:
        return np.zeros(1)

    def jacobian(self, phi: Array) -> Array:
        return np.zeros((0, 1))

    def logdet(self, phi: Array) -> float:
        return 0.0

    def logdet_gradient(self, phi: Array) -> Array:
        return np.zeros(0)

    def multiply(self, phi: Array, v: Array) -> Array:
        return np.zeros_like(v)

    def information(self, phi: Array) -> Array:
        return np.zeros((0, 0))

    def maximize(self, phi: Array, moments: Array) -> Array:
        return phi

    def start(self, variance: float, squares: Array) -> Array:
        return np.zeros(0)
