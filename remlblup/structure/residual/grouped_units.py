"""``diag(group | units)``: independent residuals with a variance for each group, R = diag(σ²_g/w)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.cached import cached_property
from remlblup.errors import DataError, some
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.pattern import Pattern


class GroupedUnits(ResidualStructure):
    """R(φ) = diag(σ²_g/w), so that R⁻¹ = Σ_g (1/σ²_g) diag(w of group g): one coefficient for each group.

    Parameters
    ----------
    codes : (n,) int array
        Group of each record, an index into `levels`.
    levels : names of the groups
    weights : (n,) array
        Known weights w > 0.

    Raises
    ------
    DataError
        If a group has no records.
    """

    keyword = "diag"

    def __init__(self, codes: Index, levels: Sequence[object], weights: Array | None = None):
        codes = np.asarray(codes, np.int64)
        self.levels = tuple(levels)
        self.codes = codes
        self.weights = np.ones(len(codes)) if weights is None else np.asarray(weights, float)
        self.counts = np.bincount(codes, minlength=len(self.levels)).astype(float)
        empty = [level for level, count in zip(self.levels, self.counts, strict=True) if count == 0]
        if empty:
            raise DataError(f"no records in group {some(empty)}: a variance cannot be estimated. Drop these levels.")
        self.pattern = Pattern.diagonal(codes, self.weights, len(self.levels))
        self._log_weights = float(np.sum(np.log(self.weights)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"var({level})" for level in self.levels)

    @cached_property
    def lower(self) -> Array:
        return np.zeros(len(self.levels))

    def matrices(self, phi: Array) -> dict[str, tuple[tuple[str, ...], Array]]:
        return {"": (tuple(map(str, self.levels)), np.diag(phi))}

    def matrix_derivatives(self, phi: Array) -> dict[str, Array]:
        unit = np.eye(len(phi))
        return {"": unit[:, :, None] * unit[:, None, :]}

    @property
    def signed(self) -> np.ndarray:
        return np.ones(self.n_parameters, dtype=bool)

    def coefficients(self, phi: Array) -> Array:
        return 1.0 / phi

    def jacobian(self, phi: Array) -> Array:
        return np.diag(-1.0 / phi**2)

    def logdet(self, phi: Array) -> float:
        return float(self.counts @ np.log(phi)) - self._log_weights

    def logdet_gradient(self, phi: Array) -> Array:
        return self.counts / phi

    def multiply(self, phi: Array, v: Array) -> Array:
        variance = phi[self.codes] / self.weights
        return v * (variance if v.ndim == 1 else variance[:, None])

    def information(self, phi: Array) -> Array:
        return np.diag(0.5 * self.counts / phi**2)

    def maximize(self, phi: Array, moments: Array) -> Array:
        return np.asarray(moments) / self.counts

    def start(self, variance: float, squares: Array) -> Array:
        return weighted_means(self.codes, squares * self.weights, variance)


def weighted_means(codes: Index, weighted: Array, variance: float) -> Array:
    """The mean of the weighted squares of the records of each code: `variance` where they vanish."""
    means = np.bincount(codes, weighted) / np.bincount(codes)
    return np.where(means > 1e-24 * variance, means, variance)
