"""``ar1``, ``ar1h``, ``exp``: the correlation falls as a power of the distance, R_ij = r^d_ij.

``ar1`` counts the steps between two effects, d_ij = |i − j| where none is left out, and −1 ≤ r ≤ 1; ``ar1h`` has a
variance for each effect. ``exp`` takes the distances from where the effects lie, d_ij = |x_i − x_j|, and
0 ≤ r ≤ 1: r is the correlation at distance one, the exponential model v exp(−d/φ) with
r = exp(−1/φ) (Pinheiro & Bates 2000, section 5.3). So does ``ar1`` where no two neighbours are one step apart: a power
of a negative r would there say nothing but whether a number of steps is odd.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import ModelError
from remlblup.structure.chain import least_correlation
from remlblup.structure.covariance.steps import InSteps

# Distances from a whole number of steps below this are none.
WHOLE = 1e-9


class Autoregressive(InSteps):
    """Σ_ij = v r^d_ij, d the number of steps."""

    keyword = "ar1"

    @property
    def correlation_bounds(self) -> tuple[float, float]:
        return (-1.0, 1.0) if self._gaps.min() == 1.0 else (0.0, 1.0)

    @property  # not kept: what is kept is the one it asks
    def powers(self) -> Array:
        # In r^d of the smallest gap ℓ has a slope at r = 0; in that of a larger one it would be infinite there.
        return np.r_[super().powers[:-1], 1.0 if self.correlation_bounds[0] < 0.0 else self._gaps.min()]

    @cached_property
    def _gaps(self) -> Array:
        """Distances of neighbours."""
        return np.diff(np.sort(self.places))

    @property
    def _gap(self) -> float:
        """Mean distance of neighbours."""
        return float(np.ptp(self.places)) / (self.size - 1)

    def correlation(self, rho: Array) -> Array:
        return np.asarray(rho[0] ** self.distances)

    def correlation_derivatives(self, rho: Array) -> Array:
        d = self.distances
        r = rho[0] if abs(rho[0]) > (least := least_correlation(self._gaps.min())) else least
        return np.where(d > 0.0, d * r ** (d - 1.0), 0.0)[None]

    def between(self, theta: Array, here: Array) -> Array | None:
        """v r^d from other positions; in steps, where a step is known and r tells of parts of one."""
        if self.heterogeneous or self.positions is None:
            return None
        start, scale = float(np.min(self.positions)), float(np.ptp(self.places) / np.ptp(self.positions))
        first = float(self.places[np.argmin(self.positions)])
        d = np.abs(first + (here[:, None] - start) * scale - self.places)
        if theta[1] < 0.0:
            if np.any(np.abs(d - np.round(d)) > WHOLE):
                return None
            d = np.round(d)
        return np.asarray(theta[0] * theta[1] ** d)

    def correlations_of(self, C: Array, present: np.ndarray) -> Array:
        """Mean of the values of r that neighbouring effects have."""
        known = np.flatnonzero(present)
        known = known[np.argsort(self.places[known])]
        here, there = known[:-1], known[1:]
        if not len(here):
            return np.zeros(1)
        c, d = C[here, there], self.distances[here, there]
        if self.correlation_bounds[0] == 0.0:
            c = np.maximum(c, 0.0)
        even = d % 2 == 0  # an even power has lost the sign of r: take it from the others
        sign = np.where(even, -1.0 if np.sum(c[~even]) < 0.0 else 1.0, np.sign(c))
        return np.array([np.mean(sign * np.abs(c) ** (1.0 / d))])

    def first_correlations(self) -> Array:
        """One quarter between neighbours at their mean distance."""
        return np.array([0.25 ** (1.0 / self._gap)])


class HeterogeneousAutoregressive(Autoregressive):
    """Σ_ij = √(v_i v_j) r^d_ij."""

    keyword = "ar1h"
    heterogeneous = True


class Exponential(Autoregressive):
    """Σ_ij = v r^|x_i − x_j|."""

    keyword = "exp"
    in_steps = False

    def __init__(self, effects: Sequence[str], positions: Array | None = None):
        if positions is None:
            raise ModelError(
                f"'{self.keyword}' needs to know how far apart {', '.join(map(str, effects))} are: put a numeric "
                f"variable in front of the bar, as in {self.keyword}(time | g). For levels without distances,"
                " ar1(f | g) takes them in their order."
            )
        super().__init__(effects, np.asarray(positions, dtype=float), positions)
        if self.places.shape != (self.size,) or len(np.unique(self.places[np.isfinite(self.places)])) < self.size:
            raise ModelError(
                f"'{self.keyword}' needs one finite position for each of its {self.size} effects, no two"
                f" the same; they are {np.asarray(positions).tolist()}."
            )
        if not 1e-2 <= self._gap <= 1e6:
            raise ModelError(
                f"'{self.keyword}': neighbouring positions are {self._gap:g} apart on average, so that the correlation"
                " at distance one is 0 or 1 to the accuracy of the computer: give the variable in another unit."
            )

    @property
    def correlation_bounds(self) -> tuple[float, float]:
        return 0.0, 1.0
