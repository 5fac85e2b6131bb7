"""Ranges far beyond the places: variance and range run off together, and ℓ has no maximum.

Far within its range the correlation falls in proportion to the distance, v(1 − c) ≈ (v/φ) d or (v/φ²) d²: contrasts of
the records, all that REML sees beside a mean, depend on the ratio alone. ℓ rises ever more slowly as both grow.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from remlblup.arrays import Array
from remlblup.model.parameters import Parameters
from remlblup.reml.point import Point
from remlblup.reml.space import Space
from remlblup.structure.distance.base import Distance

# Extents of the places beyond which a range is on its way to no end: while ℓ still rises, and whatever it does; and
# from which on it is worth a word.
BEYOND, FARTHER, NOTED = 30.0, 1000.0, 3.0
# Newton decrement below which the other parameters are where they belong at these ranges.
SETTLED = 0.01
# Extents at which another start is given up: the first one shows whether there is a maximum out there.
LEAVING = 8.0


def ranges(parameters: Parameters, theta: Array) -> Iterator[tuple[str, Distance, Array, slice]]:
    """Terms with a range: name, structure, its ranges in extents of the places, shortest first, place in θ."""
    for name, structure, place in parameters.distances:
        if theta[place][0] > 0.0:
            metric = structure.metric
            yield name, structure, np.sort(metric.ranges(structure.split(theta[place])[1])) / metric.extent, place


def growing(theta: Array, structure: Distance, place: slice, beyond: float, held: np.ndarray) -> np.ndarray:
    """(n_parameters,) those that are not held of the parameters that make ranges longer than so many extents."""
    mask = np.zeros(len(theta), dtype=bool)
    metric = structure.split(theta[place])[1]
    start = place.start + 1
    mask[start : start + len(metric)] = structure.metric.lengthening(metric, beyond * structure.metric.extent)
    return mask & ~held


def outward(space: Space, point: Point, far: np.ndarray) -> tuple[float, float]:
    """∂ℓ/∂log of the ranges `far`, the other parameters following them, and the Newton decrement of those."""
    J = space.tangent(point.theta)
    others = J[:, ~np.any(J[far] != 0.0, axis=0)]
    H = others.T @ point.information @ others
    diagonal = np.diag(H)
    d = np.where(diagonal > 0.0, 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0)), 0.0)
    slopes = others.T @ point.gradient
    step = others @ (d * np.linalg.lstsq(H * d * d[:, None], d * slopes, rcond=1e-10)[0])
    slope = np.where(far, point.theta, 0.0) @ (point.gradient - point.information @ step)
    return float(slope), float(point.gradient @ step)


def leaving(space: Space, point: Point) -> bool:
    """Whether ranges lie far beyond the places and ℓ, all else being settled, still rises with them.

    A long step to such ranges is taken back where ℓ falls with them.
    """
    for _, structure, found, place in ranges(space.equations.spec.parameters, point.theta):
        for length, beyond in ((found[0], BEYOND), (found[-1], FARTHER)):
            if length > beyond and (far := growing(point.theta, structure, place, beyond, space.held)).any():
                slope, decrement = outward(space, point, far)
                if slope > 0.0 and decrement < SETTLED:
                    return True
    return False


def runs_off(space: Space, point: Point, failed: bool) -> str:
    """The reason why a search has no end, criteria of the point having `failed`; "" if that is not so."""
    for name, structure, found, place in ranges(space.equations.spec.parameters, point.theta):
        coordinates = structure.metric.coordinates
        far = growing(point.theta, structure, place, BEYOND, space.held)
        rising = failed and found[0] > BEYOND and far.any() and outward(space, point, far)[0] > 0.0
        if far.any() and (rising or found[0] > FARTHER):
            return (
                f"the range of '{name}' has grown to {found[0]:,.3g} times the extent of the places, and its variance"
                " with it: within the data the correlation hardly falls, only the ratio of variance and range is known,"
                " and the likelihood rises ever more slowly without a maximum. Add a trend to the fixed part,"
                f" '+ {' + '.join(coordinates)}' or a spline, hold the range with fix=, or try other starts."
            )
        if found[-1] > FARTHER and growing(point.theta, structure, place, FARTHER, space.held).any():
            return (
                f"one range of '{name}' has grown to {found[-1]:,.3g} times the extent of the places: in that direction"
                " the correlation does not fall, and the likelihood rises ever more slowly without a maximum. Write"
                " fewer coordinates or one range for all, or hold the range with fix=."
            )
    return ""


def leaves(parameters: Parameters, theta: Array, held: np.ndarray) -> bool:
    """Whether another start is on its way to no end."""
    return any(
        found[0] > LEAVING and growing(theta, structure, place, LEAVING, held).any()
        for _, structure, found, place in ranges(parameters, theta)
    )


def noted(space: Space, theta: Array) -> str:
    """What to know of a maximum with a range beyond the places; "" if there is none."""
    for name, structure, found, place in ranges(space.equations.spec.parameters, theta):
        if found[0] > NOTED and growing(theta, structure, place, NOTED, space.held).any():
            return (
                f" The range of '{name}' is {found[0]:.3g} times the extent of the places: little more than the ratio"
                " of its variance and range is known."
            )
    return ""
