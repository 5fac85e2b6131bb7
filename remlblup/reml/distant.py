"""Ranges far beyond the places: variance and range run off together, and ℓ has no maximum.

Far within its range the correlation falls in proportion to the distance, v(1 − c) ≈ (v/φ) d or (v/φ²) d²: contrasts of
the records, all that REML sees beside a mean, depend on the ratio alone. ℓ rises ever more slowly as both grow.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from remlblup.arrays import Array
from remlblup.model.parameters import Parameters
from remlblup.structure.distance.base import Distance

# Extents of the places beyond which a range is on its way to no end: while ℓ still rises, and whatever it does; and
# from which on it is worth a word.
BEYOND, FARTHER, NOTED = 30.0, 1000.0, 3.0
# Extents at which another start is given up: the first one shows whether there is a maximum out there.
LEAVING = 8.0


def ranges(parameters: Parameters, theta: Array, held: np.ndarray) -> Iterator[tuple[str, Distance, Array]]:
    """Terms whose range is free: name, structure, and its ranges in extents of the places, shortest first."""
    for name, structure, place in zip(parameters.terms, parameters.structures, parameters.of_terms, strict=True):
        if isinstance(structure, Distance) and not held[place].all() and theta[place][0] > 0.0:
            metric = structure.metric
            yield name, structure, np.sort(metric.ranges(structure.split(theta[place])[1])) / metric.extent


def runs_off(parameters: Parameters, theta: Array, held: np.ndarray, rising: bool) -> str:
    """The reason why a search has no end, ℓ still `rising`; "" if that is not so."""
    for name, structure, found in ranges(parameters, theta, held):
        coordinates = structure.metric.coordinates
        if found[0] > (BEYOND if rising else FARTHER):
            return (
                f"the range of '{name}' has grown to {found[0]:,.3g} times the extent of the places, and its variance"
                " with it: within the data the correlation hardly falls, only the ratio of variance and range is known,"
                " and the likelihood rises ever more slowly without a maximum. Add a trend to the fixed part,"
                f" '+ {' + '.join(coordinates)}' or a spline, hold the range with fix=, or try other starts."
            )
        if found[-1] > FARTHER:
            return (
                f"one range of '{name}' has grown to {found[-1]:,.3g} times the extent of the places: in that direction"
                " the correlation does not fall, and the likelihood rises ever more slowly without a maximum. Write"
                " fewer coordinates or one range for all, or hold the range with fix=."
            )
    return ""


def leaves(parameters: Parameters, theta: Array, held: np.ndarray) -> bool:
    """Whether another start is on its way to no end."""
    return any(found[0] > LEAVING for _, _, found in ranges(parameters, theta, held))


def noted(parameters: Parameters, theta: Array, held: np.ndarray) -> str:
    """What to know of a maximum with a range beyond the places; "" if there is none."""
    for name, _, found in ranges(parameters, theta, held):
        if found[0] > NOTED:
            return (
                f" The range of '{name}' is {found[0]:.3g} times the extent of the places: little more than the ratio"
                " of its variance and range is known."
            )
    return ""
