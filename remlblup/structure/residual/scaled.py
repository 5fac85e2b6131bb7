"""R(φ) = σ² W^-½ C(r) W^-½: what the structures with one scale σ² and a shape C(r) have in common.

With φ = (σ², r), s_j = ∂log|C|/∂r_j and I_jk = ½ tr(C⁻¹Ċ_j C⁻¹Ċ_k):

    ρ = ρ_C(r)/σ²,    log|R| = n log σ² + log|C| − Σ log w,
    information = [ n/(2σ⁴)  s'/(2σ²) ]
                  [ .        I        ].
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.residual.base import ResidualStructure

# A step of `maximize` is halved at most this often before φ stays where it is.
HALVINGS = 40


class Scaled(ResidualStructure):
    """φ = ("variance", shape parameters r); a subclass gives C(r) and sets `pattern`, with the weights in its values.

    Attributes
    ----------
    shape_names : names of the parameters r
    weights : (size,) known weights w > 0, or None where all are 1
    """

    shape_names: tuple[str, ...]
    weights: Array | None = None

    @abstractmethod
    def shape_coefficients(self, r: Array) -> Array:
        """ρ_C(r) with W^½ C⁻¹ W^½ = Σ_r ρ_r D_r."""

    @abstractmethod
    def shape_jacobian(self, r: Array) -> Array:
        """∂ρ_C/∂r, shape (len(r), n_coefficients)."""

    @abstractmethod
    def shape_logdet(self, r: Array) -> float:
        """log|C(r)|."""

    @abstractmethod
    def shape_gradient(self, r: Array) -> Array:
        """∂log|C|/∂r."""

    @abstractmethod
    def shape_information(self, r: Array) -> Array:
        """½ tr(C⁻¹Ċ_j C⁻¹Ċ_k)."""

    @abstractmethod
    def shape_multiply(self, r: Array, v: Array) -> Array:
        """C(r) v for v (size, k)."""

    @abstractmethod
    def shape_derivatives(self, r: Array) -> Array:
        """∂C/∂r over the records, (len(r), n, n), on the bounds of r too."""

    @abstractmethod
    def shape_start(self) -> Array:
        """r to start from."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        return ("variance", *self.shape_names)

    @cached_property
    def lower(self) -> Array:
        return np.array([0.0, *(-1.0 for _ in self.shape_names)])

    @cached_property
    def upper(self) -> Array:
        return np.array([np.inf, *(1.0 for _ in self.shape_names)])

    def record_variances(self, phi: Array) -> Array:
        n = self.size - self.n_filled
        if self.pattern.is_diagonal:
            return super().record_variances(phi)
        return np.full(n, phi[0]) if self.weights is None else phi[0] / self.weights[:n]

    def coefficients(self, phi: Array) -> Array:
        return self.shape_coefficients(phi[1:]) / phi[0]

    def jacobian(self, phi: Array) -> Array:
        by_scale = -self.coefficients(phi) / phi[0]
        return np.vstack([by_scale, self.shape_jacobian(phi[1:]) / phi[0]])

    def logdet(self, phi: Array) -> float:
        of_weights = 0.0 if self.weights is None else float(np.sum(np.log(self.weights)))
        return self.pattern.n * float(np.log(phi[0])) + self.shape_logdet(phi[1:]) - of_weights

    def logdet_gradient(self, phi: Array) -> Array:
        return np.concatenate([[self.pattern.n / phi[0]], self.shape_gradient(phi[1:])])

    def multiply(self, phi: Array, v: Array) -> Array:
        columns = v.reshape(len(v), -1)
        if self.weights is None:
            out = self.shape_multiply(phi[1:], columns)
        else:
            root = np.sqrt(self.weights)[:, None]
            out = self.shape_multiply(phi[1:], columns / root) / root
        return (phi[0] * out).reshape(v.shape)

    def derivatives(self, phi: Array) -> Array:
        """∂R/∂φ over the n records, (n_parameters, n, n): where R is singular and R⁻¹ tells nothing."""
        n = self.size - self.n_filled
        by_scale = self.multiply(np.concatenate([[1.0], phi[1:]]), np.eye(self.size, n))[:n]
        root = np.ones(n) if self.weights is None else np.sqrt(self.weights)
        by_shape = phi[0] * self.shape_derivatives(phi[1:]) / np.outer(root, root)
        return np.concatenate([by_scale[None], by_shape])

    def information(self, phi: Array) -> Array:
        across = 0.5 * self.shape_gradient(phi[1:]) / phi[0]
        corner = 0.5 * self.pattern.n / phi[0] ** 2
        return np.block([[np.array([[corner]]), across[None]], [across[:, None], self.shape_information(phi[1:])]])

    def start(self, variance: float, squares: Array) -> Array:
        return np.concatenate([[variance], self.shape_start()])

    def maximize(self, phi: Array, moments: Array) -> Array:
        """One scoring step in r on the expected log-likelihood with σ² at its maximum, then σ² itself.

        The step is halved until it stays inside the bounds and does not lower that likelihood (a
        generalised M step), so that EM stays monotone.
        """
        n = self.pattern.n

        def scale(r: Array) -> float:
            return float(self.shape_coefficients(r) @ moments) / n

        def profile(r: Array) -> float:
            return -0.5 * (n * float(np.log(scale(r))) + self.shape_logdet(r))

        r = phi[1:]
        variance = scale(r)
        s = self.shape_gradient(r)
        score = -0.5 * (s + self.shape_jacobian(r) @ moments / variance)
        # The information on r with σ² profiled out: the Schur complement of the corner.
        step = np.linalg.solve(self.shape_information(r) - 0.5 * np.outer(s, s) / n, score)
        here = profile(r)
        for _ in range(HALVINGS):
            new = r + step
            inside = np.all((new > self.lower[1:]) & (new < self.upper[1:]))
            if inside and self.feasible(np.concatenate([[1.0], new])) and profile(new) >= here:
                return np.concatenate([[scale(new)], new])
            step = 0.5 * step
        return np.concatenate([[variance], r])
