"""Directions and their control: from a point to the θ it proposes next.

A step solves H d = g for the score g and an information matrix H = AI + w · EM: the average
information for w = 0, the EM step for w → ∞, a blend between. Variances with a lower bound are
handled as an active set: a step across the bound stops on it, and a component on the bound with
an outward score stays there. A covariance matrix about to become indefinite is stepped in
coordinates of its own instead (`remlblup.structure.edge`).
"""

from __future__ import annotations

import numpy as np

from remlblup.reml.newton import Newton
from remlblup.reml.space import RESIDUAL_SHRINK, Point, Space
from remlblup.structure.base import Array

Matrices = dict[str, tuple[tuple[str, ...], Array]]

# A step in Σ may shrink its smallest pivot to this share; beyond, Cholesky coordinates are used.
SHRINK = 0.02
# A residual variance never falls below this share of where it starts.
FLOOR = 1e-12


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
        charts = charts | {k: space.chart(k, point.theta) for k in leaving}


def bounded_direction(space: Space, point: Point, model: Newton, fraction: float, reluctant: np.ndarray) -> Array:
    """The direction times `fraction`, components that would cross the limit of this step set onto it."""
    free = model.free.copy()
    shift = np.zeros(len(free))
    low, high = (space.coordinates(limit) for limit in space.limits(point.theta))
    at = space.coordinates(point.theta)
    n_random = space.equations.spec.parameters.slices[-1].start
    whole = np.count_nonzero(free) == len(free)
    while True:
        d = fraction * (model.newton_step if whole else model.direction(shift / fraction, free))
        end = at + d[model.plain]  # a parameter without a coordinate of its own is in a cone
        inside = (low < end) & (end < high) | space.in_cone
        crossing = np.flatnonzero(free[model.plain] & ~inside)
        if not len(crossing):
            return d
        for i in crossing:
            x = model.plain[i]
            to_limit = (low if d[x] < 0.0 else high)[i] - at[i]
            creep = i < n_random and reluctant[i] and abs(to_limit) > 1e-7 * abs(space.sizes[i])
            shift[x] = 0.9 * to_limit if creep else to_limit
            free[x] = whole = False


def moved(space: Space, theta: Array, model: Newton, d: Array) -> Array:
    """θ after the displacement d in the coordinates of the model."""
    new = space.parameters_at(space.coordinates(theta) + d[model.plain])
    for k, (chart, columns) in model.charts.items():
        new[space.charted[k]] = chart.moved(d[columns])
    low, high = space.box
    return np.where(space.held, theta, np.minimum(np.maximum(new, low), high))


def leaves_cone(space: Space, k: int, old: Array, new: Array) -> bool:
    """Whether Σ_k is about to become indefinite, or singular in one stride."""
    return space.smallest_eigenvalue(k, new) < SHRINK * space.smallest_eigenvalue(k, old)


def keep_residual(space: Space, old: Array, new: Array) -> Array:
    """R must stay positive definite: no combination of its effects loses more than nine tenths of its variance."""
    place, residual = space.equations.spec.parameters.slices[-1], space.equations.spec.residual
    before, after = old[place], new[place]
    matrices = residual.matrices(before)
    for _ in range(40):
        if residual.feasible(after) and not (matrices and shrinks(matrices, residual.matrices(after))):
            break
        after = 0.5 * (before + after)
    new[place] = after
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
        inward, place = chart.inward(space.edge_score(k, point)), space.charted[k]
        curvature = float(inward.change @ point.information[place, place] @ inward.change)
        if curvature > 0.0 and inward.value > tolerance * np.sqrt(curvature):
            theta = point.theta.copy()
            theta[place] = inward.towards(inward.value / curvature)
            return theta
    return None


def inward_score(space: Space, point: Point) -> float:
    """Largest score, in standard errors, that points from a boundary into the parameter space."""
    scores = []
    if np.count_nonzero(point.on_bound):
        at_bound = point.on_bound & ~space.held
        inward, curvature = space.inward(point.theta, point.gradient), point.information.diagonal()
        scores += [relative(g, h) for g, h in zip(inward[at_bound], curvature[at_bound], strict=True)]
    for k, chart in point.charts.items():
        best, place = chart.inward(space.edge_score(k, point)), space.charted[k]
        scores.append(relative(best.value, float(best.change @ point.information[place, place] @ best.change)))
    return float(np.max(scores)) if scores else 0.0  # NaN if any is, and NaN does not pass


def relative(score: float, curvature: float) -> float:
    """A score in standard errors; infinite for an inward score without curvature."""
    if score <= 0.0:
        return 0.0
    return score / float(np.sqrt(curvature)) if curvature > 0.0 else float("inf")
