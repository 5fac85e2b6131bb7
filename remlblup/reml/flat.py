"""Directions the likelihood is flat in.

The average information says where to look: at a maximum it is zero along a direction the likelihood is flat in, but
also where θ is a poor coordinate of Σ (beside a singular matrix, at a zero variance). So ℓ itself is evaluated on both
sides, and only what leaves it as it is counts as flat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.linalg.small import eigensystem, eigenvalues
from remlblup.model.parameters import Parameters
from remlblup.reml.coordinates import TINY
from remlblup.reml.likelihood import likelihood_at
from remlblup.reml.point import Point
from remlblup.structure.base import Structure
from remlblup.structure.residual.base import ResidualStructure

# Eigenvalues of the information, scaled to a unit diagonal, at which ℓ is looked at.
SUSPECT = 1e-8
# Steps relative to the size of the parameters, and the change of ℓ below which it does not change.
STEPS, UNCHANGED = (0.3, 0.04, 0.01), 1e-6
# Halvings of these steps where none can be taken.
SHORTER = 6
# Over a step a quarter as long ℓ falls to 1/256 on a ridge that curves in θ, to 1/64 or more where it is not flat.
QUARTIC = 100.0
# Information below this, in the size of a parameter, is none.
NOTHING = 1e-12
# A direction concerns a parameter from so many of its standard errors on, where the one that moves most moves by its
# size: held back, it would cost ℓ half the square.
SHARE = 0.01


def unmoved(equations: Equations, point: Point, J: Array, units: Array) -> np.ndarray:
    """(n_parameters,) parameters that a direction concerns along which ℓ does not change, of those in J
    (n_parameters, k) that θ may move in; `units` as `Space.sizes`."""
    sizes = step_sizes(point, units)
    H = J.T @ point.information @ J
    length = (np.abs(J) / sizes[:, None]).max(axis=0, initial=0.0)
    unknown = H.diagonal() <= NOTHING * length**2  # a parameter by itself
    known = (~unknown).nonzero()[0]
    H = H[known[:, None], known]
    d = 1.0 / np.sqrt(H.diagonal())
    H = H * d * d[:, None]
    if len(known) == len(unknown) and np.count_nonzero(eigenvalues(H) < SUSPECT) == 0:
        return np.zeros(len(J), dtype=bool)
    values, vectors = eigensystem(H)
    suspect = values < SUSPECT
    directions = np.concatenate([J[:, unknown], J[:, known] @ (d[:, None] * vectors[:, suspect])], axis=1).T
    size = np.max(np.abs(directions) / sizes, axis=1, initial=0.0)
    directions = directions[size > 0.0] / size[size > 0.0, None]
    flat = [looked_at(equations, point, along) for along in directions]
    return np.any(np.abs(directions[flat]) > SHARE * standard_errors(point, sizes), axis=0)


def standard_errors(point: Point, sizes: Array) -> Array:
    """(n_parameters,) standard error of each parameter given the others; its size where there is no information."""
    information = point.information.diagonal()
    return np.where(information * sizes**2 > NOTHING, 1.0 / np.sqrt(np.maximum(information, TINY)), sizes)


def step_sizes(point: Point, units: Array) -> Array:
    """(n_parameters,) the size of each parameter, or its standard error given the others if that is more.

    Not more than what it competes with: what has no information has no standard error.
    """
    information = point.information.diagonal()
    error = np.where(information > 0.0, 1.0 / np.sqrt(np.maximum(information, TINY)), np.inf)
    return np.maximum(np.maximum(np.abs(point.theta), np.minimum(error, units)), 1e-150)


def looked_at(equations: Equations, point: Point, along: Array) -> bool:
    """Whether ℓ is flat along a direction; beside an edge steps are as short as they must be to be taken at all."""
    for shorter in 0.5 ** np.arange(SHORTER):
        whole, *parts = (shorter * step * along for step in STEPS)
        if np.isfinite(change := change_at(equations, point, whole)):
            break
    else:
        return False  # nothing can be said of it
    if change <= UNCHANGED * shorter**2:
        return True
    longer, short = (change_at(equations, point, part) for part in parts)
    return short <= 10.0 * UNCHANGED and short * QUARTIC <= longer


def change_at(equations: Equations, point: Point, step: Array) -> float:
    """|ℓ − ℓ̂| at a step, the larger of both sides of those that can be taken; infinite where none can."""
    sides = np.array([loglik(equations, point, displaced(equations.spec.parameters, point, side * step))
                      for side in (1.0, -1.0)]) - point.loglik  # fmt: skip
    return float(np.max(np.abs(sides[np.isfinite(sides)]), initial=0.0)) if np.isfinite(sides).any() else np.inf


def displaced(parameters: Parameters, point: Point, change: Array) -> Array:
    """θ + change; what lies on a face of singular matrices moves along it."""
    theta = point.theta + change
    for k, chart in point.charts.items():
        place, charted = parameters.slices[k], parameters.structures[k].charted
        assert charted is not None
        own = slice(place.start + charted.start, place.start + charted.stop)
        step: Any = np.linalg.lstsq(chart.jacobian(), change[own], rcond=1e-10)[0]
        theta[own] = chart.moved(step)
    return theta


def loglik(equations: Equations, point: Point, theta: Array) -> float:
    """ℓ at θ; −∞ out of bounds that the point keeps, or where V is not positive definite."""
    parameters = equations.spec.parameters
    kept = (point.theta >= parameters.lower) & (point.theta <= parameters.upper)
    if np.any(kept & ((theta < parameters.lower) | (theta > parameters.upper))):
        return -np.inf
    parts = parameters.split(theta)
    structures: tuple[Structure | ResidualStructure, ...] = (*parameters.structures, parameters.residual)
    if not all(s.feasible(part) for s, part in zip(structures, parts, strict=True)):
        return -np.inf
    with np.errstate(all="ignore"):  # a residual variance of zero
        return likelihood_at(equations, theta, point.score.ml)[0]
