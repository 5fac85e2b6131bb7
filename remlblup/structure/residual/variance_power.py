"""``power``: the variance is a power of a covariate, R = σ² diag(|x|^2δ / w).

varPower of nlme (Pinheiro & Bates 2000, section 5.2.1).
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import DataError
from remlblup.structure.residual.pattern import Pattern
from remlblup.structure.residual.scaled import Scaled

# |x|^2δ stays between exp(±this).
LARGEST = 300.0


class Power(Scaled):
    """R(σ², δ) = σ² diag(|x|^2δ / w): one coefficient |x|^−2δ/σ² for each distinct |x|.

    σ² is the variance at |x| = 1, as in nlme.

    Parameters
    ----------
    x : (n,) covariate, nowhere 0
    weights : (n,) known weights

    Raises
    ------
    DataError
        If x is 0 somewhere, or the same everywhere.
    """

    keyword = "power"
    shape_names = ("power",)

    def __init__(self, x: Array, weights: Array | None = None):
        size = np.abs(np.asarray(x, float))
        if np.any(size == 0.0) or not np.all(np.isfinite(size)):
            raise DataError("the covariate of 'power' must be finite and differ from 0 in every record.")
        if np.ptp(np.log(size)) < 1e-8:
            raise DataError("the covariate of 'power' is the same in every record: its power cannot be estimated.")
        distinct, which = np.unique(size, return_inverse=True)
        self.log = np.log(distinct)
        self.times = np.bincount(which).astype(float)
        self.which = which
        self.weights = None if weights is None else np.asarray(weights, float)
        value = np.ones(len(size)) if self.weights is None else self.weights
        self.pattern = Pattern.diagonal(which, value, len(distinct))

    @cached_property
    def lower(self) -> Array:
        return np.array([0.0, -np.inf])

    @cached_property
    def upper(self) -> Array:
        return np.array([np.inf, np.inf])

    def single_variance(self, phi: Array) -> None:
        """σ² is the variance at |x| = 1 alone."""

    def feasible(self, phi: Array) -> bool:
        """Whether |x|^2δ stays a number for all x."""
        return bool(np.max(np.abs(2.0 * phi[1] * self.log)) < LARGEST)

    def shape_coefficients(self, r: Array) -> Array:
        return np.exp(-2.0 * r[0] * self.log)

    def shape_jacobian(self, r: Array) -> Array:
        return (-2.0 * self.log * self.shape_coefficients(r))[None]

    def shape_logdet(self, r: Array) -> float:
        return 2.0 * float(r[0]) * float(self.times @ self.log)

    def shape_gradient(self, r: Array) -> Array:
        return np.array([2.0 * float(self.times @ self.log)])

    def shape_information(self, r: Array) -> Array:
        return np.array([[2.0 * float(self.times @ self.log**2)]])

    def shape_multiply(self, r: Array, v: Array) -> Array:
        return np.exp(2.0 * r[0] * self.log)[self.which][:, None] * v

    def shape_derivatives(self, r: Array) -> Array:
        return np.diag((2.0 * self.log * np.exp(2.0 * r[0] * self.log))[self.which])[None]

    def shape_start(self) -> Array:
        return np.zeros(1)

    def start(self, variance: float, squares: Array) -> Array:
        """A few rounds of `maximize` from δ = 0 with the squares as moments."""
        phi = super().start(variance, squares)
        if not np.any(squares > 0.0):
            return phi
        moments = self.pattern.moments(np.sqrt(squares))
        for _ in range(5):
            phi = self.maximize(phi, moments)
        return phi
