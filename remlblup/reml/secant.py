"""What the average information misses of the curvature of ℓ, learnt from the steps taken.

The average information is close to −∂²ℓ/∂θ² but not equal to it, so that pure AI steps converge
linearly: fast in most models, slowly where components are poorly determined. Two consecutive
iterates show the difference: −Δg = H Δx for the true curvature H in the coordinates x of the steps.
Symmetric rank-one updates keep the part M of H beyond the model's (a structured quasi-Newton method;
Dennis, Gay & Welsch 1981).
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from scipy.linalg.lapack import dsygv

from remlblup.arrays import Array
from remlblup.reml.coordinates import TINY
from remlblup.reml.newton import Newton

# Newton decrement below which ℓ is close enough to quadratic for its curvature to be learnt.
QUADRATIC = 0.1
# M is used while every eigenvalue of the corrected curvature, relative to the model's, lies between these.
LEAST, MOST = 0.01, 100.0


class Secant:
    """M with (H_model + M) Δx = −Δg for the last steps; forgotten when the coordinates change."""

    def __init__(self) -> None:
        self.last: Newton | None = None
        self.decrement = np.inf
        self.correction: Array | None = None

    def learn(self, now: Newton, decrement: float) -> None:
        """Take in the quadratic model at a new iterate, in the coordinates of its step."""
        last, self.last = self.last, now
        before, self.decrement = self.decrement, decrement
        if last is None or max(before, decrement) > QUADRATIC or last.signature != now.signature:
            self.correction = None
            return
        change = np.where(now.free & last.free, now.x - last.x, 0.0)
        if not np.count_nonzero(change):
            return
        M = np.zeros_like(now.hessian) if self.correction is None else self.correction
        slope = now.gradient - last.gradient
        # The mean of both ends: of one end alone M would be what the model's curvature changes by on the way.
        between = 0.5 * (last.hessian + now.hessian)
        missed = np.where(change != 0.0, -slope - (between + M) @ change, 0.0)
        along = float(missed @ change)
        scale = np.sqrt(np.maximum(now.hessian.diagonal(), TINY))
        short, long = missed / scale, scale * change
        # Scale-free safeguard against a denominator that is all rounding.
        if abs(along) > 1e-6 * sqrt((short @ short) * (long @ long)):
            self.correction = M + missed[:, None] * missed / along

    def resume(self, now: Newton, decrement: float, correction: Array | None) -> None:
        """As after `learn` at an iterate, from the Newton decrement there and M."""
        self.last, self.decrement, self.correction = now, decrement, correction

    def corrected(self) -> Newton | None:
        """The last quadratic model with what was learnt, if that is needed and trustworthy."""
        if self.last is None or self.correction is None or not self.last.free.any():
            return None
        block = np.ix_(self.last.free, self.last.free)
        values, _, info = dsygv(self.correction[block], self.last.hessian[block], jobz="N")
        if info or 1.0 + values[0] < LEAST or 1.0 + values[-1] > MOST:
            return None
        return self.last.with_hessian(self.last.hessian + self.correction)
