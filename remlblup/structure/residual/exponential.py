"""``exp`` and ``ar1`` over one axis: the correlation of two records of a subject is r^distance.

The Ornstein–Uhlenbeck process at any positions (Diggle 1988, *Biometrics* 44:959) and its discrete
counterpart. Both are Markov along the axis, so that R⁻¹ is tridiagonal in the order of the records
within a subject and every quantity has a closed form in the distinct gaps (see `chain`).
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.cached import cached_property
from remlblup.errors import DataError, some
from remlblup.structure.chain import chain_multiply, distinct_gaps, log_q, steps
from remlblup.structure.residual.pattern import Pattern
from remlblup.structure.residual.scaled import Scaled


def rounding_of(x: Array) -> float:
    """Differences of x below this are rounding error of x."""
    return 16.0 * float(np.finfo(float).eps) * float(np.max(np.abs(x), initial=0.0))


class Exponential(Scaled):
    """R = σ² r^|x_i − x_j| within a subject, 0 <= r < 1 the correlation at distance 1; subjects are independent.

    Coefficients of R⁻¹: 1/σ² for the diagonal, then a²/q/σ² and −a/q/σ² for each distinct gap d, a = r^d.

    Parameters
    ----------
    x : (n,) positions, in any order
    subject : (n,) int codes
    weights : (n,) known weights; record i has variance σ²/w_i

    Raises
    ------
    DataError
        If a subject has two records at one position, or no subject has two records.
    """

    keyword = "exp"
    shape_names = ("correlation",)

    def __init__(self, x: Array, subject: Index, weights: Array | None = None):
        x, subject = np.asarray(x, float), np.asarray(subject)
        order, gaps, near = self._neighbours(x, subject)
        if np.any(gaps <= rounding_of(x)):
            raise DataError(
                f"subjects {some(self.repeated(x, subject).tolist())} have more than one record at the same position: "
                "records of a subject need different positions."
            )
        if not len(gaps):
            raise DataError("no subject has two records, so that there is no correlation to estimate.")
        self.weights = None if weights is None else np.asarray(weights, float)
        self.x = x
        self.order = order
        self.near = near
        self.x, self.subject = x, subject
        self.gaps, self.gap = distinct_gaps(gaps, rounding_of(x))
        self.times = np.bincount(self.gap).astype(float)
        self.median = float(np.median(gaps))
        if not 1e-2 <= self.median <= 1e6:
            raise DataError(
                f"records of a subject are {self.median:g} apart in the median, so that the correlation at distance one"
                " is 0 or 1 to the accuracy of the computer: give the variable in another unit."
            )
        self.pattern = self._pattern()

    @staticmethod
    def _neighbours(x: Array, subject: Index) -> tuple[Index, Array, Index]:
        """Records sorted by subject and x; the gaps between neighbours, and their places in that order."""
        order = np.lexsort((x, subject))
        near = np.flatnonzero(np.diff(subject[order]) == 0)
        return order, x[order[near + 1]] - x[order[near]], near

    @classmethod
    def repeated(cls, x: Array, subject: Index) -> Index:
        """Codes of the subjects that have more than one record at the same position."""
        x, subject = np.asarray(x, float), np.asarray(subject)
        order, gaps, near = cls._neighbours(x, subject)
        return np.unique(subject[order[near[gaps <= rounding_of(x)]]])

    def _pattern(self) -> Pattern:
        n = len(self.order)
        w = np.ones(n) if self.weights is None else self.weights
        first, second = self.order[self.near], self.order[self.near + 1]
        ends, beside = 1 + 2 * self.gap, 2 + 2 * self.gap
        every = np.arange(n)
        return Pattern(
            n,
            np.concatenate([every, first, second, np.maximum(first, second)]),
            np.concatenate([every, first, second, np.minimum(first, second)]),
            np.concatenate([np.zeros(n, np.int64), ends, ends, beside]),
            np.concatenate([w, w[first], w[second], np.sqrt(w[first] * w[second])]),
            1 + 2 * len(self.gaps),
        )

    @cached_property
    def lower(self) -> Array:
        return np.zeros(2)

    @property  # not kept: what is kept is the one it asks
    def powers(self) -> Array:
        # In r^d of the smallest gap ℓ has a slope at r = 0; in that of a larger one it would be infinite there.
        return np.array([1.0, self.gaps.min()])

    def _steps(self, r: Array) -> tuple[Array, Array, Array]:
        return steps(float(r[0]), self.gaps)

    def shape_coefficients(self, r: Array) -> Array:
        a, q, _ = self._steps(r)
        return np.concatenate([[1.0], np.column_stack([a * a / q, -a / q]).ravel()])

    def shape_jacobian(self, r: Array) -> Array:
        a, q, slope = self._steps(r)
        by_gap = np.column_stack([2.0 * a, -(1.0 + a * a)]) * (slope / q**2)[:, None]
        return np.concatenate([[0.0], by_gap.ravel()])[None]

    def shape_logdet(self, r: Array) -> float:
        a, q, _ = self._steps(r)
        return float(self.times @ log_q(a, q))

    def shape_gradient(self, r: Array) -> Array:
        a, q, slope = self._steps(r)
        return np.array([-2.0 * float(self.times @ (a * slope / q))])

    def shape_information(self, r: Array) -> Array:
        """Σ ȧ²(1 + a²)/q²: each record given the one before is N(a e, σ²q)."""
        a, q, slope = self._steps(r)
        return np.array([[float(self.times @ (slope**2 * (1.0 + a * a) / q**2))]])

    def shape_multiply(self, r: Array, v: Array) -> Array:
        a = np.zeros(len(self.order) - 1)
        a[self.near] = self._steps(r)[0][self.gap]
        out = np.empty(v.shape)
        out[self.order] = chain_multiply(a, v[self.order])
        return out

    def shape_derivatives(self, r: Array) -> Array:
        """d r^(d − 1) of two records of a subject at distance d."""
        distance = np.abs(self.x[:, None] - self.x)
        together = (self.subject[:, None] == self.subject) & (distance > 0.0)
        return np.where(together, steps(float(r[0]), np.where(together, distance, 1.0))[2], 0.0)[None]

    def shape_start(self) -> Array:
        # Half at the median gap, whatever the unit of x.
        return np.array([0.5 ** (1.0 / self.median)])


class Autoregressive(Exponential):
    """``ar1``: R = σ² r^|s − t| within a subject over occasions numbered in whole steps, any of them missing.

    −1 < r < 1 where neighbours of some subject are one step apart, else 0 <= r < 1 as in `Exponential`: a power of a
    negative r would only say whether a number of steps is odd.

    Parameters
    ----------
    occasion : (n,) whole numbers, where the occasions lie
    subject, weights : as in `Exponential`
    """

    keyword = "ar1"

    def __init__(self, occasion: Index, subject: Index, weights: Array | None = None):
        occasion = np.asarray(occasion)
        if np.any(occasion != np.round(occasion)):
            raise DataError("the occasions of 'ar1' must be integers; use 'exp' for uneven times.")
        super().__init__(occasion.astype(float), subject, weights)
        self._one_step = self.gaps.min() == 1.0

    @cached_property
    def lower(self) -> Array:
        return np.array([0.0, -1.0 if self._one_step else 0.0])

    @property  # not kept: what is kept is the one it asks
    def powers(self) -> Array:
        return np.ones(2) if self._one_step else super().powers
