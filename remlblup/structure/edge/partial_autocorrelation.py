"""Coordinates of a Toeplitz correlation matrix near the edge: its partial autocorrelations π_k = cos ψ_k.

By the Durbin–Levinson recursion (Barndorff-Nielsen & Schou 1973, J. Multivar. Anal. 3:408) every π in [−1, 1] gives a
positive semidefinite R and each positive definite R one π inside. With the prediction error
E_k = ∏_{j ≤ k} (1 − π_j²), R is singular where |π_k| = 1; what follows k is then determined by what precedes it.

The autocorrelations of all such R are the convex hull of the curve (cos ω, cos 2ω, …) (Carathéodory; Grenander & Szegő
1958, section 4.1), so that ρ is a maximum for a score g only if Σ_k g_k (cos kω − ρ_k) ≤ 0 for every ω: a
polynomial in cos ω.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.polynomial import chebyshev

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.edge.base import SNAP, Edge, Inward

# Steps of the derivatives: imaginary for the first ones, exact to rounding; real for the second ones, exact to 1e-8.
IMAGINARY, REAL = 1e-30, 1e-4
# Most points of the curve added in search of the nearest one of its hull.
ROUNDS = 60
# What is added to the curvature of a quadratic model, where lags are all but exchangeable.
RIDGE = 1e-8


def autocorrelations(partial: Array) -> Array:
    """ρ_1 … ρ_n of the partial autocorrelations π_1 … π_n, real or complex."""
    rho = np.zeros_like(partial)
    phi = np.zeros_like(partial)
    error = partial.dtype.type(1.0)
    for k, pi in enumerate(partial):
        rho[k] = phi[:k] @ rho[:k][::-1] + pi * error
        phi[:k] = phi[:k] - pi * phi[:k][::-1]
        phi[k] = pi
        error *= 1.0 - pi * pi
    return rho


def partial_autocorrelations(rho: Array) -> tuple[Array, int]:
    """π of ρ and the rank of R: where E_k falls below `SNAP`, π_k is ±1 and the rest, which is void, zero."""
    partial = np.zeros_like(rho)
    phi = np.zeros_like(rho)
    error = 1.0
    for k, r in enumerate(rho):
        pi = float((r - phi[:k] @ rho[:k][::-1]) / error)
        if error * (1.0 - pi * pi) < SNAP:
            partial[k] = np.sign(pi)
            return partial, k + 1
        partial[k] = pi
        phi[:k] = phi[:k] - pi * phi[:k][::-1]
        phi[k] = pi
        error *= 1.0 - pi * pi
    return partial, len(rho) + 1


def lag_sums(S: Array) -> Array:
    """∂ℓ/∂ρ (t − 1,) from the score matrix ∂ℓ/∂R (t, t)."""
    return np.array([2.0 * np.trace(S, lag) for lag in range(1, len(S))])


def highest(g: Array) -> Array:
    """The point (cos ω, cos 2ω, …) of the curve with the largest product with g."""
    series = np.r_[0.0, g]
    roots = chebyshev.chebroots(chebyshev.chebder(series)) if np.any(g) else np.zeros(0)
    places = np.r_[-1.0, np.clip(roots[np.abs(roots.imag) < 1e-6].real, -1.0, 1.0), 1.0]
    best = places[int(np.argmax(chebyshev.chebval(places, series)))]
    return np.cos(np.arange(1, len(series)) * np.arccos(best))


def steepest(S: Array) -> Array:
    """ρ of the Toeplitz correlation matrix R with the largest tr(SR)."""
    return highest(lag_sums(S))


def highest_quadratic(rho: Array, g: Array, H: Array) -> Array | None:
    """The point of the hull with the largest g'd − ½ d'Hd, d its distance from `rho`;
    None if H says nothing of some lag.

    With H = LL' that is the point nearest to ρ + H⁻¹g in the norm |L'd|: a problem of nonnegative least squares in the
    weights of points of the curve, to which the best one for the present slope is added until none is better
    (Wolfe 1976, Math. Program. 11:128).
    """
    if np.min(np.diag(H)) <= 0.0:
        return None
    H = H + np.diag(RIDGE * np.diag(H))
    try:
        root = np.linalg.cholesky(H).T
    except np.linalg.LinAlgError:
        return None
    from scipy.optimize import nnls  # a heavy import

    centre = rho + np.linalg.solve(H, g)
    n = len(rho)
    lags = np.arange(1, n + 1)
    points = np.cos(np.outer(np.linspace(0.0, np.pi, 8 * n + 1), lags))
    for _ in range(ROUNDS):
        away = (points - centre) @ root.T
        size = np.max(np.abs(away))
        # The nearest point of a hull to zero: ∑w = 1 as one more equation, which only scales w.
        weights = nnls(np.vstack([away.T / size, np.ones(len(points))]), np.r_[np.zeros(n), 1.0])[0]
        used = weights > 0.0
        points, weights = points[used], weights[used] / weights.sum()
        found = weights @ points
        slope = H @ (centre - found)
        ahead = highest(slope)
        if slope @ (ahead - found) <= 1e-14 * np.sum(np.abs(slope)) or (points == ahead).all(axis=1).any():
            break
        points = np.vstack([points, ahead])
    return np.asarray(found)


class PartialAutocorrelations(Edge):
    """The coordinates around ρ.

    Parameters
    ----------
    rho : (n,) autocorrelations
    """

    def __init__(self, rho: Array):
        self.partial, self.rank = partial_autocorrelations(rho)
        self.rho = autocorrelations(self.partial) if self.singular else rho
        self.x = np.arccos(self.partial)
        self.on_face = np.arange(len(rho)) < (self.rank - 1 if self.singular else len(rho))

    @property
    def singular(self) -> bool:
        return self.rank <= len(self.partial)

    @property
    def signature(self) -> Hashable:
        return self.rank, float(self.partial[self.rank - 1]) if self.singular else 0.0

    def _slopes(self, partial: Array) -> Array:
        """∂ρ/∂π."""
        n = len(partial)
        return np.column_stack(
            [autocorrelations(partial + IMAGINARY * 1j * np.eye(n)[j]).imag / IMAGINARY for j in range(n)]
        )

    @cached_property
    def _jacobian(self) -> Array:
        slopes = -np.sqrt(1.0 - self.partial**2) * self._slopes(self.partial)
        return np.where(self.on_face, slopes, 0.0)

    def jacobian(self) -> Array:
        return self._jacobian

    def curvature(self, S: Array) -> Array:
        g, n = lag_sums(S), len(self.x)
        bend = np.empty((n, n))
        for j in range(n):
            ahead, behind = (self.x + side * REAL * np.eye(n)[j] for side in (1.0, -1.0))
            bend[j] = sum(
                side * (-np.sin(x) * (g @ self._slopes(np.cos(x)))) / (2.0 * REAL)
                for side, x in ((1.0, ahead), (-1.0, behind))
            )
        bend = np.where(np.outer(self.on_face, self.on_face), -0.5 * (bend + bend.T), 0.0)
        values, vectors = np.linalg.eigh(bend)
        return np.asarray((vectors * np.abs(values)) @ vectors.T)

    def moved(self, step: Array) -> Array:
        partial = np.cos(self.x + step)
        if self.singular:  # the void ones stay void
            partial[self.rank - 1 :] = self.partial[self.rank - 1 :]
        rho = np.clip(autocorrelations(partial), -1.0, 1.0)
        new = PartialAutocorrelations(rho)
        return np.clip(new.rho, -1.0, 1.0)

    def inward(self, S: Array) -> Inward:
        J = self._jacobian[:, self.on_face]
        g = lag_sums(S)
        g = g - J @ np.linalg.lstsq(J, g, rcond=1e-12)[0]  # what a step along the face leaves
        change = highest(g) - self.rho
        # At ρ itself, a corner of the hull, there is nothing but rounding.
        value = float(g @ change) if np.max(np.abs(change), initial=0.0) > 1e-8 else 0.0
        return Inward(value, change, lambda amount: self.rho + min(amount, 0.5) * change)

    def best(self, gradient: Array, information: Array) -> Array | None:
        return highest_quadratic(self.rho, gradient, information)
