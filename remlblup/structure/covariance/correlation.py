"""Σ = D R(ρ) D: what structures made of variances and a correlation pattern have in common.

D = diag(√v_1 … √v_t), with one variance for all effects or one for each. A structure of this kind gives
the correlations R(ρ), their derivatives, and ρ of a correlation matrix. With s = √v,
∂Σ/∂ρ = D Ṙ D and, for a variance per effect, ∂Σ_kj/∂v_k = R_kj s_j / (2 s_k), ∂Σ_kk/∂v_k = 1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import ModelError, NotPositiveDefiniteError
from remlblup.structure.base import Structure
from remlblup.structure.cholesky import signed_cholesky

# At a zero variance ∂Σ/∂v is infinite: standard deviations stay above this share of the largest there.
LEAST_SD = 1e-12
# Points at which a correlation is tried where the variance is zero.
GRID = 81
# Rounds in search of the direction in which several variances rise from zero.
SWEEPS = 60


class CorrelationStructure(Structure):
    """Variances (one for all effects, or one each) before the correlations ρ in θ.

    Attributes
    ----------
    heterogeneous : bool
        Whether every effect has a variance of its own.
    least_effects : int
        Number of effects below which there is nothing to correlate.
    """

    linear = False
    heterogeneous: bool = False
    least_effects = 2

    def __init__(self, effects: Sequence[str], positions: Array | None = None):
        super().__init__(effects, positions)
        if self.size < self.least_effects:
            raise ModelError(
                f"the structure '{self.keyword}' has a correlation between effects, but the term has one effect only "
                f"({', '.join(self.effects)}): write it as (1 | g), without a structure."
            )

    @property
    def correlation_names(self) -> tuple[str, ...]:
        """Names of ρ."""
        return ("correlation",)

    @property
    def correlation_bounds(self) -> tuple[float, float]:
        """Lower and upper bound of every element of ρ."""
        return -1.0, 1.0

    @abstractmethod
    def correlation(self, rho: Array) -> Array:
        """R(ρ), shape (t, t)."""

    @abstractmethod
    def correlation_derivatives(self, rho: Array) -> Array:
        """∂R/∂ρ, shape (n_correlations, t, t)."""

    @abstractmethod
    def correlations_of(self, C: Array, present: np.ndarray) -> Array:
        """ρ of a matrix of correlations, of which those of effects not `present` (no variance) are unknown."""

    @abstractmethod
    def first_correlations(self) -> Array:
        """ρ to start from: small and positive, with R(ρ) positive definite."""

    @property
    def _variances(self) -> int:
        return self.size if self.heterogeneous else 1

    @cached_property
    def names(self) -> tuple[str, ...]:
        variances = tuple(f"var({e})" for e in self.effects) if self.heterogeneous else ("variance",)
        return variances + self.correlation_names

    @cached_property
    def lower(self) -> Array:
        return np.r_[np.zeros(self._variances), np.full(len(self.correlation_names), self.correlation_bounds[0])]

    @cached_property
    def upper(self) -> Array:
        return np.r_[np.full(self._variances, np.inf), np.full(len(self.correlation_names), self.correlation_bounds[1])]

    @cached_property
    def roots(self) -> np.ndarray:
        return np.arange(self.n_parameters) < (self.size if self.heterogeneous else 0)

    def covariance(self, theta: Array) -> Array:
        R = self.correlation(theta[self._variances :])
        if not self.heterogeneous:
            return theta[0] * R
        s = np.sqrt(theta[: self.size])
        return R * np.outer(s, s)

    def derivatives(self, theta: Array) -> Array:
        v, rho = theta[: self._variances], theta[self._variances :]
        R, change = self.correlation(rho), self.correlation_derivatives(rho)
        if not self.heterogeneous:
            return np.concatenate([R[None], v[0] * change])
        s = np.sqrt(v)
        held_off = np.maximum(s, max(LEAST_SD * s.max(), 1e-150))
        d = np.zeros((self.size,) * 3)
        for k in range(self.size):
            d[k, k] = d[k, :, k] = R[k] * s / (2.0 * held_off[k])
            d[k, k, k] = 1.0
        return np.concatenate([d, change * np.outer(s, s)])

    def project(self, sigma: Array) -> Array:
        v = np.maximum(np.diag(sigma), 0.0)
        if not self.heterogeneous:
            v = np.full(self.size, v.mean())
        s = np.sqrt(v)
        inverse = np.divide(1.0, s, out=np.zeros_like(s), where=s > 0.0)
        C = sigma * inverse[:, None] * inverse
        np.fill_diagonal(C, 1.0)
        rho = np.clip(self.correlations_of(C, s > 0.0), *self.correlation_bounds)
        return np.r_[v[: self._variances], rho]

    def scaled(self, theta: Array, factor: float) -> Array:
        return np.r_[factor * theta[: self._variances], theta[self._variances :]]

    def undefined(self, theta: Array) -> np.ndarray:
        mask = np.zeros(self.n_parameters, dtype=bool)
        if not self.heterogeneous:
            mask[self._variances :] = theta[0] == 0.0
        elif np.any(theta[: self._variances] == 0.0):
            # A correlation between effects of which at most one varies.
            there = theta[: self._variances] > 0.0
            slopes = self.correlation_derivatives(theta[self._variances :])[:, there][:, :, there]
            mask[self._variances :] = ~np.any(slopes != 0.0, axis=(1, 2))
        return mask

    def lifted(self, theta: Array, S: Array, scale: Array, free: np.ndarray) -> Array | None:
        v, rho = theta[: self._variances], theta[self._variances :]
        if np.all(v > 0.0):
            return None
        may_turn = bool(free[self._variances :].all())
        if not self.heterogeneous:
            return np.r_[np.mean(scale**2), self.steepest(S) if may_turn else rho]
        best = max((self._rising(v, r, S, scale) for r in self._alike(theta, may_turn, S)), key=lambda found: found[0])
        return best[1]

    def _alike(self, theta: Array, may_turn: bool, S: Array) -> Iterator[Array]:
        """Correlations with the same Σ: where a variance is zero there can be others."""
        rho = theta[self._variances :]
        yield rho
        if not may_turn:
            return
        if len(rho) > 1:
            yield np.where(self.undefined(theta)[self._variances :], self.steepest(S), rho)
            return
        here = self.covariance(theta)
        for r in (-rho, *self.grid()[:, None]):
            inside = self.correlation_bounds[0] <= r[0] <= self.correlation_bounds[1]
            other = self.covariance(np.r_[theta[: self._variances], r]) if inside else np.nan
            if np.allclose(other, here, rtol=1e-12, atol=0.0):
                yield r

    def _rising(self, v: Array, rho: Array, S: Array, scale: Array) -> tuple[float, Array]:
        """How fast ℓ rises with the standard deviations of effects that have none, and θ with these lifted by one unit.

        ℓ changes by b'd + d'(S ∘ R)d, b_k = 2 Σ_j S_kj R_kj s_j over the effects j that vary: to first order, unless
        none rises so.
        """
        W = S * self.correlation(rho)
        none = v == 0.0
        b = 2.0 * (W @ np.sqrt(v))[none] * scale[none]
        Q = W[np.ix_(none, none)] * np.outer(scale[none], scale[none])
        d = np.maximum(b, 0.0)
        first = float(np.linalg.norm(d))
        if first == 0.0:
            d = highest_nonnegative(Q)
        value = first if first > 0.0 else float(d @ Q @ d)
        lifted = v.copy()
        lifted[none] = (scale[none] * d / max(float(np.linalg.norm(d)), 1e-300)) ** 2
        return value, np.r_[lifted, rho]

    def grid(self) -> Array:
        """Values of one correlation, evenly spaced in the coordinate of the steps."""
        power = float(self.powers[-1])
        low, high = self.correlation_bounds
        if power == 1.0:
            return np.linspace(low, high, GRID)
        return np.asarray(np.linspace(max(low, 0.0) ** power, high**power, GRID) ** (1.0 / power))

    def steepest(self, S: Array) -> Array:
        """ρ with the largest tr(S R(ρ)): of one correlation, over a grid and between its points."""
        grid = self.grid()
        values = np.array([np.sum(S * self.correlation(np.array([r]))) for r in grid])
        k = int(np.argmax(values))
        if 0 < k < len(grid) - 1:
            (below, here, above), (x, y, z) = values[k - 1 : k + 2], grid[k - 1 : k + 2]
            p, q = (here - below) / (y - x), (above - here) / (z - y)
            at = np.array([0.5 * (x + y) - p * 0.5 * (z - x) / (q - p)]) if p != q else grid[[k]]
            if np.sum(S * self.correlation(at)) > here:
                return at
        return grid[[k]]

    def margin(self, theta: Array) -> float:
        return float(np.linalg.eigvalsh(self.correlation(theta[self._variances :]))[0])

    def edge_score(self, theta: Array, S: Array) -> Array:
        """∂ℓ/∂R = D S D."""
        s = np.broadcast_to(np.sqrt(theta[: self._variances]), self.size)
        return S * np.outer(s, s)

    def start(self, sigma: Array) -> Array:
        """The variances of the guess; its correlations, or small positive ones where it has none."""
        theta = self.project(sigma)
        if not np.any(sigma - np.diag(np.diag(sigma))):
            theta[self._variances :] = self.first_correlations()
        return theta


def highest_nonnegative(Q: Array) -> Array:
    """d ≥ 0 of length one with a large d'Qd, by projected power iteration from each axis and from all of them alike."""
    n = len(Q)
    shifted = Q + np.eye(n) * max(0.0, -float(np.linalg.eigvalsh(Q)[0]))
    best = np.eye(n)[int(np.argmax(np.diag(Q)))]
    for start in (np.full(n, 1.0 / np.sqrt(n)), *np.eye(n)):
        d = start
        for _ in range(SWEEPS):
            d = np.maximum(shifted @ d, 0.0)
            length = float(np.linalg.norm(d))
            if length == 0.0:
                break
            d = d / length
        if length > 0.0 and d @ Q @ d > best @ Q @ best:
            best = d
    return best


def semidefinite(R: Array) -> bool:
    """Whether R has a factor ΛΛ' (zero pivots allowed): what the equations need of it."""
    try:
        return bool(np.all(signed_cholesky(R)[1] > 0.0))
    except NotPositiveDefiniteError:
        return False


def shrinkage(R: Array) -> float:
    """How far to shrink correlations towards zero so that they exist together: 1 for a semidefinite R."""
    if semidefinite(R):
        return 1.0
    # (1 - a) I + a R has the smallest eigenvalue 1 - a (1 - λ): here 0.01.
    return 0.99 / (1.0 - float(np.linalg.eigvalsh(R)[0]))
