"""``units``: independent residuals, R = σ² diag(1/w); all w = 1 without weights."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.pattern import Pattern


class Units(ResidualStructure):
    """R(σ²) = σ² diag(1/w), so that R⁻¹ = (1/σ²) diag(w): one coefficient for all records.

    Parameters
    ----------
    weights : (n,) array
        Known weights w > 0; a record of weight w counts as w records of weight 1.
    """

    keyword = "units"

    def __init__(self, weights: Array):
        self.weights = weights
        self.n = len(weights)
        self.pattern = Pattern.diagonal(np.zeros(self.n, np.int64), weights, 1)
        self._log_weights = float(np.sum(np.log(weights)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return ("variance",)

    @cached_property
    def lower(self) -> Array:
        return np.zeros(1)

    @property
    def signed(self) -> np.ndarray:
        return np.ones(self.n_parameters, dtype=bool)

    def coefficients(self, phi: Array) -> Array:
        return 1.0 / phi

    def jacobian(self, phi: Array) -> Array:
        return -1.0 / (phi * phi)[:, None]

    def precision(self, phi: Array, v: Array) -> Array:
        return self._by_record(self.weights / phi[0], v) * v

    def logdet(self, phi: Array) -> float:
        return self.n * float(np.log(phi[0])) - self._log_weights

    def logdet_gradient(self, phi: Array) -> Array:
        return self.n / phi

    def score(self, phi: Array, moments: Array) -> Array:
        return 0.5 * (moments / phi - self.n) / phi

    def multiply(self, phi: Array, v: Array) -> Array:
        return self._by_record(phi[0] / self.weights, v) * v

    @staticmethod
    def _by_record(diagonal: Array, v: Array) -> Array:
        """The diagonal of a matrix (n,) in the shape that multiplies v (n,) or (n, k)."""
        return diagonal if v.ndim == 1 else diagonal[:, None]

    def information(self, phi: Array) -> Array:
        return np.array([[0.5 * self.n / phi[0] ** 2]])

    def maximize(self, phi: Array, moments: Array) -> Array:
        return np.asarray(moments) / self.n

    def start(self, variance: float, squares: Array) -> Array:
        return np.array([variance])
