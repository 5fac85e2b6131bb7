"""``known(O)``: R = O, or σ² O, for a covariance matrix O of the records that is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.pattern import Pattern


class KnownResidual(ResidualStructure):
    """R = O without a parameter, or with `scaled` R(σ²) = σ² O: R⁻¹ = ρ O⁻¹ with ρ = 1 or 1/σ².

    Parameters
    ----------
    matrix : (n, n) array or sparse array, O
    inverse : (n, n) sparse array, the lower triangle of O⁻¹
    logdet : log|O|
    scaled : whether there is a scale σ² to estimate
    """

    keyword = "known"

    def __init__(self, matrix: Any, inverse: Any, logdet: float, scaled: bool = False):
        entries = sp.coo_array(inverse)
        none = np.zeros(entries.nnz, np.int64)
        self.matrix, self.scaled, self._logdet = matrix, scaled, logdet
        self.pattern = Pattern(matrix.shape[0], entries.row, entries.col, none, entries.data, 1)
        self.diagonal = np.asarray(matrix.diagonal(), np.float64)

    @classmethod
    def of_variances(cls, variances: Array, scaled: bool = False) -> KnownResidual:
        """O = diag(v)."""
        inverse = sp.diags_array(1.0 / variances)
        return cls(sp.diags_array(variances, format="csr"), inverse, float(np.sum(np.log(variances))), scaled)

    def _scale(self, phi: Array) -> float:
        return float(phi[0]) if self.scaled else 1.0

    @cached_property
    def names(self) -> tuple[str, ...]:
        return ("scale",) if self.scaled else ()

    @cached_property
    def lower(self) -> Array:
        return np.zeros(self.n_parameters)

    def record_variances(self, phi: Array) -> Array:
        return self._scale(phi) * self.diagonal

    def coefficients(self, phi: Array) -> Array:
        return np.array([1.0 / self._scale(phi)])

    def jacobian(self, phi: Array) -> Array:
        return -1.0 / phi[:, None] ** 2

    def logdet(self, phi: Array) -> float:
        return self.size * float(np.log(self._scale(phi))) + self._logdet

    def logdet_gradient(self, phi: Array) -> Array:
        return self.size / phi

    def multiply(self, phi: Array, v: Array) -> Array:
        return np.asarray(self._scale(phi) * (self.matrix @ v))

    def information(self, phi: Array) -> Array:
        return np.diag(0.5 * self.size / phi**2)

    def maximize(self, phi: Array, moments: Array) -> Array:
        return np.asarray(moments)[: self.n_parameters] / self.size

    def start(self, variance: float, squares: Array) -> Array:
        """The mean of the squares over their variances in O."""
        return np.full(self.n_parameters, np.mean(squares / self.diagonal))

    def single_variance(self, phi: Array) -> float | None:
        d = self.record_variances(phi)
        return float(d[0]) if np.ptp(d) <= 1e-12 * np.max(d) else None

    def root(self) -> Array:
        """L (n, n) with O = LL'."""
        dense = self.matrix.toarray() if sp.issparse(self.matrix) else self.matrix
        return np.asarray(np.linalg.cholesky(dense), np.float64)
