"""Start values from the data, and what counts as one unit of variance for each effect."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.scales import disjoint
from remlblup.errors import VarianceError
from remlblup.structure.base import Structure
from remlblup.structure.edge.cone import in_metric
from remlblup.structure.residual.base import ResidualStructure

# What keeps covariates that repeat each other from an infinite unit: added to their correlations.
RIDGE = 1e-10


def residual_variance(equations: Equations) -> float:
    """Variance of y given X, of a record of weight 1."""
    return equations.scales.variance


def unit_matrices(equations: Equations, variance: float) -> list[Array]:
    """Per term (t, t): U = M⁻¹, M the mean products of covariates over the variances of records:
    each effect explains all of y.

    For structures without covariances U is diagonal, one over the mean squares. `variance` is that of a record of
    weight 1 that counts as all. Effects that share no record (traits, sites) have the variance of their own records.
    """
    scales = equations.scales
    share = variance / scales.variance
    units = []
    for k, design in enumerate(equations.spec.random):
        if not design.structure.cone or disjoint(design):
            units.append(np.diag(share * scales.effects(k, design)))
            continue
        M = scales.signals[k]
        d = 1.0 / np.sqrt(np.diag(M))
        correlation = M * np.outer(d, d) + RIDGE * np.eye(design.t)
        # By its eigenvalues it is positive definite whatever rounding makes of the elements.
        values, vectors = np.linalg.eigh(0.5 * (correlation + correlation.T))
        inverse = (vectors / np.maximum(values, RIDGE)) @ vectors.T
        units.append(share * np.outer(d, d) * inverse)
    return units


def parameter_sizes(equations: Equations, units: list[Array]) -> Array:
    """(n_parameters,) what counts as one unit of each parameter, given the unit matrix of each term;
    1 for correlations."""
    parameters = equations.spec.parameters
    out = np.ones(parameters.size)
    for structure, place, unit in zip(parameters.structures, parameters.of_terms, units, strict=True):
        out[place] = term_sizes(structure, unit)
    residual, phi = parameters.residual, equations.scales.residual[: parameters.residual.n_parameters]
    out[parameters.of_residual] = residual_sizes(residual, phi)
    return out


def term_sizes(structure: Structure, unit: Array) -> Array:
    """The sizes of the parameters of a Σ of the size of `unit` (t, t)."""
    if (own := structure.sizes(float(np.mean(np.diag(unit))))) is not None:
        return own
    scale = np.sqrt(np.diag(unit))
    if structure.cone:
        return structure.project(np.outer(scale, scale))
    of_unit = structure.project(unit)
    if (loadings := structure.loading_derivatives(of_unit)) is not None:
        of_loadings = np.einsum("pia,i->p", np.abs(loadings), scale)
        of_rest = np.einsum("pii,i->p", np.abs(structure.derivatives(0.0 * of_unit)), scale**2)
        of_unit = np.where(of_loadings > 0.0, of_loadings, of_rest)
    sizes = np.where(np.isfinite(structure.upper), 1.0, np.abs(of_unit))
    return np.where(sizes > 0.0, sizes, np.max(sizes))


def residual_sizes(residual: ResidualStructure, phi: Array) -> Array:
    """The sizes of the parameters of R, from those it would have if it were all of y."""
    if (own := residual.sizes(float(phi[0]) if len(phi) else 0.0)) is not None:
        return own
    out = np.where(residual.variances, phi, 1.0)
    rest = ~residual.variances & ~np.isfinite(residual.upper)
    slopes = residual.matrix_derivatives(phi) if rest.any() else {}
    for label, (_, sigma) in (residual.matrices(phi) if slopes else {}).items():
        s = np.sqrt(np.diag(sigma))
        for k in np.flatnonzero(rest):
            change = np.max(np.abs(slopes[label][k]) / np.outer(s, s))
            if change > 0.0:
                out[k] = 1.0 / change
    return out


def start_values(equations: Equations, variance: float, given: Array, held: np.ndarray) -> Array:
    """θ to start from: half of the residual variance to R, the other half shared by the random effects.

    `given` holds the user's values and NaN elsewhere; `held` marks those that are not to move.
    """
    spec = equations.spec
    effects = sum(d.t for d in spec.random)
    share, scales = 0.5 if effects else 1.0, equations.scales
    units = unit_matrices(equations, 0.5 * variance / max(effects, 1))
    # Independent effects to begin with: positive semidefinite beside any variances the user gave.
    parts = [d.structure.start(np.diag(0.5 / effects * scales.effects(k, d))) for k, d in enumerate(spec.random)]
    theta = np.concatenate([*parts, spec.residual.start(share * variance, share * scales.squares)])
    theta = np.where(np.isnan(given), theta, given)
    make_room(equations, theta, np.isnan(given))
    for design, unit, place in zip(spec.random, units, spec.parameters.of_terms, strict=True):
        if design.structure.cone and not held[place].any():
            sigma = design.structure.covariance(theta[place])
            # From a singular start no step could tell which way to leave the boundary.
            if np.linalg.eigvalsh(in_metric(sigma, np.asarray(np.linalg.cholesky(unit), np.float64)))[0] < 1e-6:
                theta[place] = design.structure.project(sigma + 1e-2 * unit)
    return theta


def first_values(equations: Equations) -> Array:
    """θ to start from where nothing is given."""
    size = equations.spec.parameters.size
    nothing = np.zeros(size, dtype=bool)
    return start_values(equations, residual_variance(equations), np.full(size, np.nan), nothing)


def other_starts(equations: Equations, theta: Array, given: np.ndarray) -> list[Array]:
    """θ with other starts of the terms that have some and of which nothing is `given`."""
    parameters = equations.spec.parameters
    places = [
        (place, structure.other_starts(theta[place]))
        for structure, place in zip(parameters.structures, parameters.of_terms, strict=True)
        if not given[place].any()
    ]
    places = [(place, starts) for place, starts in places if starts]
    out = []
    for k in range(max((len(starts) for _, starts in places), default=0)):
        other = theta.copy()
        for place, starts in places:
            other[place] = starts[k % len(starts)]
        out.append(other)
    return out


def make_room(equations: Equations, theta: Array, free: np.ndarray) -> None:
    """Where given values leave no valid matrix with the free ones: larger free variances, smaller other free values."""
    parameters = equations.spec.parameters
    structures: tuple[Structure | ResidualStructure, ...] = (*parameters.structures, parameters.residual)
    for structure, place in zip(structures, parameters.slices, strict=True):
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
    for term, structure, place in zip(parameters.terms, parameters.structures, parameters.of_terms, strict=True):
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
