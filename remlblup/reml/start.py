"""Start values from the data, and what counts as one unit of variance for each effect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import VarianceError
from remlblup.linalg.small import cholesky, eigenvalues
from remlblup.structure.base import Structure
from remlblup.structure.edge.cone import in_metric
from remlblup.structure.residual.base import ResidualStructure

# The least eigenvalue of the Σ of a term at θ.
Smallest = Callable[[int, Array], float]


def residual_variance(equations: Equations) -> float:
    """Variance of y given X, of a record of weight 1."""
    return equations.scales.variance


def unit_matrices(equations: Equations, variance: float) -> list[Array]:
    """Per term (t, t): the Σ with which it would explain all of y, where `variance`, that of a record of weight 1,
    is all."""
    share = variance / equations.scales.variance
    return equations.units if share == 1.0 else [share * unit for unit in equations.units]


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
    if (own := structure.sizes(float(unit.trace()) / len(unit))) is not None:
        return own
    scale = np.sqrt(unit.diagonal())
    if structure.cone:
        return structure.project(scale[:, None] * scale)
    of_unit = structure.project(unit)
    if (loadings := structure.loading_derivatives(of_unit)) is not None:
        of_loadings = np.einsum("pia,i->p", np.abs(loadings), scale)
        of_rest = np.einsum("pii,i->p", np.abs(structure.derivatives(0.0 * of_unit)), scale**2)
        of_unit = np.where(of_loadings > 0.0, of_loadings, of_rest)
    sizes = np.where(np.isfinite(structure.upper), 1.0, np.abs(of_unit))
    return sizes if np.count_nonzero(sizes > 0.0) == len(sizes) else np.where(sizes > 0.0, sizes, np.max(sizes))


def residual_sizes(residual: ResidualStructure, phi: Array) -> Array:
    """The sizes of the parameters of R, from those it would have if it were all of y."""
    if (own := residual.sizes(float(phi[0]) if len(phi) else 0.0)) is not None:
        return own
    out = np.where(residual.variances, phi, 1.0)
    rest = ~residual.variances & ~np.isfinite(residual.upper)
    if not np.count_nonzero(rest):
        return out
    slopes = residual.matrix_derivatives(phi)
    for label, (_, sigma) in (residual.matrices(phi) if slopes else {}).items():
        s = np.sqrt(np.diag(sigma))
        for k in np.flatnonzero(rest):
            change = np.max(np.abs(slopes[label][k]) / np.outer(s, s))
            if change > 0.0:
                out[k] = 1.0 / change
    return out


def start_values(
    equations: Equations, variance: float, given: Array, held: np.ndarray, smallest: Smallest | None = None
) -> Array:
    """θ to start from: half of the residual variance to R, the other half shared by the random effects.

    `given` holds the user's values and NaN elsewhere; `held` marks those that are not to move. `smallest` tells the
    least eigenvalue of a term's Σ in the metric of its unit matrix, where that is known (`Space.smallest_eigenvalue`).
    """
    spec = equations.spec
    effects = sum([d.t for d in spec.random])
    share, scales = 0.5 if effects else 1.0, equations.scales
    # Independent effects to begin with: positive semidefinite beside any variances the user gave.
    parts = [d.structure.start(np.diag(0.5 / effects * scales.effects(k, d))) for k, d in enumerate(spec.random)]
    theta = np.concatenate([*parts, spec.residual.start(share * variance, share * scales.squares)])
    free = np.isnan(given)
    if np.count_nonzero(free) < len(free):
        theta = np.where(free, theta, given)
        make_room(equations, theta, free)
    part = 0.5 / max(effects, 1) * variance / scales.variance
    for k, (design, place) in enumerate(zip(spec.random, spec.parameters.of_terms, strict=True)):
        if design.structure.cone and not np.count_nonzero(held[place]):
            # From a singular start no step could tell which way to leave the boundary.
            least = smallest(k, theta) if smallest is not None else least_in_units(equations, k, theta)
            if least < 1e-6 * part:
                sigma = design.structure.covariance(theta[place])
                theta[place] = design.structure.project(sigma + 1e-2 * part * equations.units[k])
    return theta


def least_in_units(equations: Equations, k: int, theta: Array) -> float:
    """Smallest eigenvalue of Σ_k at θ in the metric of its unit matrix."""
    sigma = equations.spec.parameters.structures[k].covariance(theta[equations.spec.parameters.of_terms[k]])
    return float(eigenvalues(in_metric(sigma, cholesky(equations.units[k])))[0])


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
        if not np.count_nonzero(given[place])
    ]
    places = [(place, starts) for place, starts in places if starts]
    out: list[Array] = []
    for k in range(max(len(starts) for _, starts in places) if places else 0):
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
        if np.count_nonzero(free[place]) == place.stop - place.start:
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
    if not np.count_nonzero(fixed == 0.0):
        return fixed
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
