"""Parameters of distance and shape that come nearest to a matrix of correlations, by least squares."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from remlblup.arrays import Array

# Pairs of places whose correlations are compared, at most; ranges tried first, as shares of the largest distance.
PAIRS, RANGES = 1800, np.geomspace(0.005, 30.0, 25)
# What else is tried first.
TRIED = {"ratio": (0.25, 0.7), "angle": (-60.0, -20.0, 20.0, 60.0), "nu": (0.1, 0.3, 0.5, 1.0, 2.5, 8.0)}
# A range of a further coordinate beside that of the first, and from how many of the nearest the search goes.
SHORTER, CLIMBS = (0.3, 1.0, 3.0), 3
# The logarithm of the largest range.
FARTHEST = 230.0
# Correlations below this are none.
NONE = 1e-14


def nearest(structure: Any, C: Array) -> Array:
    """θ behind the variance for which the correlations of a structure of distance are nearest to C (t, t)."""
    from scipy.optimize import least_squares

    rows, columns = np.tril_indices(structure.size, -1)
    kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), PAIRS)).astype(int))
    rows, columns = rows[kept], columns[kept]
    target = C[rows, columns]
    size = np.max(np.abs(target))
    if size <= NONE:
        return np.where(structure.metric_ranges, 0.0, structure.first())
    upper, logarithmic = structure.upper[1:], structure.powers[1:] == 0.0

    def theta(x: Array) -> Array:
        return np.r_[
            1.0,
            np.minimum(np.where(logarithmic, np.exp(np.where(logarithmic, np.minimum(x, FARTHEST), 0.0)), x), upper),
        ]

    def coordinates(at: Array) -> Array:
        return np.where(logarithmic, np.log(np.where(logarithmic, np.maximum(at, 1e-300), 1.0)), at)

    def apart(x: Array) -> Array:
        return np.asarray((structure.covariance(theta(x))[rows, columns] - target) / size)

    def slopes(x: Array) -> Array:
        at = theta(x)
        by_theta = np.array([d[rows, columns] / size for d in structure.each_derivative(at)][1:]).T
        return np.asarray(by_theta * np.where(logarithmic, at[1:], 1.0))

    def away(x: Array) -> float:
        return float(np.sum(apart(x) ** 2))

    ceiling = np.where(np.isfinite(upper), coordinates(np.where(np.isfinite(upper), upper, 1.0)), np.inf) + 1e-9
    first = sorted(map(coordinates, trials(structure)), key=away)[: CLIMBS if len(upper) > 1 else 1]
    ends = (
        least_squares(
            apart, np.minimum(x, ceiling - 1e-6), slopes, (-np.inf, ceiling),
            xtol=1e-15, ftol=1e-15, gtol=1e-15, x_scale="jac", max_nfev=200,
        ).x for x in first
    )  # fmt: skip
    x = min(ends, key=away)
    for _ in range(3):  # to the last digits, and onto a bound
        nearer = x - np.linalg.lstsq(slopes(x), apart(x), rcond=1e-14)[0]
        if not away(nearer) < away(x):
            break
        x = nearer
    return np.asarray(theta(x)[1:])


def trials(structure: Any) -> list[Array]:
    """Where to begin: every range with every value of ratio, angle and shape that is tried."""
    names, first = structure.names[1:], structure.first()
    grid = [(place, TRIED[name]) for place, name in enumerate(names) if name in TRIED]
    others = [place for place, name in enumerate(names) if name.startswith("range(")][1:]
    grid += [(place, SHORTER) for place in others]
    out = []
    for share in RANGES[:: 1 if not grid else 2]:
        start = np.r_[structure.metric.start(share * structure.usual[3]), first[len(structure.metric.names) :]]
        for chosen in itertools.product(*(values for _, values in grid)):
            at = start.copy()
            for (place, _), value in zip(grid, chosen, strict=True):
                at[place] = value * at[place] if place in others else min(value, structure.upper[1 + place])
            out.append(at)
    return out
