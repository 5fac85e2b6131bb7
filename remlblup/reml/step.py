"""Directions and their control: from a point to the θ it proposes next.

A step solves H d = g for the score g and an information matrix H = AI + w · EM: the average
information for w = 0, the EM step for w → ∞, a blend between. Variances with a lower bound are
handled as an active set: a step across the bound stops on it, and a component on the bound with
an outward score stays there. A covariance matrix about to become indefinite is stepped in
coordinates of its own instead (`remlblup.structure.edge.base`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.linalg.scaled_solve import scaled_solve
from remlblup.reml.newton import Newton
from remlblup.reml.point import Point
from remlblup.reml.space import RESIDUAL_SHRINK, Space
from remlblup.structure.edge.base import Edge

Matrices = dict[str, tuple[tuple[str, ...], Array]]

# A step in Σ may shrink its smallest pivot to this share; beyond, Cholesky coordinates are used.
SHRINK = 0.02
# A matrix with a pivot below this is close to a singular one.
NEAR = 1e-3
# A variance stepped in its square root is zero below this share of its unit.
VANISHED = 1e-20


def propose(
    space: Space, point: Point, information: Array, fraction: float, reluctant: np.ndarray, known: Newton | None = None
) -> Array:
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


def bounded_direction(
    space: Space, point: Point, model: Newton, fraction: float, reluctant: np.ndarray, given: Array | None = None
) -> Array:
    """The direction times `fraction`, components that would cross the limit of this step set onto it.

    `given` holds the displacement of coordinates that are not free, if not zero.
    """
    free = model.free.copy()
    shift = np.zeros(len(free)) if given is None else given.copy()
    low, high = (space.coordinates.at(limit) for limit in space.limits(point.theta))
    at = space.coordinates.at(point.theta)
    n_random = space.equations.spec.parameters.of_residual.start
    whole = np.count_nonzero(free) == len(free)
    while True:
        d = fraction * (model.free_step if whole else model.direction(shift / fraction, free))
        end = at + d[model.plain]  # a parameter without a coordinate of its own is in a cone
        inside = (low < end) & (end < high) | space.in_cone
        crossing = np.flatnonzero(free[model.plain] & ~inside)
        if not len(crossing):
            return d
        for i in crossing:
            x = model.plain[i]
            to_limit = (low if d[x] < 0.0 else high)[i] - at[i]
            creep = i < n_random and reluctant[i] and abs(to_limit) > 1e-7 * space.sizes[i]
            shift[x] = 0.9 * to_limit if creep else to_limit
            free[x] = whole = False


def moved(space: Space, theta: Array, model: Newton, d: Array) -> Array:
    """θ after the displacement d in the coordinates of the model."""
    new = space.coordinates.back(space.coordinates.at(theta) + d[model.plain])
    for k, (chart, columns) in model.charts.items():
        new[space.charted[k]] = chart.moved(d[columns])
    if space.coordinates.powers is not None:  # a step in √v comes near to zero, but never quite
        new[space.coordinates.roots & (new < VANISHED * space.sizes)] = 0.0
    if space.loadings.any():  # nor do those of a factor that vanishes, and ℓ is flat there to all digits
        for mask in space.empty_columns(new):
            new[mask] = 0.0
    low, high = space.box
    return np.where(space.held, theta, np.minimum(np.maximum(new, low), high))


def leaves_cone(space: Space, k: int, old: Array, new: Array) -> bool:
    """Whether Σ_k is about to become indefinite, or singular in one stride."""
    return space.smallest_eigenvalue(k, new) < SHRINK * space.smallest_eigenvalue(k, old)


def inside(space: Space, old: Array, new: Array) -> bool:
    """Whether a step ends short of every bound, and no further than one may go."""
    low, high = space.limits(old)
    within = space.held | space.in_cone | (new == old) | (low <= new) & (new <= high) & ~space.at_bound(new)
    return np.count_nonzero(within) == len(within) and not any(leaves_cone(space, k, old, new) for k, _ in space.cones)


def keep_residual(space: Space, old: Array, new: Array) -> Array:
    """R must stay positive definite: no combination of its effects loses more than nine tenths of its variance."""
    place, residual = space.equations.spec.parameters.of_residual, space.equations.spec.residual
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
            # A step that ends on the limit of a variance is none beyond it, whatever a processor makes of the last bit.
            if np.linalg.eigvalsh(inverse @ new[label][1] @ inverse.T)[0] < (1.0 - 1e-9) * RESIDUAL_SHRINK:
                return True
    return False


def across(space: Space, point: Point, information: Array, reluctant: np.ndarray) -> Array | None:
    """θ on another face of the parameter space than the point's, where the quadratic model is largest there; or None.

    Coordinates of a face are of no use to find the way to the next one where they are singular at the corner.
    """
    for k, place in space.cones:
        if space.equations.spec.parameters.structures[k].cone:
            continue  # Cholesky coordinates are good everywhere
        here = space.chart(k, point.theta)
        model = Newton.at(space, point, information, {j: c for j, c in point.charts.items() if j != k})
        own = model.plain[place]
        if not model.free[own].all():
            continue
        rest = model.free.copy()
        rest[own] = False
        between, inner = model.hessian[np.ix_(own, rest)], model.hessian[np.ix_(rest, rest)]
        solved = scaled_solve(inner, np.column_stack([model.gradient[rest], between.T]))
        best = here.best(
            model.gradient[own] - between @ solved[:, 0], model.hessian[np.ix_(own, own)] - between @ solved[:, 1:]
        )
        if best is None:
            continue
        shift = np.zeros(len(rest))
        shift[own] = best - point.theta[place]
        theta = moved(
            space, point.theta, model, bounded_direction(space, point, replace(model, free=rest), 1.0, reluctant, shift)
        )
        theta[place] = best
        if space.chart(k, theta).signature != here.signature:
            return keep_residual(space, point.theta, theta)
    return None


def release(space: Space, point: Point, charts: dict[int, Edge], tolerance: float) -> Iterator[Array]:
    """θ moved off a singular face where the score points back inside: as far as the information says, and less far."""
    for k, chart in charts.items():
        inward, place = chart.inward(space.edge_score(k, point)), space.charted[k]
        curvature = float(inward.change @ point.information[place, place] @ inward.change)
        if curvature > 0.0 and inward.value > tolerance * np.sqrt(curvature):
            for fraction in (1.0, 0.25, 0.0625):
                theta = point.theta.copy()
                theta[place] = inward.towards(fraction * inward.value / curvature)
                yield theta


def near_faces(space: Space, point: Point) -> dict[int, Edge]:
    """Charts of the singular matrices that the point is close to without being one.

    Where ℓ is largest elsewhere such a point is next to a saddle of its chart, of which no step is the way out.
    """
    charts = {
        k: space.chart(k, point.theta) for k, _ in space.cones if space.smallest_eigenvalue(k, point.theta) < NEAR
    }
    faces = {k: chart.near_face(NEAR) for k, chart in charts.items() if not chart.singular}
    return {k: face for k, face in faces.items() if face.singular}


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
