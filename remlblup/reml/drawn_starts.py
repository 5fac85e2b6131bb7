"""Other starts of a search, drawn all over the parameter space: the same in every run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import NotPositiveDefiniteError
from remlblup.reml.likelihood import likelihood_at
from remlblup.reml.optimum import Options
from remlblup.reml.singular_residual import maximize
from remlblup.reml.start import is_valid, parameter_sizes, residual_variance, start_values, unit_matrices
from remlblup.structure.base import Structure
from remlblup.structure.residual.base import ResidualStructure

# Points drawn for a start, of which the one with the highest ℓ is taken.
DRAWS = 3
# How far towards a singular R starts beside it are, and rounds of the search along it.
TOWARDS, ALONG = 0.998, 30


def typical(equations: Equations) -> Array:
    """(n_parameters,) size below which a difference of two values says nothing; 1 for correlations."""
    sizes = parameter_sizes(equations, unit_matrices(equations, residual_variance(equations)))
    return np.where(np.isfinite(equations.spec.parameters.upper), 1.0, 0.01 * sizes)


def first_values(equations: Equations, fixed: Array) -> Array:
    """θ that a search starts from if nothing else is known."""
    return start_values(equations, residual_variance(equations), fixed, ~np.isnan(fixed))


def drawn_starts(equations: Equations, options: Options, fixed: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Starts all over the parameter space, each the likeliest of a few draws."""
    parameters = equations.spec.parameters
    base = first_values(equations, fixed)
    structures: tuple[Structure | ResidualStructure, ...] = (*parameters.structures, parameters.residual)

    def draw() -> Array:
        shares = 10.0 ** (-4.0 * rng.uniform(size=len(structures)) ** 2)
        sizes = shares / np.mean([shares[-1], np.mean(shares[:-1] if len(shares) > 1 else shares)])
        parts = [
            drawn(s, base[place], size, rng)
            for s, place, size in zip(structures, parameters.slices, sizes, strict=True)
        ]
        return np.where(np.isnan(fixed), np.concatenate(parts), fixed)

    while True:
        yield max((draw() for _ in range(DRAWS)), key=lambda theta: likelihood_at(equations, theta, options.ml)[0])


def turning(equations: Equations) -> np.ndarray:
    """(n_parameters,) correlations and covariances of the residual."""
    parameters = equations.spec.parameters
    mask = np.zeros(parameters.size, dtype=bool)
    mask[parameters.of_residual] = ~parameters.residual.variances & (not parameters.residual.dense)
    return mask


def edge_starts(equations: Equations, options: Options, fixed: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Other starts: the best for correlations of the residual that make R all but singular,
    and for the opposite ones."""
    beside = replace(options, max_iterations=ALONG, journal=None)
    free = turning(equations) & np.isnan(fixed)
    for theta in drawn_starts(equations, options, fixed, rng):
        for sign in (1.0, -1.0):
            at = towards_edge(equations, theta, np.where(free, sign * theta, 0.0))
            try:
                yield maximize(equations, beside, at, np.where(free, at, fixed)).point.theta
            except (NotPositiveDefiniteError, np.linalg.LinAlgError):
                yield at


def towards_edge(equations: Equations, theta: Array, along: Array) -> Array:
    """θ with those of its parameters that are in `along` as long a multiple of it as almost makes R singular."""
    residual, place = equations.spec.parameters.residual, equations.spec.parameters.of_residual

    def at(size: float) -> Array:
        return np.where(along != 0.0, size * along, theta)

    inside, outside = 0.0, 1.0
    while outside < 1e3 and is_valid(residual, at(outside)[place]):
        inside, outside = outside, 2.0 * outside
    for _ in range(30):
        middle = 0.5 * (inside + outside)
        inside, outside = (middle, outside) if is_valid(residual, at(middle)[place]) else (inside, middle)
    return at(TOWARDS * inside)


def drawn(structure: Structure | ResidualStructure, base: Array, size: float, rng: np.random.Generator) -> Array:
    """θ of one structure, around `size` times `base`: variances over some orders of magnitude,
    correlations of any size.

    Most maxima that are missed lie on a boundary: small variances and large correlations are drawn more often.
    """
    theta, variances = base.copy(), structure.variances
    theta[variances] *= size * 10.0 ** (0.5 - 3.0 * rng.uniform(size=int(variances.sum())) ** 2)
    bounded = np.isfinite(structure.lower) & np.isfinite(structure.upper) & (structure.powers != 0.0)
    # A correlation per unit of time as that of a gap, from the smallest (the coordinate of the steps) to a usual one.
    power = structure.powers[bounded]
    uneven = power != 1.0
    usual = np.log(0.5) / np.log(base[bounded][uneven])
    power[uneven] *= (usual / power[uneven]) ** rng.uniform(size=len(usual))
    low, high = (
        np.where(power == 1.0, b, np.maximum(b, 0.0) ** power)
        for b in (structure.lower[bounded], structure.upper[bounded])
    )
    x = 0.5 * (low + high - 0.98 * (high - low) * np.cos(np.pi * rng.uniform(size=len(low))))
    theta[bounded] = np.where(power == 1.0, x, np.maximum(x, 0.0) ** (1.0 / power))
    logarithmic = structure.powers == 0.0
    theta[logarithmic] *= 10.0 ** rng.uniform(-0.7, 0.7, int(logarithmic.sum()))
    theta = np.clip(theta, structure.lower, structure.upper)
    rest = ~variances & ~bounded & ~logarithmic
    at = theta.copy()
    for k, limit in covariances(structure, at, rest):
        theta[k], rest[k] = rng.uniform(-0.98, 0.98) * limit, False
    signs = rng.choice([-1.0, 1.0], int(rest.sum()))
    theta[rest] *= signs * np.sqrt(size) * 10.0 ** rng.uniform(-0.7, 0.35, int(rest.sum()))
    for _ in range(60):
        if is_valid(structure, theta):
            return theta
        theta[~variances] *= 0.8
    return base


def covariances(
    structure: Structure | ResidualStructure, theta: Array, among: np.ndarray
) -> Iterator[tuple[int, float]]:
    """Parameters that are a covariance and nothing else, each with the largest it can be at these variances."""
    if not among.any():
        return
    if isinstance(structure, ResidualStructure):
        matrices = [sigma for _, sigma in structure.matrices(theta).values()]
        slopes = list(structure.matrix_derivatives(theta).values())
    else:
        matrices, slopes = [structure.covariance(theta)], [structure.derivatives(theta)]
    for sigma, derivatives in zip(matrices, slopes, strict=True):
        for k in np.flatnonzero(among):
            where = np.argwhere(derivatives[k])
            if len(where) == 2 and where[0][0] != where[0][1]:
                i, j = where[0]
                yield int(k), float(np.sqrt(sigma[i, i] * sigma[j, j]))
