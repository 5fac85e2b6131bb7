"""``us(trait | units)``, ``ar1(time | subject)``, …: R is block diagonal, Σ over the effects seen on each unit.

The unit with effects o observed has R⁻¹ block (Σ_oo)⁻¹: one coefficient for each entry of the lower
triangle of each pattern o. With A_i = Σ_oo⁻¹ Σ̇_oo,i and n_o units of a pattern,

    log|R| = Σ_o n_o log|Σ_oo|,    ∂log|R| = Σ_o n_o tr A_i,    information = ½ Σ_o n_o tr A_i A_j.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.cached import cached_property
from remlblup.errors import DataError, ModelError, NotPositiveDefiniteError, some
from remlblup.structure.base import Structure
from remlblup.structure.residual.grouped_units import weighted_means
from remlblup.structure.residual.of_structure import OfStructure
from remlblup.structure.residual.pattern import Pattern
from remlblup.structure.residual.scoring import ascend
from remlblup.structure.residual.unit_patterns import Stack, fill_in, repeated_units, stack_units

# Σ over the effects of a unit is positive definite if its smallest eigenvalue, as a correlation matrix, is above this.
DEFINITE = 1e-10
# Numbers held at once for the derivatives of all patterns of a stack.
CAPACITY = 2**22


class Blocks(OfStructure):
    """R = W^-½ (⊕_units Σ_oo) W^-½ with Σ(φ) any `Structure` over the t effects.

    Parameters
    ----------
    structure : Σ over the effects (traits, occasions)
    unit : (n,) int codes of the units, in any order
    effect : (n,) int codes of the effects, 0 … t − 1
    weights : (n,) known weights; a record of weight w has variance σ²/w

    Raises
    ------
    DataError
        If a unit has two records of one effect, or an effect has no record.
    ModelError
        If the structure is of reduced rank.
    """

    def __init__(self, structure: Structure, unit: Index, effect: Index, weights: Array | None = None):
        unit, effect = np.asarray(unit, np.int64), np.asarray(effect, np.int64)
        self.structure = structure
        self.effect = effect
        self.keyword = structure.keyword
        self.weights = None if weights is None else np.asarray(weights, float)
        if structure.n_factors < structure.size:
            raise ModelError(f"'{structure.keyword}' is singular and cannot be the covariance of residuals.")
        bad = self.repeated(unit, effect)
        if len(bad):
            raise DataError(f"units {some(bad.tolist())} have more than one record of the same effect.")
        absent = np.flatnonzero(np.bincount(effect, minlength=structure.size) == 0)
        if len(absent):
            raise DataError(f"no records of {some(structure.effects[k] for k in absent)}: drop these effects.")
        self.stacks = stack_units(unit, effect, structure.size, max(1, CAPACITY // max(structure.n_parameters, 1)))
        self.n_units = float(sum(stack.units.sum() for stack in self.stacks))
        self.pattern = self._pattern(len(unit))

    repeated = staticmethod(repeated_units)

    def _pattern(self, n: int) -> Pattern:
        w = np.ones(n) if self.weights is None else self.weights
        first, parts = 0, []
        for stack in self.stacks:
            parts.append(stack.entries(first))
            first += stack.n_coefficients
        i, j, diagonal, k = (np.concatenate(column) for column in zip(*parts, strict=True))
        value = np.ones(len(i)) if self.weights is None else np.where(diagonal, w[i], np.sqrt(w[i] * w[j]))
        return Pattern(n, np.maximum(i, j), np.minimum(i, j), k, value, first)

    @property
    def several_maxima(self) -> bool:
        return self.structure.several_maxima

    @property
    def signed(self) -> np.ndarray:
        return self.structure.signed

    def record_variances(self, phi: Array) -> Array:
        variances = np.diag(self.structure.covariance(phi))[self.effect]
        return variances if self.weights is None else variances / self.weights

    def feasible(self, phi: Array) -> bool:
        if not self.structure.feasible(phi):
            return False
        sigma = self.structure.covariance(phi)
        variances = np.diag(sigma)
        if not np.all(np.isfinite(sigma)) or np.any(variances <= 0.0):
            return False
        scale = np.sqrt(variances)
        return bool(np.linalg.eigvalsh(sigma / np.outer(scale, scale))[0] > DEFINITE)

    def _inverses(self, phi: Array) -> Iterator[tuple[Stack, Array, Array]]:
        """Each stack with its (Σ_oo)⁻¹ (P, c, c) and log|Σ_oo| (P,)."""
        sigma = self.structure.covariance(phi)
        for stack in self.stacks:
            try:
                L = np.linalg.cholesky(stack.block(sigma))
            except np.linalg.LinAlgError as error:
                raise NotPositiveDefiniteError("the residual covariance matrix is not positive definite.") from error
            root = np.linalg.inv(L)
            logdet = 2.0 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
            yield stack, np.swapaxes(root, 1, 2) @ root, logdet

    def coefficients(self, phi: Array) -> Array:
        return np.concatenate([stack.lower(inverse) for stack, inverse, _ in self._inverses(phi)])

    def jacobian(self, phi: Array) -> Array:
        dot = self.structure.derivatives(phi)
        return np.concatenate(
            [stack.lower(-inverse @ stack.block(dot) @ inverse) for stack, inverse, _ in self._inverses(phi)], axis=1
        )

    def logdet(self, phi: Array) -> float:
        of_weights = 0.0 if self.weights is None else float(np.sum(np.log(self.weights)))
        return sum(float(stack.units @ logdet) for stack, _, logdet in self._inverses(phi)) - of_weights

    def logdet_gradient(self, phi: Array) -> Array:
        dot = self.structure.derivatives(phi)
        return np.sum(
            [
                stack.block(dot).reshape(len(dot), -1) @ (stack.units[:, None, None] * inverse).ravel()
                for stack, inverse, _ in self._inverses(phi)
            ],
            axis=0,
        )

    def information(self, phi: Array) -> Array:
        dot = self.structure.derivatives(phi)
        out = np.zeros((len(dot), len(dot)))
        for stack, inverse, _ in self._inverses(phi):
            A = inverse @ stack.block(dot)
            weighted = A * stack.units[:, None, None]
            out += 0.5 * weighted.reshape(len(dot), -1) @ np.swapaxes(A, 2, 3).reshape(len(dot), -1).T
        return 0.5 * (out + out.T)

    def multiply(self, phi: Array, v: Array) -> Array:
        # The pattern with Σ_oo in place of its inverse is W^½ (⊕ Σ_oo) W^½.
        sigma = self.structure.covariance(phi)
        entries = np.concatenate([stack.lower(stack.block(sigma)) for stack in self.stacks])
        if self.weights is None:
            return self.pattern.times(entries, v)
        w = self.weights if v.ndim == 1 else self.weights[:, None]
        return self.pattern.times(entries, v / w) / w

    def start(self, variance: float, squares: Array) -> Array:
        """The structure's own start at the mean square of each effect, with correlations added if on the boundary."""
        weighted = squares if self.weights is None else squares * self.weights
        scale = np.sqrt(weighted_means(self.effect, weighted, variance))
        for correlation in (0.0, 0.1, 0.3):
            sigma = np.outer(scale, scale) * ((1.0 - correlation) * np.eye(len(scale)) + correlation)
            phi = self.structure.start(sigma)
            if np.all((phi > self.lower) & (phi < self.upper)) and self.feasible(phi):
                return phi
        return self.structure.start(np.diag(scale**2))

    def maximize(self, phi: Array, moments: Array) -> Array:
        """`us` with all effects on all units: Σ = M/n_units; else a scoring step,
        or for `us` one of EM if that fails."""
        structure = self.structure
        exact = structure.cone and structure.linear
        if exact and len(self.stacks) == 1 and self.pattern.n_coefficients == structure.n_parameters:
            return structure.project(self.stacks[0].moments(moments)[0] / self.n_units)
        return ascend(self, phi, moments, self._em if exact else None)

    def _em(self, phi: Array, moments: Array) -> Array:
        sigma, inverses = self.structure.covariance(phi), [inverse for _, inverse, _ in self._inverses(phi)]
        return self.structure.project(fill_in(sigma, self.stacks, inverses, moments))

    @cached_property
    def roots(self) -> np.ndarray:
        return self.structure.roots

    @cached_property
    def powers(self) -> Array:
        return self.structure.powers

    def matrices(self, phi: Array) -> dict[str, tuple[tuple[str, ...], Array]]:
        return {"": (self.structure.effects, self.structure.covariance(phi))}

    def matrix_derivatives(self, phi: Array) -> dict[str, Array]:
        return {"": self.structure.derivatives(phi)}
