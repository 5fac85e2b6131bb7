"""The protocols of a covariance structure: G over the effects of a term, R over the records.

A new structure is one small file that fills in one of these two classes and one line in
`remlblup.structure.table`. Nothing else changes: the equations and the REML loop only see
Σ(θ), its derivatives and its factor Λ (for G), or the precision R⁻¹ = Σ_r ρ_r(φ) D_r (for R).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from remlblup.errors import NotPositiveDefiniteError, VarianceError

Array = npt.NDArray[np.float64]

# A pivot of Σ below this share of its diagonal element is zero: Σ is then taken as singular.
SINGULAR = 1e-12


class Structure(ABC):
    """Covariance Σ(θ), t × t, of a random term over its t effects: G = Σ(θ) ⊗ K.

    Parameters
    ----------
    effects : sequence of str
        Names of the t effects (intercept and slopes, sites, traits).

    Attributes
    ----------
    names : tuple of str
        One name per parameter in θ.
    lower : (n_parameters,) array
        Lower bound of each parameter when variances are kept in the parameter space
        (0 for a variance, -inf where there is none).
    cone : bool
        True if θ = vech(Σ) and positive semidefiniteness couples the parameters, so that the
        boundary is a face of the cone of covariance matrices and not a simple bound.
    slots : tuple of (int, int)
        The entries (i, a) of the lower triangular factor Λ that may differ from zero.
    """

    keyword: str
    cone: bool = False

    def __init__(self, effects: Sequence[str]):
        self.effects = tuple(effects)

    @property
    def size(self) -> int:
        """Number of effects, t."""
        return len(self.effects)

    @property
    def n_parameters(self) -> int:
        """Length of θ."""
        return len(self.names)

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Parameter names in the order of θ."""

    @property
    @abstractmethod
    def lower(self) -> Array:
        """Lower bounds of θ."""

    @property
    @abstractmethod
    def slots(self) -> tuple[tuple[int, int], ...]:
        """Positions of Λ that may be nonzero, row by row."""

    @abstractmethod
    def covariance(self, theta: Array) -> Array:
        """Σ(θ), shape (t, t)."""

    @abstractmethod
    def derivatives(self, theta: Array) -> Array:
        """∂Σ/∂θ, shape (n_parameters, t, t)."""

    @abstractmethod
    def project(self, sigma: Array) -> Array:
        """θ of the matrix of this structure nearest to `sigma` (the EM update of a linear structure)."""

    def parameters_of(self, sigma: Array) -> Array:
        """θ such that Σ(θ) = `sigma`; raises `VarianceError` where `sigma` is not of this structure."""
        theta = self.project(sigma)
        if not np.allclose(self.covariance(theta), sigma, rtol=1e-10, atol=0):
            raise VarianceError(
                f"this matrix is not of the structure '{self.keyword}' over {list(self.effects)}: give a matrix "
                f"of that form or the parameters by name ({', '.join(self.names)})."
            )
        return theta

    def start(self, sigma: Array) -> Array:
        """θ to start from, given a guess of Σ, shape (t, t)."""
        return self.project(sigma)

    def factor(self, theta: Array) -> tuple[Array, Array]:
        """Λ (t, t) lower triangular and signs (t,) with Σ = Λ diag(signs) Λ'.

        Signs are all +1 for a positive semidefinite Σ, which may be singular: the column of a
        zero pivot is zero. A negative sign (only without constraints) marks a negative pivot.
        """
        return signed_cholesky(self.covariance(theta))


def signed_cholesky(sigma: Array) -> tuple[Array, Array]:
    """Λ lower triangular and signs with Σ = Λ diag(signs) Λ', without pivoting.

    Raises
    ------
    NotPositiveDefiniteError
        If Σ is indefinite in a way that has no such factor (a zero pivot above a nonzero element).
    """
    t = sigma.shape[0]
    if t == 1:
        return np.sqrt(np.abs(sigma)), np.where(sigma[0] < 0.0, -1.0, 1.0)
    try:
        factor = np.linalg.cholesky(sigma)
        if np.all(np.diag(factor) ** 2 > SINGULAR * np.diag(sigma)):
            return factor, np.ones(t)
    except np.linalg.LinAlgError:
        pass
    factor = np.zeros((t, t))
    signs = np.ones(t)
    for a in range(t):
        column = sigma[a:, a] - (factor[a:, :a] * signs[:a]) @ factor[a, :a]
        pivot = column[0]
        if abs(pivot) <= SINGULAR * abs(sigma[a, a]) or pivot == 0.0:
            scale = np.sqrt(np.abs(np.diag(sigma)[a:]) * abs(sigma[a, a]))
            if np.any(np.abs(column[1:]) > 1e-5 * scale[1:] + 1e-300):
                raise NotPositiveDefiniteError("the covariance matrix of a random term is not positive semidefinite.")
            continue
        signs[a] = np.sign(pivot)
        factor[a:, a] = column / (signs[a] * np.sqrt(abs(pivot)))
    return factor, signs


class ResidualStructure(ABC):
    """Covariance R(φ) of the records through its precision R⁻¹ = Σ_r ρ_r(φ) D_r.

    The D_r are fixed symmetric matrices (diagonal or sparse); only the coefficients ρ_r and
    log|R| depend on φ. `bases` are given once, when the records are known.

    Attributes
    ----------
    names, lower : as in `Structure`
    bases : sequence of (n,) arrays (diagonal D_r) or (n, n) sparse matrices
    """

    keyword: str
    bases: Sequence

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Parameter names in the order of φ."""

    @property
    @abstractmethod
    def lower(self) -> Array:
        """Lower bounds of φ."""

    @property
    def n_parameters(self) -> int:
        """Length of φ."""
        return len(self.names)

    @abstractmethod
    def coefficients(self, phi: Array) -> Array:
        """ρ(φ), shape (n_bases,)."""

    @abstractmethod
    def jacobian(self, phi: Array) -> Array:
        """∂ρ/∂φ, shape (n_parameters, n_bases)."""

    @abstractmethod
    def logdet(self, phi: Array) -> float:
        """log|R(φ)|."""

    @abstractmethod
    def logdet_gradient(self, phi: Array) -> Array:
        """∂log|R|/∂φ, shape (n_parameters,)."""

    @abstractmethod
    def multiply(self, phi: Array, v: Array) -> Array:
        """R(φ) v for v of shape (n,) or (n, k)."""

    @abstractmethod
    def information(self, phi: Array) -> Array:
        """Complete-data information ½ tr(R⁻¹ Ṙ_i R⁻¹ Ṙ_j), shape (n_parameters, n_parameters)."""

    @abstractmethod
    def maximize(self, phi: Array, moments: Array) -> Array:
        """The M step: φ that maximises E[log p(e | φ)] given moments_r = E[e' D_r e] (EM, PX-EM)."""

    @abstractmethod
    def start(self, variance: float) -> Array:
        """φ to start from, given a guess of the residual variance."""

    def precision(self, phi: Array, v: Array) -> Array:
        """R⁻¹ v = Σ_r ρ_r D_r v for v of shape (n,) or (n, k)."""
        return combine(self.bases, self.coefficients(phi), v)


def combine(bases: Sequence, coefficients: Array, v: Array) -> Array:
    """Σ_r c_r D_r v, with each D_r a diagonal (n,) or a sparse matrix (n, n)."""
    total: Array | float = 0.0
    for base, c in zip(bases, coefficients, strict=True):
        if base.ndim == 1:
            total = total + c * (base if v.ndim == 1 else base[:, None]) * v
        else:
            total = total + c * (base @ v)
    return np.asarray(total)
