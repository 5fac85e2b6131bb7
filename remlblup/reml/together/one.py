"""One variance beside that of independent residuals, for many responses: Newton steps in the eigenbasis of M.

With M = UdU', e = U'c and γ = σ²_u/σ²_e,

    q(γ) = s − γ Σ e_i²/(1 + γd_i),   ℓ(γ) = −½ [N log q/N + Σ log(1 + γδ_i)] + a constant,

δ = d, of ML the eigenvalues of Z'WZ (Kang et al. 2008, Genetics 178:1709; Zhou & Stephens 2012, Nature Genetics
44:821). ℓ is looked at along all of x = log γ first (`reml.line`): no maximum is missed for a nearer one.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.reml.line import APART, BEYOND
from remlblup.reml.together.outcome import Outcome, joined, limits
from remlblup.reml.together.reduction import Reduction

# Newton steps at most.
ROUNDS = 60
# Elements of an array over responses and eigenvalues: what fits into a cache.
ELEMENTS = 200_000


class OneRatio:
    """The searches of all responses of one model.

    Parameters
    ----------
    reduction : of a model with one random term of one effect
    """

    def __init__(self, reduction: Reduction):
        self.reduction = reduction
        values, vectors = np.linalg.eigh(reduction.M)
        kept = values > max(len(values), 1) * np.finfo(float).eps * max(float(values[-1]), 0.0)
        self.d, self.vectors = values[kept], vectors[:, kept]
        self.delta = self.d
        if reduction.ml:
            whole = np.linalg.eigvalsh(reduction.whole)
            self.delta = whole[whole > len(whole) * np.finfo(float).eps * whole[-1]]
        x = np.log(1.0 / self.d)
        self.grid = np.exp(np.arange(x.min() - BEYOND, x.max() + BEYOND + APART, APART))

    def maximize(self, Y: Array, tolerance: float, information: bool = False) -> Outcome:
        """The maxima of the responses Y (n, B), offsets taken off; some at a time."""
        step = max(16, ELEMENTS // max(len(self.d), 1))
        return joined([self._maximize(Y[:, k : k + step], tolerance, information) for k in range(0, Y.shape[1], step)])

    def _maximize(self, Y: Array, tolerance: float, information: bool) -> Outcome:
        reduction, d = self.reduction, self.d
        c, s, beta_ols = reduction.responses(Y)
        squares = (c @ self.vectors) ** 2
        gamma, steps, delta, change = self._climbed(squares, s, tolerance)
        q, slope, curvature = self._at(gamma, squares, s)
        N = reduction.freedom
        sigma2 = q / N
        theta = np.column_stack([gamma * sigma2, sigma2])
        at_zero = gamma == 0.0
        loglik = reduction.log_likelihood(q, np.log1p(gamma[:, None] * self.delta).sum(axis=1))
        information_ = self._information(theta, squares, s, q)
        with np.errstate(divide="ignore", invalid="ignore"):
            # In x = log γ, or at γ = 0 in γ itself.
            step = np.where(at_zero, 0.0, slope * gamma)
            bend = np.where(at_zero, 1.0, -(curvature * gamma**2 + slope * gamma))
            gradient = np.where(bend > 0.0, np.abs(step) / np.sqrt(bend), np.where(step == 0.0, 0.0, np.inf))
            inward = np.where(at_zero & (slope > 0.0), slope / sigma2 / np.sqrt(information_[:, 0, 0]), 0.0)
        checks = np.column_stack([delta, change, gradient, gradient**2, inward])
        converged = np.all(checks <= limits(tolerance), axis=1) & (q > 0.0)
        u = (gamma[:, None] / (1.0 + gamma[:, None] * d) * (c @ self.vectors)) @ self.vectors.T
        beta = beta_ols - u @ reduction.of_random.T
        boundary = np.column_stack([at_zero, np.zeros_like(at_zero)])
        return Outcome(theta, loglik, beta, checks, converged, steps, boundary, information_ if information else None)

    def _at(self, gamma: Array, squares: Array, s: Array) -> tuple[Array, Array, Array]:
        """q, and slope and curvature of ℓ by γ, of every response."""
        N, d = self.reduction.freedom, self.d
        v = 1.0 / (1.0 + gamma[:, None] * d)
        of = squares * v
        q = s - gamma * of.sum(axis=1)
        of *= v
        first = of.sum(axis=1)
        of *= v * d
        second = 2.0 * of.sum(axis=1)
        w = self.delta * (v if self.delta is d else 1.0 / (1.0 + gamma[:, None] * self.delta))
        slope = -0.5 * (w.sum(axis=1) - N * first / q)
        curvature = -0.5 * (-np.einsum("ij,ij->i", w, w) + N * (second / q - (first / q) ** 2))
        return q, slope, curvature

    def _climbed(self, squares: Array, s: Array, tolerance: float) -> tuple[np.ndarray, ...]:
        """γ, number of steps, |Δℓ| and relative |Δγ| of the last one."""
        N, d, grid = self.reduction.freedom, self.d, np.r_[0.0, self.grid]
        q = s[:, None] - squares @ (grid / (1.0 + np.outer(d, grid)))
        logdet = np.log1p(np.outer(grid, self.delta)).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = -0.5 * (N * np.log(np.where(q > 0.0, q, np.nan)) + logdet)
        best = np.nanargmax(np.where(np.isnan(values), -np.inf, values), axis=1)
        slope_at_zero = self._at(np.zeros(len(s)), squares, s)[1]
        # Between zero and the first point of the grid ℓ has no room for a maximum unless it rises from zero.
        zero = (best == 0) & (slope_at_zero <= 0.0)
        best = np.where((best == 0) & ~zero, 1, best)
        low = np.log(grid[np.maximum(best - 1, 1)]) - APART
        high = np.log(grid[np.minimum(best + 1, len(grid) - 1)]) + APART
        x = np.log(grid[np.maximum(best, 1)])
        delta, change = np.zeros(len(s)), np.zeros(len(s))
        steps = np.ones(len(s), dtype=np.int64)
        going = np.flatnonzero(~zero)
        for _ in range(ROUNDS):
            if not len(going):
                break
            gamma = np.exp(x[going])
            _, slope, curvature = self._at(gamma, squares[going], s[going])
            g, h = slope * gamma, curvature * gamma**2 + slope * gamma
            # The maximum lies where the slope changes its sign: what a step may not leave.
            up = g > 0.0
            low[going] = np.where(up, x[going], low[going])
            high[going] = np.where(up, high[going], x[going])
            with np.errstate(divide="ignore", invalid="ignore"):
                new = x[going] - g / h
            inside = (h < 0.0) & (new > low[going]) & (new < high[going])
            new = np.where(inside, new, 0.5 * (low[going] + high[going]))
            step = np.where(g == 0.0, 0.0, new - x[going])
            x[going] += step
            steps[going] += 1
            delta[going] = np.where(inside, 0.5 * np.abs(g * step), np.abs(g * step))
            change[going] = np.abs(step)
            going = going[np.abs(step) > 1e-4 * np.sqrt(tolerance)]
        return np.where(zero, 0.0, np.exp(x)), steps, delta, change

    def _information(self, theta: Array, squares: Array, s: Array, q: Array) -> Array:
        """Average information about σ²_u and σ²_e, (B, 2, 2): ½ f'Pf, f = V̇Py; by Σ_j θ_j V̇_j = V."""
        d, (genetic, residual) = self.d, theta.T
        v = genetic[:, None] * d + residual[:, None]
        # y'PV̇_u P y = Σ e²/v² and y'PV̇_u PV̇_u Py = Σ d e²/v³
        own = np.sum(squares / v**2, axis=1)
        uu = np.sum(d * squares / v**3, axis=1)
        ue = (own - genetic * uu) / residual
        quadratic = q / residual  # y'Py
        ee = ((quadratic - genetic * own) / residual - genetic * ue) / residual
        return 0.5 * np.stack([np.stack([uu, ue], axis=1), np.stack([ue, ee], axis=1)], axis=1)
