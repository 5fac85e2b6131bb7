"""The protocol of a structure of R, over the records: the precision R⁻¹ = Σ_r ρ_r(φ) D_r.

A new structure is one small file that fills in this class, and its words in `remlblup.model.residual`.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from remlblup.arrays import Array
from remlblup.structure.parametric import Parametric
from remlblup.structure.residual.pattern import Pattern


class ResidualStructure(Parametric):
    """Covariance R(φ) of the records through its precision R⁻¹ = Σ_r ρ_r(φ) D_r.

    The D_r are fixed symmetric matrices, held together in one `Pattern`; only the coefficients
    ρ_r and log|R| depend on φ. The pattern is given once, when the records are known.

    A structure over a grid with empty cells (a field with plots without a record) has `size`
    n + n_filled: the n records in their order, then the cells it fills in. The equations give
    each filled cell an effect of its own, which leaves the likelihood of the records as it is.

    Attributes
    ----------
    names, lower, upper : of φ; a variance stays above 0, a correlation within its bounds
    pattern : Pattern of R⁻¹, of order n + n_filled
    n_filled : number of cells filled in
    """

    pattern: Pattern
    n_filled: int = 0
    #: Whether R⁻¹ has no fixed pattern: R stands among the random terms and V alone works with it.
    dense: bool = False

    @property
    def stands_for(self) -> ResidualStructure:
        """The residual of the model: another where this one stands among the random terms."""
        return self

    def record_variances(self, phi: Array) -> Array:
        """The variance of each record, the diagonal of R, (n,)."""
        n = self.size - self.n_filled
        if self.pattern.is_diagonal:
            return self.multiply(phi, np.ones(self.size))[:n]
        raise NotImplementedError(f"{type(self).__name__} does not say what the diagonal of R is")

    @property
    def signed(self) -> np.ndarray:
        return np.zeros(self.n_parameters, dtype=bool)

    @property
    def size(self) -> int:
        """Order of R: records and cells filled in."""
        return self.pattern.n

    @property
    def several_maxima(self) -> bool:
        return not self.variances.all()

    @abstractmethod
    def coefficients(self, phi: Array) -> Array:
        """ρ(φ), shape (pattern.n_coefficients,)."""

    @abstractmethod
    def jacobian(self, phi: Array) -> Array:
        """∂ρ/∂φ, shape (n_parameters, pattern.n_coefficients)."""

    @abstractmethod
    def logdet(self, phi: Array) -> float:
        """log|R(φ)|."""

    @abstractmethod
    def logdet_gradient(self, phi: Array) -> Array:
        """∂log|R|/∂φ, shape (n_parameters,)."""

    @abstractmethod
    def multiply(self, phi: Array, v: Array) -> Array:
        """R(φ) v for v of shape (size,) or (size, k)."""

    @abstractmethod
    def information(self, phi: Array) -> Array:
        """Complete-data information ½ tr(R⁻¹ Ṙ_i R⁻¹ Ṙ_j), shape (n_parameters, n_parameters)."""

    def maximize(self, phi: Array, moments: Array) -> Array:
        """The M step: φ that maximises E[log p(e | φ)] given moments_r = E[e' D_r e] (EM, PX-EM).

        One scoring step on that expectation unless a structure knows better; it may leave the bounds.
        """
        return phi + np.linalg.solve(self.information(phi), self.score(phi, moments))

    def score(self, phi: Array, moments: Array) -> Array:
        """∂E[log p(e | φ)]/∂φ given moments_r = E[e' D_r e]: −½ [∂log|R|/∂φ + Σ_r moments_r ∂ρ_r/∂φ]."""
        return -0.5 * (self.logdet_gradient(phi) + self.jacobian(phi) @ moments)

    @abstractmethod
    def start(self, variance: float, squares: Array) -> Array:
        """φ to start from, given a guess of the residual variance and, for each record (n,), of its square."""

    def feasible(self, phi: Array) -> bool:
        """Whether R(φ) is positive definite, for φ strictly inside its bounds."""
        return True

    def matrices(self, phi: Array) -> dict[str, tuple[tuple[str, ...], Array]]:
        """The covariance matrices that make up R, by label: the effects and Σ (t, t) over them.

        For a structure over traits or times within units one entry "", for one matrix per trial
        an entry each; empty where R is a matter of scalars.
        """
        return {}

    def matrix_derivatives(self, phi: Array) -> dict[str, Array]:
        """∂Σ/∂φ (n_parameters, t, t) of each of `matrices`."""
        return {}

    def single_variance(self, phi: Array) -> float | None:
        """The variance that all records (of weight 1) have whatever φ is; None where they have not one."""
        matrices = self.matrices(phi)
        if np.sum(self.variances) != 1 or len(matrices) > 1:
            return None
        if not matrices:
            return float(phi[self.variances][0])
        diagonal = np.concatenate([np.diag(sigma) for _, sigma in matrices.values()])
        return float(diagonal[0]) if np.ptp(diagonal) <= 1e-12 * np.max(np.abs(diagonal)) else None

    def precision(self, phi: Array, v: Array) -> Array:
        """R⁻¹ v for v of shape (size,) or (size, k)."""
        return self.pattern.times(self.coefficients(phi), v)
