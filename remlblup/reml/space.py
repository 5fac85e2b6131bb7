"""The parameter space: bounds, cones of covariance matrices, and the tangent directions at a point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations
from remlblup.linalg.small import cholesky, eigenvalues, triangular_inverse
from remlblup.model.parameters import Parameters
from remlblup.reml.coordinates import Coordinates
from remlblup.reml.point import Point
from remlblup.reml.start import parameter_sizes, residual_variance, unit_matrices
from remlblup.structure.edge.base import SNAP, Edge
from remlblup.structure.edge.cone import Chart

# A column of loadings below this, each in units of its own, counts as zero.
EMPTY = 1e-6
# Information that is none: a step by it would be noise over noise. In units of a parameter; far below what a start
# some 1e12 times too large would have. A slope that is none, and how many units
# a step goes where there is a slope and no information.
ABSORBED, LEVEL, FAR = 1e-30, 1e-9, 1e3
# What a step leaves at least of a residual variance, and of a residual correlation's distance to its bound.
RESIDUAL_SHRINK = 0.1
# How far a residual correlation stays from ±1, where R is singular and ℓ drowns in rounding.
SHORT = 1e-6
# A residual variance never falls below this share of where it starts.
FLOOR = 1e-12


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

    @classmethod
    def of(cls, equations: Equations, held: np.ndarray, constrain: bool) -> Space:
        """Where a search of these equations may go."""
        parameters = equations.spec.parameters
        floor = FLOOR * equations.scales.residual[: parameters.residual.n_parameters]
        lower, upper = bounds(parameters, constrain, floor)
        units = unit_matrices(equations, residual_variance(equations))
        return cls(equations, held, lower, upper, units, constrain)

    @cached_property
    def places(self) -> np.ndarray:
        """(n_parameters,) 0, 1, …: the coordinate of each parameter where every one has its own."""
        return np.arange(len(self.held))

    @cached_property
    def moving(self) -> np.ndarray:
        """(n_parameters,) True where the user fixed nothing."""
        return ~self.held

    @cached_property
    def roots(self) -> list[Array]:
        """Cholesky factors of the unit matrices."""
        return [cholesky(u) for u in self.units]

    @cached_property
    def inverse_roots(self) -> list[Array]:
        """Inverses of `roots`."""
        return [triangular_inverse(root) for root in self.roots]

    @cached_property
    def sizes(self) -> Array:
        """(n_parameters,) what counts as one unit of each parameter; 1 for correlations."""
        return parameter_sizes(self.equations, self.units)

    @property
    def loadings(self) -> np.ndarray:
        """(n_parameters,) True for loadings."""
        return self.equations.spec.parameters.loadings

    @cached_property
    def coordinates(self) -> Coordinates:
        """Those that steps are taken in."""
        return Coordinates(self.equations.spec.parameters, self.sizes)

    @cached_property
    def least_information(self) -> Array:
        """(n_parameters,) information at and below which the likelihood is flat.

        In a loading, of zero; in a variance, what rounding leaves where the fixed effects absorb a term. That of a
        correlation may truly be that small in θ, if not in the coordinates of its steps.
        """
        parameters = self.equations.spec.parameters
        least = np.where(parameters.loadings, 1e-9, np.where(parameters.linear, ABSORBED, 0.0))
        return least / self.sizes**2

    def curved(self, information: Array) -> np.ndarray:
        """(n_parameters,) parameters with information."""
        return np.asarray(information.diagonal() > self.least_information)

    def sloping(self, information: Array, gradient: Array) -> tuple[Array, np.ndarray]:
        """The information, with enough for a long step where there is none but a slope, and where there is some then.

        The full likelihood of a variance that the fixed effects absorb falls with it; AI, made of P alone, is zero.
        """
        curved = self.curved(information)
        if np.count_nonzero(curved) == len(curved):
            return information, curved
        slope = np.abs(gradient) * self.sizes
        steep = (slope > LEVEL) & ~curved & self.equations.spec.parameters.linear
        if not steep.any():
            return information, curved
        new = information.copy()
        new[steep, steep] = slope[steep] / (FAR * self.sizes[steep] ** 2)
        return new, curved | steep

    @cached_property
    def singular_residual(self) -> tuple[Array, Array]:
        """(n_φ,) values below and above φ where R becomes singular, infinite where there are none."""
        residual = self.equations.spec.residual
        ceiling = np.isfinite(residual.upper)
        least = np.where(ceiling & (residual.lower < 0.0), residual.lower, -np.inf)
        return np.where(residual.variances, 0.0, least), np.where(ceiling, residual.upper, np.inf)

    def limits(self, theta: Array) -> tuple[Array, Array]:
        """How far one step from θ may go: to the bounds; in R, a tenth short of those where it is singular; of what is
        stepped in its logarithm to `STRIDE` times the value."""
        (least, most), own = self.singular_residual, self.equations.spec.parameters.of_residual
        keep, go = RESIDUAL_SHRINK * theta[own], 1.0 - RESIDUAL_SHRINK
        low, high = self.lower.copy(), self.upper.copy()
        low[own], high[own] = np.maximum(low[own], keep + go * least), np.minimum(high[own], keep + go * most)
        return self.coordinates.within_stride(theta, low, high)

    def empty_columns(self, theta: Array) -> Iterator[np.ndarray]:
        """(n_parameters,) mask of the loadings of every column of them that is zero."""
        parameters = self.equations.spec.parameters
        for structure, place in zip(parameters.structures, parameters.of_terms, strict=True):
            derivatives = structure.loading_derivatives(theta[place])
            if derivatives is None:
                continue
            for a in range(derivatives.shape[2]):
                mask = np.zeros(len(theta), dtype=bool)
                mask[place] = np.any(derivatives[:, :, a] != 0.0, axis=1)
                if np.all(np.abs(theta[mask]) < EMPTY * self.sizes[mask]) and not self.held[mask].any():
                    yield mask

    @cached_property
    def cones(self) -> list[tuple[int, slice]]:
        """(term, place in θ) of the parameters that may all move as far as Σ stays positive semidefinite."""
        charted = self.equations.spec.parameters.charted if self.constrain else ()
        return [(k, place) for k, place in charted if not np.count_nonzero(self.held[place])]

    @cached_property
    def charted(self) -> dict[int, slice]:
        """`cones` by term."""
        return dict(self.cones)

    @cached_property
    def in_cone(self) -> np.ndarray:
        """(n_parameters,) True for these parameters."""
        mask = np.zeros(len(self.held), dtype=bool)
        for _, place in self.cones:
            mask[place] = True
        return mask

    @cached_property
    def box(self) -> tuple[Array, Array]:
        """`lower` and `upper`, infinite for the elements of such a matrix: their bounds follow from the cone."""
        if not self.cones:
            return self.lower, self.upper
        return np.where(self.in_cone, -np.inf, self.lower), np.where(self.in_cone, np.inf, self.upper)

    def feasible(self, theta: Array) -> bool:
        """Whether R is positive definite and, constrained, every Σ positive semidefinite.

        Only a Σ partly held, or of a structure whose bounds do not see to it, can fail to be.
        """
        parameters = self.equations.spec.parameters
        if not parameters.residual.feasible(theta[parameters.of_residual]):
            return False
        pairs = zip(parameters.structures, parameters.of_terms, strict=True) if self.constrain else ()
        for k, (structure, place) in enumerate(pairs):
            if not (
                self.smallest_eigenvalue(k, theta) >= -SNAP if structure.cone else structure.feasible(theta[place])
            ):
                return False
        return True

    def tangent(self, theta: Array, on_bound: np.ndarray | None = None) -> Array:
        """(n, k) directions in which θ may move to first order, in coordinates free of the coding of the effects.

        A Σ = LL' of full rank moves along L(E_ij + E_ji)L'; a singular one along the face it lies on.
        Held components do not move, nor do those `on_bound` (default: all on a bound).
        """
        void = self.undefined(theta)
        still = self.held | void | (self.at_bound(theta) if on_bound is None else on_bound)
        alone = (~(still | self.in_cone)).nonzero()[0]
        blocks: list[tuple[Any, Array | float]] = [((alone, self.places[: len(alone)]), 1.0)]
        width = len(alone)
        for k, place in self.cones:
            if np.count_nonzero(void[place]) < place.stop - place.start:
                chart = self.chart(k, theta)
                along = chart.jacobian()[:, chart.on_face]
                blocks.append(((place, slice(width, width := width + along.shape[1])), along))
        J = np.zeros((len(theta), width))
        for at, block in blocks:
            J[at] = block
        return J

    def chart(self, k: int, theta: Array) -> Edge:
        """Coordinates of the charted parameters of term k around θ."""
        parameters = self.equations.spec.parameters
        structure, part = parameters.structures[k], theta[parameters.slices[k]]
        key, (kept, chart) = (k, part.tobytes()), self._chart[0]  # at once: a fit's space is asked by several threads
        if kept != key:
            chart = (
                Chart.at(structure.covariance(part), self.roots[k], inverse=self.inverse_roots[k])
                if structure.cone
                else structure.edge(part)
            )
            self._chart[0] = key, chart
        return chart

    @cached_property
    def _chart(self) -> list[tuple[Any, Any]]:
        """What the last chart made is of, and the chart: at its end a search asks for the same one several times."""
        return [(None, None)]

    def edge_score(self, k: int, point: Point) -> Array:
        """The score matrix that the chart of term k takes."""
        parameters = self.equations.spec.parameters
        return parameters.structures[k].edge_score(point.theta[parameters.slices[k]], point.score.of_sigma[k])

    def undefined(self, theta: Array) -> np.ndarray:
        """(n_parameters,) correlations that nothing depends on, the variance being zero."""
        voidable = self.equations.spec.parameters.voidable
        if not voidable:
            return self.nothing
        mask = np.zeros(len(theta), dtype=bool)
        for structure, place in voidable:
            mask[place] = structure.undefined(theta[place])
        return mask

    @cached_property
    def nothing(self) -> np.ndarray:
        """(n_parameters,) False."""
        mask = np.zeros(len(self.held), dtype=bool)
        mask.setflags(write=False)
        return mask

    def charts(self, theta: Array) -> dict[int, Edge]:
        """Charts of the terms whose Σ is singular at θ."""
        charts = {}
        for k, _ in self.cones:
            # No pivot is smaller than the smallest eigenvalue: most often that settles it.
            if self.smallest_eigenvalue(k, theta) < SNAP and (chart := self.chart(k, theta)).singular:
                charts[k] = chart
        return charts

    def smallest_eigenvalue(self, k: int, theta: Array) -> float:
        """Smallest eigenvalue of Σ_k in the metric of its unit matrix, or of its correlation matrix."""
        # Asked for the same Σ by `feasible`, `charts` and both ends of a step.
        parameters = self.equations.spec.parameters
        part = theta[parameters.slices[k]]
        key, known = (k, part.tobytes()), self._smallest
        if key not in known:
            structure = parameters.structures[k]
            if structure.cone:
                inverse = self.inverse_roots[k]
                known[key] = float(eigenvalues(inverse @ structure.covariance(part) @ inverse.T)[0])
            else:
                known[key] = structure.margin(part)
        return known[key]

    @cached_property
    def _smallest(self) -> dict[tuple[int, bytes], float]:
        return {}

    def at_bound(self, theta: Array) -> np.ndarray:
        """Components on a simple bound (cones apart)."""
        low, high = self.box
        return np.asarray((theta <= low) | (theta >= high))

    def pinned(self, point: Point) -> np.ndarray:
        """Components on a simple bound whose score points out of the parameter space."""
        if not np.count_nonzero(point.on_bound):
            return point.on_bound
        return np.asarray(point.on_bound & (self.inward(point.theta, point.gradient) <= 0.0))

    def inward(self, theta: Array, v: Array) -> Array:
        """v with the sign that is positive where it points away from the bound θ lies on."""
        return np.where(theta >= self.upper, -v, v)

    def boundary(self, point: Point) -> np.ndarray:
        """Components on the boundary in any sense, held ones excepted."""
        mask = point.on_bound | self.undefined(point.theta)
        for k in point.charts:
            mask[self.charted[k]] = True
        return mask & self.moving


def bounds(parameters: Parameters, constrain: bool, floor: Array) -> tuple[Array, Array]:
    """Bounds of θ: those of the structures; without constraints those of structures linear in θ fall away.

    The variances of R stay above `floor` (n_parameters of R,), its correlations `SHORT` of their bounds.
    """
    lower, upper = parameters.lower.copy(), parameters.upper.copy()
    place, residual = parameters.of_residual, parameters.residual
    if not constrain:
        for structure, of_term in zip(parameters.structures, parameters.of_terms, strict=True):
            lower[of_term] = np.where(structure.signed, -np.inf, lower[of_term])
            upper[of_term] = np.where(structure.signed, np.inf, upper[of_term])
    lower[place] = np.where(residual.variances, floor, residual.lower)
    correlations = np.isfinite(residual.upper)
    if np.count_nonzero(correlations):
        upper[place] -= np.where(correlations, SHORT, 0.0)
        lower[place] += np.where(correlations & (residual.lower < 0.0), SHORT, 0.0)
    return lower, upper


def labels(space: Space, mask: np.ndarray) -> tuple[str, ...]:
    """Labels of the components in a mask."""
    if not np.count_nonzero(mask):
        return ()
    columns = space.equations.spec.parameters.columns
    return tuple(columns[i] for i in np.flatnonzero(mask))
