"""Directions and their control: from a point to the θ it proposes next.

A step solves H d = g for the score g and an information matrix H = AI + w · EM: the average
information for w = 0, the EM step for w → ∞, a blend between. Variances with a lower bound are
handled as an active set: a step across the bound stops on it, and a component on the bound with
an outward score stays there. A covariance matrix about to leave its cone is stepped in Cholesky
coordinates instead (`remlblup.reml.chart`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg

from remlblup.equations.mme import MixedModelEquations, Solution
from remlblup.model.parameters import Parameters
from remlblup.reml.chart import SNAP, Chart, snapped
from remlblup.reml.score import Score
from remlblup.structure.base import Array

Matrices = dict[str, tuple[tuple[str, ...], Array]]

# A step in Σ may shrink its smallest pivot to this share; beyond, Cholesky coordinates are used.
SHRINK = 0.02
# The residual variance may fall to this share in one step, and never below FLOOR of the variance of y given X.
RESIDUAL_SHRINK = 0.1
FLOOR = 1e-12


@dataclass(frozen=True)
class Point:
    """An iterate with everything the next step needs.

    Attributes
    ----------
    score, information : first derivatives and average information at θ
    charts : Cholesky coordinates of each term whose Σ is singular at θ
    """

    theta: Array
    loglik: float
    solution: Solution
    score: Score
    information: Array
    charts: dict[int, Chart]

    @property
    def gradient(self) -> Array:
        return self.score.gradient

    def change_from(self, other: Point, moving: np.ndarray) -> float:
        """Largest |Δθ_i| of the moving parameters over max(|θ_i|, 1/√AI_ii)."""
        curvature = np.diag(self.information)
        error = np.where(curvature > 0.0, 1.0 / np.sqrt(np.where(curvature > 0.0, curvature, 1.0)), 0.0)
        size = np.maximum(np.maximum(np.abs(self.theta), error), np.finfo(float).tiny)
        return float(np.max((np.abs(self.theta - other.theta) / size)[moving], initial=0.0))


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

    equations: MixedModelEquations
    held: np.ndarray
    lower: Array
    upper: Array
    units: list[Array]
    constrain: bool

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
            out[place] = np.where(np.isfinite(structure.upper), 1.0, structure.project(unit))
        return out

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
        inverse = self.inverse_roots[k]
        return float(np.linalg.eigvalsh(inverse @ self.sigma(k, theta) @ inverse.T)[0])

    def at_bound(self, theta: Array) -> np.ndarray:
        """Components on a simple bound (cones apart)."""
        mask: np.ndarray = (theta <= self.lower) | (theta >= self.upper)
        return mask & ~self.in_cone if self.cones else mask

    def pinned(self, point: Point) -> np.ndarray:
        """Components on a simple bound whose score points out of the parameter space."""
        return self.at_bound(point.theta) & (self.inward(point.theta, point.gradient) <= 0.0)

    def inward(self, theta: Array, v: Array) -> Array:
        """v with the sign that is positive where it points away from the bound θ lies on."""
        return np.where(theta >= self.upper, -v, v)

    def boundary(self, point: Point) -> np.ndarray:
        """Components on the boundary in any sense, held ones excepted."""
        mask = self.at_bound(point.theta)
        for k in point.charts:
            mask[self.equations.spec.parameters.slices[k]] = True
        return mask & ~self.held


def bounds(parameters: Parameters, constrain: bool, floor: float) -> tuple[Array, Array]:
    """Bounds of θ: those of the structures, or without constraints only those of correlations.

    The variances of R stay above `floor`.
    """
    lower, upper = parameters.lower.copy(), parameters.upper
    place, residual = parameters.slices[-1], parameters.residual
    if not constrain:
        lower[np.isinf(upper)] = -np.inf
    lower[place] = np.where((residual.lower == 0.0) & np.isinf(residual.upper), floor, residual.lower)
    return lower, upper


@dataclass(frozen=True)
class Newton:
    """The local quadratic model in the coordinates x of a step: some terms in Σ, some in L.

    Attributes
    ----------
    jacobian : (n_parameters, n_x) ∂θ/∂x
    gradient, hessian : score and information in x
    free : (n_x,) coordinates that may move
    charts : the charts in use, with the columns of x each takes
    plain : (n_parameters,) column of x of each parameter stepped in itself, -1 otherwise
    x : (n_x,) the coordinates of the point
    """

    jacobian: Array
    gradient: Array
    hessian: Array
    free: np.ndarray
    charts: dict[int, tuple[Chart, slice]]
    plain: np.ndarray
    x: Array

    @property
    def signature(self) -> tuple:
        """What the coordinates are: points with equal signatures have comparable x."""
        return tuple((k, tuple(chart.order), chart.rank) for k, (chart, _) in self.charts.items())

    def with_hessian(self, hessian: Array) -> Newton:
        """The same model with another curvature."""
        return replace(self, hessian=hessian)

    @classmethod
    def at(cls, space: Space, point: Point, information: Array, charts: dict[int, Chart]) -> Newton:
        """The quadratic model at a point, with the given terms in chart coordinates."""
        if not charts:
            return cls.plainly(space, point, information)
        places = space.equations.spec.parameters.slices
        n = len(point.theta)
        columns, curvatures, used = [], [], {}
        plain = np.full(n, -1)
        x = point.theta.copy()
        width = 0
        for k, place in enumerate(places):
            size = place.stop - place.start
            block = np.zeros((n, size))
            if k in charts:
                block[place] = charts[k].jacobian()
                curvatures.append(charts[k].curvature(point.score.matrices[k]))
                used[k] = (charts[k], slice(width, width + size))
                x[place] = [charts[k].L[slot] for slot in charts[k].slots]
            else:
                block[place, :] = np.eye(size)
                curvatures.append(np.zeros((size, size)))
                plain[place] = np.arange(width, width + size)
            columns.append(block)
            width += size
        J = np.hstack(columns)
        held = space.held | space.pinned(point)
        free = np.ones(width, dtype=bool)
        free[plain[held & (plain >= 0)]] = False
        H = J.T @ information @ J + scipy.linalg.block_diag(*curvatures)
        return cls(J, J.T @ point.gradient, H, free & (np.diag(H) > 0), used, plain, x)

    @classmethod
    def plainly(cls, space: Space, point: Point, information: Array) -> Newton:
        """The quadratic model in θ itself."""
        n = len(point.theta)
        free = ~(space.held | space.pinned(point))
        free &= np.diag(information) > 0
        return cls(np.eye(n), point.gradient, information, free, {}, np.arange(n), point.theta)

    def direction(self, shift: Array | None = None, free: np.ndarray | None = None) -> Array:
        """d with H d = g on the free coordinates; the others move by `shift` (default: not at all)."""
        free = self.free if free is None else free
        d = np.zeros(len(self.gradient)) if shift is None else shift.copy()
        d[free] = 0.0
        if free.any():
            rhs = self.gradient[free] - self.hessian[np.ix_(free, ~free)] @ d[~free]
            d[free] = scaled_solve(self.hessian[np.ix_(free, free)], rhs)
        return d

    @cached_property
    def newton_step(self) -> Array:
        """H⁻¹g with every coordinate free."""
        return scaled_solve(self.hessian, self.gradient)

    def size(self) -> tuple[float, float]:
        """(largest |score| in standard errors, Newton decrement g'H⁻¹g) over the free coordinates."""
        if not self.free.any():
            return 0.0, 0.0
        if self.free.all():
            g = self.gradient
            return float(np.max(np.abs(g) / np.sqrt(np.diag(self.hessian)))), float(abs(g @ self.newton_step))
        g = self.gradient[self.free]
        H = self.hessian[np.ix_(self.free, self.free)]
        return float(np.max(np.abs(g) / np.sqrt(np.diag(H)))), float(abs(g @ scaled_solve(H, g)))


def scaled_solve(H: Array, rhs: Array) -> Array:
    """H⁻¹ rhs after scaling H to a unit diagonal; least squares where H is singular."""
    d = 1.0 / np.sqrt(np.diag(H))
    scaled = H * d * d[:, None]
    try:
        root = np.linalg.cholesky(scaled)
        if np.min(np.diag(root)) ** 2 > 1e-12:
            inverse = np.linalg.inv(root)
            return d * (inverse.T @ (inverse @ (d * rhs)))
    except np.linalg.LinAlgError:
        pass
    return d * np.linalg.lstsq(scaled, d * rhs, rcond=1e-10)[0]


def propose(space: Space, point: Point, information: Array, fraction: float, reluctant: np.ndarray,
            known: Newton | None = None) -> Array:  # fmt: skip
    """θ after `fraction` of a Newton step with the given information, inside the parameter space.

    `known` is the quadratic model to use at the point's own coordinates, if not that of `information`.

    `reluctant` marks components that already came back from the boundary once: they approach it
    by a factor of ten instead of jumping onto it.
    """
    charts = point.charts
    while True:
        model = known if known is not None else Newton.at(space, point, information, charts)
        d = bounded_direction(space, point, model, fraction, reluctant)
        theta = moved(space, point.theta, model, d)
        leaving = [k for k, _ in space.cones if k not in charts and leaves_cone(space, k, point.theta, theta)]
        if not leaving:
            return keep_residual(space, point.theta, theta)
        known = None
        charts = charts | {k: Chart.at(space.sigma(k, point.theta), space.roots[k]) for k in leaving}


def bounded_direction(space: Space, point: Point, model: Newton, fraction: float, reluctant: np.ndarray) -> Array:
    """The direction times `fraction`, components that would cross their bound set onto it."""
    free = model.free.copy()
    shift = np.zeros(len(free))
    n_random = space.equations.spec.parameters.slices[-1].start
    whole = bool(free.all())
    while True:
        d = fraction * (model.newton_step if whole else model.direction(shift / fraction, free))
        crossing = [
            i
            for i in range(n_random)
            if (x := model.plain[i]) >= 0 and free[x] and not space.in_cone[i]
            and not space.lower[i] < point.theta[i] + d[x] < space.upper[i]
        ]  # fmt: skip
        if not crossing:
            return d
        for i in crossing:
            x = model.plain[i]
            to_bound = (space.lower if d[x] < 0.0 else space.upper)[i] - point.theta[i]
            creep = reluctant[i] and abs(to_bound) > 1e-7 * abs(space.sizes[i])
            shift[x] = 0.9 * to_bound if creep else to_bound
            free[x] = whole = False


def moved(space: Space, theta: Array, model: Newton, d: Array) -> Array:
    """θ after the displacement d in the coordinates of the model."""
    new = theta.copy()
    plain = model.plain >= 0
    new[plain] += d[model.plain[plain]]
    parameters = space.equations.spec.parameters
    for k, (chart, columns) in model.charts.items():
        sigma = snapped(chart.sigma(d[columns]), space.roots[k])
        new[parameters.slices[k]] = parameters.structures[k].project(sigma)
    bounded = plain & ~space.in_cone
    bounded[parameters.slices[-1]] = False
    new[bounded] = np.clip(new[bounded], space.lower[bounded], space.upper[bounded])
    return new


def leaves_cone(space: Space, k: int, old: Array, new: Array) -> bool:
    """Whether Σ_k is about to become indefinite, or singular in one stride."""
    return space.smallest_eigenvalue(k, new) < SHRINK * space.smallest_eigenvalue(k, old)


def keep_residual(space: Space, old: Array, new: Array) -> Array:
    """R must stay positive definite: in one step nothing of it shrinks more than tenfold.

    A variance stays above a floor; a correlation short of ±1; of each covariance matrix in R, no combination of
    effects loses more than nine tenths of its variance.
    """
    place, residual = space.equations.spec.parameters.slices[-1], space.equations.spec.residual
    lower, upper, before = residual.lower, residual.upper, old[place]
    variance, ceiling = (lower == 0.0) & np.isinf(upper), np.isfinite(upper)
    after = new[place]
    after = np.where(variance, np.maximum(after, np.maximum(RESIDUAL_SHRINK * before, space.lower[place])), after)
    short = np.where(ceiling, upper, 0.0)
    after = np.where(ceiling, np.minimum(after, short - RESIDUAL_SHRINK * (short - before)), after)
    floor = np.where(ceiling & (lower < 0.0), lower, 0.0)
    after = np.where(ceiling & (lower < 0.0), np.maximum(after, floor + RESIDUAL_SHRINK * (before - floor)), after)
    after = np.where(ceiling & (lower == 0.0), np.maximum(after, 0.0), after)
    for _ in range(40):
        if residual.feasible(after) and not shrinks(residual.matrices(before), residual.matrices(after)):
            break
        after = 0.5 * (before + after)
    new[place] = np.where(space.held[place], before, after)
    return new


def shrinks(old: Matrices, new: Matrices) -> bool:
    """Whether some combination of effects has less than `RESIDUAL_SHRINK` of its variance left."""
    for label, (_, sigma) in old.items():
        if len(sigma) > 1:
            inverse = np.linalg.inv(np.linalg.cholesky(sigma))
            if np.linalg.eigvalsh(inverse @ new[label][1] @ inverse.T)[0] < RESIDUAL_SHRINK:
                return True
    return False


def release(space: Space, point: Point, tolerance: float) -> Array | None:
    """θ moved off a singular face where the score points back inside, or None."""
    for k, chart in point.charts.items():
        value, direction = chart.inward(point.score.matrices[k])
        place = space.equations.spec.parameters.slices[k]
        change = space.equations.spec.parameters.structures[k].project(direction)
        curvature = float(change @ point.information[place, place] @ change)
        if value > tolerance * np.sqrt(curvature):
            theta = point.theta.copy()
            theta[place] += (value / curvature) * change
            return theta
    return None


def inward_score(space: Space, point: Point) -> float:
    """Largest score, in standard errors, that points from a boundary into the parameter space."""
    scores = [0.0]
    at_bound = space.at_bound(point.theta) & ~space.held
    inward, curvature = space.inward(point.theta, point.gradient), np.diag(point.information)
    scores += [relative(g, h) for g, h in zip(inward[at_bound], curvature[at_bound], strict=True)]
    for k, chart in point.charts.items():
        value, direction = chart.inward(point.score.matrices[k])
        place = space.equations.spec.parameters.slices[k]
        change = space.equations.spec.parameters.structures[k].project(direction)
        scores.append(relative(value, float(change @ point.information[place, place] @ change)))
    return float(np.max(scores))  # NaN if any is, and NaN does not pass


def relative(score: float, curvature: float) -> float:
    """A score in standard errors; infinite for an inward score without curvature."""
    if score <= 0.0:
        return 0.0
    return score / float(np.sqrt(curvature)) if curvature > 0.0 else float("inf")
