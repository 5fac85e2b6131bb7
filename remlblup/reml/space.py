"""The parameter space: bounds, cones of covariance matrices, and the tangent directions at a point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from remlblup.equations.base import Equations
from remlblup.model.parameters import Parameters
from remlblup.reml.chart import SNAP, Chart
from remlblup.reml.score import Score
from remlblup.structure.base import Array

# A column of loadings below this, each in units of its own, counts as zero.
EMPTY = 1e-6
# What a step leaves at least of a residual variance, and of a residual correlation's distance to its bound.
RESIDUAL_SHRINK = 0.1
# How far a residual correlation stays from ±1, where R is singular and ℓ drowns in rounding.
SHORT = 1e-6
TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class Point:
    """An iterate with everything the next step needs.

    Attributes
    ----------
    score, information : first derivatives and average information at θ
    charts : Cholesky coordinates of each term whose Σ is singular at θ
    on_bound : (n_parameters,) components on a simple bound (`Space.at_bound`)
    """

    theta: Array
    loglik: float
    solution: Any
    score: Score
    information: Array
    charts: dict[int, Chart]
    on_bound: np.ndarray

    @property
    def gradient(self) -> Array:
        return self.score.gradient

    def change_from(self, other: Point, moving: np.ndarray) -> float:
        """Largest |Δθ_i| of the moving parameters over max(|θ_i|, 1/√AI_ii)."""
        curvature = self.information.diagonal()
        error = 1.0 / np.sqrt(np.where(curvature > 0.0, curvature, 1e300))
        size = np.maximum(np.abs(self.theta), error)
        return float((np.abs(self.theta - other.theta) / size)[moving].max(initial=0.0))


@dataclass(frozen=True)
class Space:
    """The parameter space: which parameters move, between which bounds, in which units.

    Attributes
    ----------
    equations : the model
    held : (n_parameters,) True where the user fixed the value
    lower, upper : (n_parameters,) bounds; those of variances infinite without constraints
    units : (t, t) unit matrix of each term (`start.unit_matrices`)
    constrain : whether covariance matrices stay positive semidefinite
    """

    equations: Equations
    held: np.ndarray
    lower: Array
    upper: Array
    units: list[Array]
    constrain: bool

    @cached_property
    def moving(self) -> np.ndarray:
        """(n_parameters,) True where the user fixed nothing."""
        return ~self.held

    @cached_property
    def roots(self) -> list[Array]:
        """Cholesky factors of the unit matrices."""
        return [np.linalg.cholesky(u) for u in self.units]

    @cached_property
    def inverse_roots(self) -> list[Array]:
        """Inverses of `roots`."""
        return [np.linalg.inv(root) for root in self.roots]

    @cached_property
    def sizes(self) -> Array:
        """(n_parameters,) what counts as one unit of each parameter; 1 for correlations and those of R."""
        parameters = self.equations.spec.parameters
        out = np.ones(parameters.size)
        for structure, place, unit in zip(parameters.structures, parameters.slices, self.units, strict=False):
            of_unit = structure.project(unit)
            if structure.in_factor:
                loadings = structure.factor_derivatives(of_unit)
                out[place] = np.einsum("pia,i->p", np.abs(loadings), np.sqrt(np.diag(unit)))
            else:
                out[place] = np.where(np.isfinite(structure.upper), 1.0, of_unit)
        return out

    @cached_property
    def loadings(self) -> np.ndarray:
        """(n_parameters,) True for the parameters of structures written in Λ itself: Σ is flat where they are zero."""
        parameters = self.equations.spec.parameters
        mask = np.zeros(parameters.size, dtype=bool)
        for structure, place in zip(parameters.structures, parameters.slices, strict=False):
            mask[place] = structure.in_factor
        return mask

    @cached_property
    def powers(self) -> Array | None:
        """(n_parameters,) powers p of the coordinates x = θ^p the steps are taken in; None where all are 1."""
        parameters = self.equations.spec.parameters
        powers = np.concatenate([s.powers for s in (*parameters.structures, parameters.residual)])
        return None if np.all(powers == 1.0) else powers

    @cached_property
    def straight(self) -> bool:
        """Whether steps are taken in θ itself, with no curvature beyond the information."""
        return self.powers is None and not self.loadings.any()

    def coordinates(self, theta: Array) -> Array:
        """x of θ: itself, or a power of it."""
        if self.powers is None:
            return theta
        return np.where(self.powers == 1.0, theta, np.maximum(theta, 0.0) ** self.powers)

    def parameters_at(self, x: Array) -> Array:
        """θ of x, the inverse of `coordinates`."""
        return x if self.powers is None else np.where(self.powers == 1.0, x, np.maximum(x, 0.0) ** (1.0 / self.powers))

    def slopes(self, theta: Array) -> Array:
        """dθ/dx; at zero that of a small value, where the derivatives of the structure are taken as well."""
        if self.powers is None:
            return np.ones(len(theta))
        least = np.where(self.powers == 0.5, 1e-24 * np.abs(self.sizes), 1e-150)
        x = np.maximum(theta, least) ** self.powers
        return np.where(self.powers == 1.0, 1.0, x ** (1.0 / self.powers - 1.0) / self.powers)

    @cached_property
    def least_information(self) -> Array:
        """(n_parameters,) information at and below which the likelihood is flat: in a loading, of zero."""
        return np.divide(1e-9, self.sizes**2, out=np.zeros_like(self.sizes), where=self.loadings)

    def curved(self, information: Array) -> np.ndarray:
        """(n_parameters,) parameters with information: the likelihood is flat in a loading of zero."""
        return np.asarray(information.diagonal() > self.least_information)

    @cached_property
    def residual_kinds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions in θ of the variances of R, of its upper bounds, and of the lower ones it must not reach."""
        parameters = self.equations.spec.parameters
        residual, start = parameters.residual, parameters.slices[-1].start
        ceiling = np.isfinite(residual.upper)
        kinds = residual.variances, ceiling, ceiling & (residual.lower < 0.0)
        return tuple(start + np.flatnonzero(kind) for kind in kinds)  # type: ignore[return-value]

    @cached_property
    def singular_residual(self) -> tuple[Array, Array]:
        """(n_parameters,) values below and above θ where R becomes singular, infinite where there are none."""
        variance, ceiling, floor = self.residual_kinds
        least, most = np.full_like(self.lower, -np.inf), np.full_like(self.upper, np.inf)
        least[variance], least[floor], most[ceiling] = 0.0, self.lower[floor] - SHORT, self.upper[ceiling] + SHORT
        return least, most

    def limits(self, theta: Array) -> tuple[Array, Array]:
        """How far one step from θ may go: to the bounds; in R, a tenth short of those where it is singular."""
        least, most = self.singular_residual
        keep, go = RESIDUAL_SHRINK * theta, 1.0 - RESIDUAL_SHRINK
        return np.maximum(self.lower, keep + go * least), np.minimum(self.upper, keep + go * most)

    def empty_columns(self, theta: Array) -> Iterator[tuple[int, Array]]:
        """(term, (n_parameters,) mask of its loadings) of every column of a Λ written as such that is zero."""
        parameters = self.equations.spec.parameters
        for k, (structure, place) in enumerate(zip(parameters.structures, parameters.slices, strict=False)):
            if not structure.in_factor:
                continue
            derivatives = structure.factor_derivatives(theta[place])
            for a in range(structure.n_factors):
                mask = np.zeros(len(theta), dtype=bool)
                mask[place] = np.any(derivatives[:, :, a] != 0.0, axis=1)
                if np.all(np.abs(theta[mask]) < EMPTY * self.sizes[mask]) and not self.held[mask].any():
                    yield k, mask

    @cached_property
    def cones(self) -> list[tuple[int, slice]]:
        """(term, place in θ) of the covariance matrices whose every element may move inside the cone."""
        if not self.constrain:
            return []
        parameters = self.equations.spec.parameters
        return [
            (k, place)
            for k, (s, place) in enumerate(zip(parameters.structures, parameters.slices, strict=False))
            if s.cone and s.size > 1 and not self.held[place].any()
        ]

    @cached_property
    def in_cone(self) -> np.ndarray:
        """(n_parameters,) True for the elements of such a matrix."""
        mask = np.zeros(len(self.held), dtype=bool)
        for _, place in self.cones:
            mask[place] = True
        return mask

    @cached_property
    def box(self) -> tuple[Array, Array]:
        """`lower` and `upper`, infinite for the elements of such a matrix: their bounds follow from the cone."""
        return np.where(self.in_cone, -np.inf, self.lower), np.where(self.in_cone, np.inf, self.upper)

    def sigma(self, k: int, theta: Array) -> Array:
        """Σ_k at θ."""
        parameters = self.equations.spec.parameters
        return parameters.structures[k].covariance(theta[parameters.slices[k]])

    def feasible(self, theta: Array) -> bool:
        """Whether R is positive definite and, constrained, every Σ positive semidefinite.

        Only a Σ partly held, or of a structure whose bounds do not see to it, can fail to be.
        """
        parameters = self.equations.spec.parameters
        parts = parameters.split(theta)
        if not parameters.residual.feasible(parts[-1]):
            return False
        return not self.constrain or all(
            self.smallest_eigenvalue(k, theta) >= -SNAP if s.cone else s.feasible(part)
            for k, (s, part) in enumerate(zip(parameters.structures, parts, strict=False))
        )

    def tangent(self, theta: Array, on_bound: np.ndarray | None = None) -> Array:
        """(n, k) directions in which θ may move to first order, in coordinates free of the coding of the effects.

        A Σ = LL' of full rank moves along L(E_ij + E_ji)L'; a singular one along the face it lies on, which the
        nonzero columns of L span. Held components do not move, nor do those `on_bound` (default: all on a bound).
        """
        still = self.held | (self.at_bound(theta) if on_bound is None else on_bound)
        columns = np.eye(len(theta))[:, ~still & ~self.in_cone]
        blocks = [columns]
        for k, place in self.cones:
            chart = Chart.at(self.sigma(k, theta), self.roots[k])
            block = np.zeros((len(theta), len(chart.slots)))
            block[place] = chart.jacobian()
            blocks.append(block[:, [a < chart.rank for _, a in chart.slots]])
        return np.hstack(blocks)

    def charts(self, theta: Array) -> dict[int, Chart]:
        """Charts of the terms whose Σ is singular at θ."""
        charts = {}
        for k, _ in self.cones:
            # No pivot is smaller than the smallest eigenvalue: most often that settles it.
            if self.smallest_eigenvalue(k, theta) < SNAP:
                charts[k] = Chart.at(self.sigma(k, theta), self.roots[k])
        return {k: c for k, c in charts.items() if c.rank < len(c.order)}

    def smallest_eigenvalue(self, k: int, theta: Array) -> float:
        """Smallest eigenvalue of Σ_k in the metric of its unit matrix."""
        # Asked for the same Σ by `feasible`, `charts` and both ends of a step.
        key = k, theta[self.equations.spec.parameters.slices[k]].tobytes()
        if key not in self._smallest:
            inverse = self.inverse_roots[k]
            self._smallest[key] = float(np.linalg.eigvalsh(inverse @ self.sigma(k, theta) @ inverse.T)[0])
        return self._smallest[key]

    @cached_property
    def _smallest(self) -> dict[tuple[int, bytes], float]:
        return {}

    def at_bound(self, theta: Array) -> np.ndarray:
        """Components on a simple bound (cones apart)."""
        low, high = self.box
        return np.asarray((theta <= low) | (theta >= high))

    def pinned(self, point: Point) -> np.ndarray:
        """Components on a simple bound whose score points out of the parameter space."""
        return point.on_bound & (self.inward(point.theta, point.gradient) <= 0.0)

    def inward(self, theta: Array, v: Array) -> Array:
        """v with the sign that is positive where it points away from the bound θ lies on."""
        return np.where(theta >= self.upper, -v, v)

    def boundary(self, point: Point) -> np.ndarray:
        """Components on the boundary in any sense, held ones excepted."""
        mask = point.on_bound.copy()
        for k in point.charts:
            mask[self.equations.spec.parameters.slices[k]] = True
        return mask & self.moving


def bounds(parameters: Parameters, constrain: bool, floor: Array) -> tuple[Array, Array]:
    """Bounds of θ: those of the structures; without constraints those of structures linear in θ fall away.

    The variances of R stay above `floor` (n_parameters of R,), its correlations `SHORT` of their bounds.
    """
    lower, upper = parameters.lower.copy(), parameters.upper.copy()
    place, residual = parameters.slices[-1], parameters.residual
    for structure, of_term in zip(parameters.structures, parameters.slices, strict=False):
        if not constrain and structure.linear:
            lower[of_term], upper[of_term] = -np.inf, np.inf
    lower[place] = np.where(residual.variances, floor, residual.lower)
    upper[place] -= np.where(np.isfinite(residual.upper), SHORT, 0.0)
    lower[place] += np.where(np.isfinite(residual.upper) & (residual.lower < 0.0), SHORT, 0.0)
    return lower, upper
