"""The observed information by differences of the score: a last resort, where no expected or average one shows the way.

The average information knows nothing of −½ tr(P V̈) and of the score beside a singular Λ: near a factor that vanishes,
or a correlation that goes to one with a variance, it can be wrong by orders of magnitude.
"""

from __future__ import annotations

import numpy as np

from remlblup.reml.newton import Newton
from remlblup.reml.point import Point
from remlblup.reml.surface import Surface

# Two scores a parameter are little up to so many records and parameters.
RECORDS, PARAMETERS = 600, 20
# Steps relative to a coordinate, and to what counts as one of it.
STEP, OF_UNIT = 1e-3, 1e-5
# Curvature less than this share of the largest, each parameter in its own scale, is taken to be that much.
LEAST = 1e-4


def observed(surface: Surface, point: Point) -> Newton | None:
    """The quadratic model with the observed information, made convex;
    None where it costs too much or θ is no coordinate."""
    space = surface.space
    if point.charts or space.equations.spec.n > RECORDS or len(point.theta) > PARAMETERS:
        return None
    model = Newton.at(space, point, point.information, {})
    moving = np.flatnonzero(model.free & (model.hessian.diagonal() > 0.0))
    low, high = (space.coordinates.at(limit) for limit in space.limits(point.theta))
    sizes = space.coordinates.at(space.sizes)
    H = np.zeros((len(moving),) * 2)
    for column, i in enumerate(moving):
        h = STEP * abs(model.x[i]) + OF_UNIT * sizes[i]
        h = min(h, 0.5 * (model.x[i] - low[i]), 0.5 * (high[i] - model.x[i]))
        sides = []
        for side in (h, -h):
            x = model.x.copy()
            x[i] += side
            theta = space.coordinates.back(x)
            there = surface.at(theta) if h > 0.0 else None
            if there is None:
                return None
            sides.append((space.coordinates.slopes(theta) * there.gradient)[moving])
        H[:, column] = (sides[1] - sides[0]) / (2.0 * h)
    if not len(moving) or not np.all(np.isfinite(H)):
        return None
    d = 1.0 / np.sqrt(model.hessian.diagonal()[moving])
    values, vectors = np.linalg.eigh(0.5 * (H + H.T) * np.outer(d, d))
    sound = np.maximum(np.abs(values), LEAST * np.max(np.abs(values)))
    whole = model.hessian.copy()
    whole[np.ix_(moving, moving)] = (vectors * sound) @ vectors.T / np.outer(d, d)
    return model.with_hessian(whole)
