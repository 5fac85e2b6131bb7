"""``fa``: factor analytic, Σ = ΓΓ' + Ψ with Γ (t × k) and Ψ = diag(ψ), ψ ≥ 0.

As in Smith, Cullis & Thompson (2001, Biometrics 57:1138) for variety by environment effects. ψ of a
given Σ minimises ½‖C − Ψ − ΓΓ'‖² over Γ and ψ (unweighted least squares; Harman & Jones 1966), with
the approximate Hessian of Jöreskog (1977): (NN')∘(NN'), N the eigenvectors of C − Ψ left out of Γ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import ModelError
from remlblup.structure.base import Structure
from remlblup.structure.covariance.loadings import Loadings, standardized
from remlblup.structure.covariance.unstructured import Unstructured

# Share of a variance that the factors take in the start values.
COMMON = 0.6
# Other starts tried to find ψ of a matrix that is not yet reproduced.
STARTS = 12
# Effects up to which a few rounds of `us` are worth their cost,
# and the least share of a variance in a start made of them.
MOST_GUESSED, LEAST_SPECIFIC = 12, 0.02


class FactorAnalytic(Structure):
    """Σ(θ) = ΓΓ' + Ψ; θ the specific variances ψ, then the loadings column by column."""

    keyword = "fa"
    options = ("k",)
    linear = False

    def __init__(self, effects: Sequence[str], positions: Array | None = None, k: int = 1):
        super().__init__(effects, positions)
        self.factors = Loadings(self.keyword, self.effects, k)
        t, most = self.size, self.size * (self.size + 1) // 2
        if self.n_parameters > most:
            largest = max((m for m in range(t) if t * (m + 1) - m * (m - 1) // 2 <= most), default=0)
            advice = f"take k={largest} or less" if largest else "fa needs at least 3 effects"
            raise ModelError(
                f"fa(…, k={k}) over {t} effects has {self.n_parameters} parameters, more than the {most} elements of"
                f" its covariance matrix: {advice}, or write us(…) with every element free."
            )

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"specific({e})" for e in self.effects) + self.factors.names

    @cached_property
    def lower(self) -> Array:
        return np.r_[np.zeros(self.size), np.full(len(self.factors), -np.inf)]

    def loadings(self, theta: Array) -> Array:
        """Γ, shape (t, k)."""
        return self.factors.matrix(theta[self.size :])

    def specific(self, theta: Array) -> Array:
        """ψ, shape (t,)."""
        return theta[: self.size]

    def covariance(self, theta: Array) -> Array:
        gamma = self.loadings(theta)
        return np.asarray(gamma @ gamma.T + np.diag(self.specific(theta)))

    def derivatives(self, theta: Array) -> Array:
        d = np.zeros((self.size,) * 3)
        index = np.arange(self.size)
        d[index, index, index] = 1.0
        return np.concatenate([d, self.factors.product_derivatives(theta[self.size :])])

    def first_guess(self) -> Structure | None:
        return Unstructured(self.effects) if self.factors.k > 1 and self.size <= MOST_GUESSED else None

    def guessed(self, sigma: Array) -> Array | None:
        """The projection of Σ, away from the bounds of ψ; None if that leaves a factor without loadings."""
        v, theta = np.diag(sigma), self.project(sigma)
        if np.any(v <= 0.0):
            return None
        shares = np.sum(self.loadings(theta) ** 2 / v[:, None], axis=0)
        psi = np.maximum(theta[: self.size], LEAST_SPECIFIC * v)
        return np.r_[psi, theta[self.size :]] if np.all(shares > LEAST_SPECIFIC) else None

    def scaled(self, theta: Array, factor: float) -> Array:
        return np.r_[factor * theta[: self.size], np.sqrt(factor) * theta[self.size :]]

    def loading_derivatives(self, theta: Array) -> Array:
        gamma = self.factors.derivatives
        return np.concatenate([np.zeros((self.size, *gamma.shape[1:])), gamma])

    def project(self, sigma: Array) -> Array:
        """Least squares on the correlations, so that the units of the effects play no part."""
        s, C = standardized(sigma)
        psi = specific_shares(C, self.factors.k)
        gamma = self.factors.rotated(self.factors.principal(C - np.diag(psi)))
        return np.r_[s**2 * psi, self.factors.vector(s[:, None] * gamma)]

    def start(self, sigma: Array) -> Array:
        """The variances of the guess, shared between factors and specific effects: Γ = 0 is a saddle point."""
        v = np.maximum(np.diag(sigma), 0.0)
        return np.r_[(1.0 - COMMON) * v, self.factors.vector(self.factors.first(COMMON * v))]


def specific_shares(C: Array, k: int) -> Array:
    """ψ between 0 and the diagonal of C for which C − Ψ is nearest to rank k, positive semidefinite."""
    top = np.diag(C)
    precision = np.diag(np.linalg.inv(C + np.diag(np.where(top > 0.0, 1e-8, 1.0))))
    best, least = top, np.inf
    # Jöreskog's start, then others: there may be local minima.
    others = np.random.default_rng(0).uniform(size=(STARTS, len(C)))
    for first in ((1.0 - 0.5 * k / len(C)) / precision, *others):
        psi, value = _descend(C, k, np.minimum(first, top))
        if value < least:
            best, least = psi, value
        if least < 1e-24:
            break
    return best


def _descend(C: Array, k: int, psi: Array, most: int = 200) -> tuple[Array, float]:
    """Newton steps on ½ Σ λ² over the eigenvalues λ of C − Ψ that k factors leave over."""
    top = np.diag(C)
    value, step_up, hessian = _left_over(C, k, psi)
    for _ in range(most):
        free = ~((psi <= 0.0) & (step_up < 0.0) | (psi >= top) & (step_up > 0.0))
        if not free.any() or np.max(np.abs(step_up[free])) < 1e-16:
            break
        step = np.zeros_like(psi)
        step[free] = np.linalg.lstsq(hessian[np.ix_(free, free)], step_up[free], rcond=1e-12)[0]
        for fraction in 0.5 ** np.arange(30):
            trial = np.clip(psi + fraction * step, 0.0, top)
            new = _left_over(C, k, trial)
            if new[0] < value:
                break
        else:
            break
        gain, psi, (value, step_up, hessian) = value - new[0], trial, new
        if gain < 1e-14 * value:
            break
    return psi, value


def _left_over(C: Array, k: int, psi: Array) -> tuple[float, Array, Array]:
    """½ Σ λ², minus its gradient in ψ, and its approximate Hessian."""
    values, vectors = np.linalg.eigh(C - np.diag(psi))
    left = (np.arange(len(C)) < len(C) - k) | (values <= 0.0)
    values, N = values[left], vectors[:, left]
    return 0.5 * float(values @ values), N**2 @ values, (N @ N.T) ** 2
