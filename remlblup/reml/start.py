"""Start values from the data, and what counts as one unit of variance for each effect."""

from __future__ import annotations

import numpy as np

from remlblup.equations.base import Equations
from remlblup.errors import DataError, ModelError, VarianceError
from remlblup.model.design import RandomDesign
from remlblup.reml.chart import in_metric
from remlblup.structure.base import Array, ResidualStructure, Structure


def residual_variance(equations: Equations) -> float:
    """Weighted least-squares residual variance of y given X, of a record of weight 1: Σ w r²/(n − p).

    Raises
    ------
    ModelError
        If the fixed effects reproduce y exactly.
    """
    spec = equations.spec
    w = spec.weights
    ss = float(w @ equations.y[: spec.n] ** 2)
    # The threshold is the rounding error of the regression, not a size of effect.
    if ss <= 1e-26 * float(w @ spec.y**2):
        raise ModelError("the fixed effects reproduce the response exactly: no variance is left to estimate.")
    variance = ss / (spec.n - spec.p)
    if not 1e-100 < variance < 1e100:
        what = "response" if np.all(w == 1.0) else "response or the weights"
        raise DataError(f"the residual variance of the response, {variance:g}, is out of range: rescale the {what}.")
    return variance


def unit_matrices(equations: Equations, variance: float) -> list[Array]:
    """Per term (t, t): U = v M⁻¹, M the mean products of the covariates: each effect explains `variance` of y.

    For structures without covariances U is diagonal, v over the mean squares. `variance` is that of a record
    of weight 1; an average record has v, `variance` over the mean weight. Effects that share no record (traits,
    sites) have the v of their own records.
    """
    average = variance / float(np.mean(equations.spec.weights))
    units = []
    for design in equations.random:
        if not design.structure.cone or disjoint(design):
            units.append(np.diag(average * explained(equations, design)))
            continue
        d = 1.0 / np.sqrt(np.diag(design.moments))
        # The ridge keeps covariates that repeat each other from an infinite unit.
        correlation = design.moments * np.outer(d, d) + 1e-10 * np.eye(design.t)
        units.append(average / design.relationship.scale * np.outer(d, d) * np.linalg.inv(correlation))
    return units


def disjoint(design: RandomDesign) -> bool:
    """Whether the effects, two or more, share no record: traits, sites, times."""
    return design.t > 1 and not np.any(design.moments - np.diag(np.diag(design.moments)))


def explained(equations: Equations, design: RandomDesign) -> Array:
    """(t,) variance that each effect needs to explain one unit of variance of its records.

    One over the mean square of its covariate; of effects that share no record, times the variance of their own
    records relative to that of all; over the scale of K.
    """
    squares = np.diag(design.moments) * design.relationship.scale
    if not disjoint(design):
        return np.asarray(1.0 / squares)
    y2 = equations.spec.weights * equations.y[: equations.spec.n] ** 2
    z2 = [np.asarray(Z.multiply(Z).sum(axis=1)).ravel() for Z in design.columns]
    own = np.array([z @ y2 / z.sum() for z in z2]) / np.mean(y2)
    covariate = np.array([z.sum() / np.count_nonzero(z) for z in z2])
    return np.asarray(np.where(own > 1e-24, own, 1e-6) / covariate / design.relationship.scale)


def start_values(equations: Equations, variance: float, given: Array, held: np.ndarray) -> Array:
    """θ to start from: half of the residual variance to R, the other half shared by the random effects.

    `given` holds the user's values and NaN elsewhere; `held` marks those that are not to move.
    """
    spec = equations.spec
    effects = sum(d.t for d in spec.random)
    share = 0.5 if effects else 1.0
    weight = float(np.mean(spec.weights))
    units = unit_matrices(equations, 0.5 * variance / max(effects, 1))
    # Independent effects to begin with: positive semidefinite beside any variances the user gave.
    parts = [
        d.structure.start(np.diag(0.5 * variance / effects / weight * explained(equations, d))) for d in spec.random
    ]
    theta = np.concatenate([*parts, spec.residual.start(share * variance, share * equations.y[: spec.n] ** 2)])
    theta = np.where(np.isnan(given), theta, given)
    make_room(equations, theta, np.isnan(given))
    for design, unit, place in zip(spec.random, units, spec.parameters.slices, strict=False):
        if design.structure.cone and not held[place].any():
            sigma = design.structure.covariance(theta[place])
            # From a singular start no step could tell which way to leave the boundary.
            if np.linalg.eigvalsh(in_metric(sigma, np.linalg.cholesky(unit)))[0] < 1e-6:
                theta[place] = design.structure.project(sigma + 1e-2 * unit)
    return theta


def make_room(equations: Equations, theta: Array, free: np.ndarray) -> None:
    """Where given values leave no valid matrix with the free ones: larger free variances, smaller other free values."""
    parameters = equations.spec.parameters
    for structure, place in zip((*parameters.structures, parameters.residual), parameters.slices, strict=True):
        if free[place].all():
            continue
        variance = free[place] & structure.variances
        for _ in range(30):
            if is_valid(structure, theta[place]):
                break
            theta[place] *= np.where(variance, 2.0, np.where(free[place], 0.5, 1.0))


def is_valid(structure: Structure | ResidualStructure, theta: Array) -> bool:
    """Whether Σ or R exists at θ."""
    if not structure.feasible(theta):
        return False
    if isinstance(structure, ResidualStructure) or not structure.cone:
        return True
    d = np.sqrt(np.maximum(np.diag(sigma := structure.covariance(theta)), np.finfo(float).tiny))
    return bool(np.linalg.eigvalsh(sigma / np.outer(d, d))[0] > -1e-12)


def zero_covariances(equations: Equations, fixed: Array) -> Array:
    """`fixed` with the covariances of every effect whose variance is fixed at zero: they can only be zero.

    Raises
    ------
    VarianceError
        If such a covariance is itself fixed at another value.
    """
    fixed = fixed.copy()
    parameters = equations.spec.parameters
    for term, structure, place in zip(parameters.terms, parameters.structures, parameters.slices, strict=False):
        if not structure.cone:
            continue
        given = fixed[place]
        index = structure.covariance(np.arange(structure.n_parameters, dtype=float)).astype(int)
        for i in np.flatnonzero(given[np.diag(index)] == 0.0):
            for k in np.delete(index[i], i):
                if given[k] not in (0.0,) and not np.isnan(given[k]):
                    raise VarianceError(
                        f"fix: '{term}' has {structure.names[index[i, i]]} = 0 but {structure.names[k]} = {given[k]:g}:"
                        " an effect without variance has no covariance. Fix it at 0 or leave it out."
                    )
                given[k] = 0.0
    return fixed
