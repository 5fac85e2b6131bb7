"""The coordinates x that steps are taken in: a parameter itself, a power of it, or its logarithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.model.parameters import Parameters

TINY = float(np.finfo(float).tiny)
# The logarithm of the largest value of a parameter that steps are taken in the logarithm of.
FARTHEST = 230.0
# Logarithms up to here stand for zero; a unit above that of TINY, whatever a processor makes of the last bit.
NEAREST = float(np.log(TINY)) + 1.0
# How many times such a parameter may become larger or smaller in one step.
STRIDE = 20.0


@dataclass(frozen=True)
class Coordinates:
    """x = θ^p, or log θ for the power 0.

    Attributes
    ----------
    parameters : those of the model
    sizes : (n_parameters,) what counts as one unit of each
    """

    parameters: Parameters
    sizes: Array

    @property
    def powers(self) -> Array | None:
        """(n_parameters,) p; None where all are 1."""
        return self.parameters.powers

    @cached_property
    def roots(self) -> np.ndarray:
        """(n_parameters,) True for variances whose steps are taken in the standard deviation."""
        return np.isinf(self.parameters.upper) & (self.powers == 0.5)

    def at(self, theta: Array) -> Array:
        """x of θ."""
        if self.powers is None:
            return theta
        x = np.where(self.powers == 1.0, theta, np.maximum(theta, 0.0) ** self.powers)
        return np.where(self.powers == 0.0, np.log(np.maximum(theta, TINY)), x)

    def back(self, x: Array) -> Array:
        """θ of x."""
        if self.powers is None:
            return x
        logarithms = self.powers == 0.0
        theta = np.maximum(x, 0.0) ** (1.0 / np.where(logarithms, 1.0, self.powers))
        theta = np.where(self.powers == 1.0, x, theta)
        exponentials = np.exp(np.where(logarithms, np.minimum(x, FARTHEST), 0.0))
        return np.where(logarithms, np.where(x > NEAREST, exponentials, 0.0), theta)

    def slopes(self, theta: Array) -> Array:
        """dθ/dx; at zero that of a small value, where the derivatives of the structure are taken as well."""
        if self.powers is None:
            return np.ones(len(theta))
        least = np.where(self.roots, 1e-24 * self.sizes, 1e-150 ** (1.0 / np.maximum(self.powers, 1.0)))
        powers = np.where(self.powers == 0.0, 1.0, self.powers)
        slopes = np.where(powers == 1.0, 1.0, np.maximum(theta, least) ** (1.0 - powers) / powers)
        return np.where(self.powers == 0.0, np.maximum(theta, TINY), slopes)

    def within_stride(self, theta: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """How far one step from θ may go between two limits: of what is stepped in its logarithm to `STRIDE` times the
        value."""
        if self.powers is None or not np.any(self.powers == 0.0):
            return low, high
        strides = (self.powers == 0.0) & (theta > 0.0)
        return (
            np.where(strides, np.maximum(low, theta / STRIDE), low),
            np.where(strides, np.minimum(high, theta * STRIDE), high),
        )
