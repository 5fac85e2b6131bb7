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

from remlblup.reml.chart import Chart, snapped
from remlblup.reml.space import Point, Space
from remlblup.structure.base import Array

Matrices = dict[str, tuple[tuple[str, ...], Array]]

# A step in Σ may shrink its smallest pivot to this share; beyond, Cholesky coordinates are used.
SHRINK = 0.02
# The residual variance may fall to this share in one step, and never below FLOOR of the variance of y given X.
RESIDUAL_SHRINK = 0.1
FLOOR = 1e-12


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
        if space.loadings.any():  # the likelihood is flat in a loading of zero: no step is to be had from it
            free &= ~space.loadings | (np.diag(information) * space.sizes**2 > 1e-9)
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
        # Part of a step is part of the way to where the whole one would end, on a bound if need be.
        d = min(fraction, 1.0) * bounded_direction(space, point, model, max(fraction, 1.0), reluctant)
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
    if variance.all() and (after > RESIDUAL_SHRINK * before).all() and not residual.matrices(before):
        return new
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
