"""A way on where the score is no proof of a maximum: beside an empty column of loadings, or a variance of zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from remlblup.arrays import Array
from remlblup.reml.convergence import INWARD
from remlblup.reml.point import Point
from remlblup.reml.step import inward_score
from remlblup.reml.surface import Surface

# A gain of ℓ, relative to 1 + |ℓ|, that is more than rounding.
GAIN = 1e-8
# How far loadings are filled in and variances lifted, in what counts as one of each.
FILLED, LIFTED = (0.3, 0.1, 0.03, 0.01, 0.003), (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def escaped_from(surface: Surface, point: Point) -> Point | None:
    """A point from which ℓ rises further; None if there is none."""
    return with_columns_filled(surface, point) or with_variances_lifted(surface, point)


def with_variances_lifted(surface: Surface, point: Point) -> Point | None:
    """A better point with a variance above zero, at other correlations than those it went to zero with.

    Or the same with those correlations, where only the score tells that ℓ rises from there.
    """
    for theta, turned in lifts(surface, point):
        value, solution = surface.loglik(theta)
        if solution is None:
            continue
        if is_better(value, point):
            return surface.point(theta, value, solution)
        if turned and not np.array_equal(theta, point.theta):
            other = surface.point(theta, value, solution)
            if inward_score(surface.space, other) > INWARD:
                return other
    return None


def lifts(surface: Surface, point: Point) -> Iterator[tuple[Array, bool]]:
    """θ with variances of zero lifted by less and less, and at last not at all,
    but with the correlations of the others."""
    space, parameters = surface.space, surface.equations.spec.parameters
    for k, (structure, place) in enumerate(zip(parameters.structures, parameters.of_terms, strict=True)):
        here, free = point.theta[place], ~space.held[place]
        if structure.cone or not np.count_nonzero(here == 0.0):
            continue
        zero = structure.variances & (here == 0.0) & free
        if not np.count_nonzero(zero):
            continue
        lifted = structure.lifted(here, point.score.of_sigma[k], np.sqrt(np.diag(space.units[k])), free)
        if lifted is None:
            continue
        for size in (*LIFTED, 0.0):
            theta = point.theta.copy()
            theta[place] = np.where(zero, size * lifted, np.where(~structure.variances & free, lifted, here))
            yield theta, size == 0.0


def with_columns_filled(surface: Surface, point: Point) -> Point | None:
    """A better point with a column of zero loadings filled in: there the score is zero whether or not ℓ is largest."""
    for mask in surface.space.empty_columns(point.theta):
        along = uphill(surface, point, mask)
        for size in FILLED:
            theta = point.theta.copy()
            theta[mask] = size * along
            value, solution = surface.loglik(theta)
            if solution is not None and is_better(value, point):
                return surface.point(theta, value, solution)
    return None


def uphill(surface: Surface, point: Point, mask: np.ndarray) -> Array:
    """The direction of the empty loadings `mask` along which ℓ bends up most, from differences of the score."""
    sizes, rows = surface.space.sizes[mask], []
    for i in np.flatnonzero(mask):
        theta = point.theta.copy()
        theta[i] = 0.01 * surface.space.sizes[i]
        there = surface.at(theta) or point
        rows.append(sizes * there.gradient[mask])
    bend = np.array(rows)
    return np.asarray(sizes * np.sqrt(len(sizes)) * np.linalg.eigh(bend + bend.T)[1][:, -1])


def is_better(value: float, point: Point) -> bool:
    """Whether ℓ is higher than at the point by more than rounding."""
    return value > point.loglik + GAIN * (1.0 + abs(point.loglik))
