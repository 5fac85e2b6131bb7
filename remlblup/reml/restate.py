"""Searches in another structure than the one asked for: `corgh` in that of `us`, the first guess of `fa` in `us`.

`corgh` is `us` written otherwise. Standard deviations and correlations are poor coordinates of a search: where a
variance is zero its correlations are void, and ℓ can be stationary there for no better reason. θ = vech(Σ) has no such
points. A term whose parameters the user holds keeps its own structure.

The likelihood of several factors has local maxima, most of them with other specific variances at zero. That of `us`
has none to speak of: the factors of its Σ after a few rounds are where `fa` starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.reml.convergence import explain
from remlblup.reml.coordinates import TINY
from remlblup.reml.history import Iteration
from remlblup.reml.identify import require_enough
from remlblup.reml.loop import Loop, Watch
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.origin import Centred
from remlblup.reml.point import Point
from remlblup.reml.space import Space
from remlblup.reml.start import residual_variance, start_values
from remlblup.structure.base import Structure

Structures = dict[int, Structure]
# Rounds of the first guess.
ROUNDS = 5


def maximize(
    equations: Equations,
    options: Options,
    start: Array,
    fixed: Array,
    report: Callable[[Iteration], None] | None = None,
    watch: Watch | None = None,
) -> Optimum:
    """Where the (RE)ML likelihood is largest: `Loop.run`, `corgh` terms written as `us`.

    Parameters
    ----------
    start, fixed : (n_parameters,) values to start from and to hold, NaN where not given
    """
    require_enough(equations, ~np.isnan(fixed))
    if (centred := Centred.of(equations, options.constrain, ~np.isnan(fixed))) is not None:
        return centred.maximize(maximize, options, start, fixed, report, watch)
    start = guessed_start(equations, options, start, fixed)
    searched = search_structures(equations, fixed) if options.constrain else {}
    if not searched:
        return Loop(equations, options, start, fixed, report, watch).run()
    given = translated(equations, searched, completed(equations, searched, start, fixed), back=False)
    history: list[Iteration] = []

    def note(row: Iteration) -> None:
        history.append(own_row(equations, searched, row))
        if report is not None:
            report(history[-1])

    def watched(theta: Array) -> str | None:
        return None if watch is None else watch(translated(equations, searched, theta, back=True))

    restated = equations.with_structures(searched)
    loop = Loop(restated, options, given, fixed, note, watched)
    return returned(equations, searched, loop.space, loop.run(), tuple(history), bool(loop.confounded))


def guessed_start(equations: Equations, options: Options, start: Array, fixed: Array) -> Array:
    """`start` with what a few rounds of a structure without local maxima tell of the terms it says nothing about."""
    if options.algorithm != "auto" or not options.constrain:
        return start
    parameters = equations.spec.parameters
    known = ~(np.isnan(start) & np.isnan(fixed))
    guesses = {
        k: s.first_guess()
        for k, s in enumerate(parameters.structures)
        if not np.count_nonzero(known[parameters.slices[k]])
    }
    searched = {k: s for k, s in guesses.items() if s is not None}
    if not searched:
        return start
    other = equations.with_structures(searched)
    given, held = respaced(equations, other, searched, start), respaced(equations, other, searched, fixed)
    found = Loop(other, replace(options, max_iterations=ROUNDS), given, held).run().point.theta
    out = start.copy()
    for k, place in enumerate(parameters.slices):
        values = found[other.spec.parameters.slices[k]]
        if k in searched:
            guess = parameters.structures[k].guessed(searched[k].covariance(values))
            out[place] = np.nan if guess is None else guess
        else:
            out[place] = np.where(np.isnan(start[place]), values, start[place])
    return np.where(np.isnan(fixed), out, start)


def respaced(equations: Equations, other: Equations, searched: Structures, theta: Array) -> Array:
    """θ in the places of the other structures, NaN for theirs."""
    parts = equations.spec.parameters.split(theta)
    return np.concatenate(
        [np.full(searched[k].n_parameters, np.nan) if k in searched else part for k, part in enumerate(parts)]
    )


def search_structures(equations: Equations, fixed: Array) -> Structures:
    """The structure to search in, by term, where it is not the term's own."""
    parameters = equations.spec.parameters
    held = ~np.isnan(fixed)
    searched = {
        k: s.restated() for k, s in enumerate(parameters.structures) if not np.count_nonzero(held[parameters.slices[k]])
    }
    return {k: s for k, s in searched.items() if s is not None}


def completed(equations: Equations, searched: Structures, start: Array, fixed: Array) -> Array:
    """`start` with the rest of a term given in part filled in: another structure needs all of it."""
    start = start.copy()
    for k in searched:
        place = equations.spec.parameters.slices[k]
        if 0 < np.isnan(start[place]).sum() < place.stop - place.start:
            start[place] = start_values(equations, residual_variance(equations), start, ~np.isnan(fixed))[place]
    return start


def translated(equations: Equations, searched: Structures, theta: Array, back: bool) -> Array:
    """θ of the structures searched in, or `back` of the terms' own; what is not given stays so."""
    theta, parameters = theta.copy(), equations.spec.parameters
    for k, structure in searched.items():
        place, own = parameters.slices[k], parameters.structures[k]
        if not np.isnan(theta[place]).any():
            theta[place] = (
                own.project(structure.covariance(theta[place]))
                if back
                else structure.project(own.covariance(theta[place]))
            )
    return theta


def own_boundary(equations: Equations, searched: Structures, theta: Array, boundary: np.ndarray) -> np.ndarray:
    """Components on the boundary in the terms' own structures: correlations of a singular Σ, variances of zero."""
    out, parameters = boundary.copy(), equations.spec.parameters
    for k in searched:
        place, structure = parameters.slices[k], parameters.structures[k]
        out[place] = False
        if boundary[place].any() and structure.charted is not None:
            out[place][structure.charted] = True
            out[place] |= structure.variances & (theta[place] == 0.0)
    return out


def own_row(equations: Equations, searched: Structures, row: Iteration) -> Iteration:
    """A row of the history."""
    parameters = equations.spec.parameters
    theta = translated(equations, searched, row.theta, back=True)
    named = equations.with_structures(searched).spec.parameters.columns
    mask = own_boundary(equations, searched, theta, np.array([c in row.boundary for c in named]))
    return replace(row, theta=theta, boundary=tuple(c for c, b in zip(parameters.columns, mask, strict=True) if b))


def returned(
    equations: Equations,
    searched: Structures,
    space: Space,
    found: Optimum,
    history: tuple[Iteration, ...],
    by_design: bool,
) -> Optimum:
    """The optimum in the terms' own structures, its score and information with it."""
    parameters, ml = equations.spec.parameters, found.point.score.ml
    theta = history[-1].theta
    lower, upper = space.lower.copy(), space.upper.copy()
    for k in searched:
        place = parameters.slices[k]
        lower[place], upper[place] = parameters.structures[k].lower, parameters.structures[k].upper
    own = Space(equations, space.held, lower, upper, space.units, space.constrain)
    now = found.point.score
    gradient = now.gradient.copy()
    for k in searched:
        place = parameters.slices[k]
        derivatives = parameters.structures[k].derivatives(theta[place])
        gradient[place] = np.einsum("ij,pij->p", now.of_sigma[k], derivatives)
    at, solution = equations.solve_again(theta, ml, found.solution, now.solution)
    now = replace(now, gradient=gradient, solution=solution)
    information = equations.average_information(solution)
    point = Point(theta, found.point.loglik, at, now, information, own.charts(theta), own.at_bound(theta))
    mask = own_boundary(equations, searched, theta, found.boundary)
    verdict = replace(found.convergence, boundary=history[-1].boundary)
    if verdict.unidentified:
        names = own_names(equations, searched, found.point.theta, verdict.unidentified)
        told = any(name in verdict.reason for name in verdict.unidentified)  # that of a trend names none
        failed = [c.name for c in verdict.criteria if not c.passed]
        reason = explain(False, names, "", failed, by_design) if told else verdict.reason
        verdict = replace(verdict, reason=reason, unidentified=names)
    return Optimum(point, at, verdict, history, mask, found.held, own.tangent(theta), equations, equations)


def own_names(equations: Equations, searched: Structures, theta: Array, names: tuple[str, ...]) -> tuple[str, ...]:
    """The terms' own parameters that move where the ones called `names` of the structures searched in move,
    from their θ.

    A variance moves the correlations as well: it is the covariances that stay.
    """
    parameters = equations.spec.parameters
    moving = np.array([name in names for name in equations.with_structures(searched).spec.parameters.columns])
    for k, structure in searched.items():
        place, own = parameters.slices[k], parameters.structures[k]
        if not moving[place].any():
            continue
        derivatives = own.derivatives(own.project(structure.covariance(theta[place])))
        changes = structure.derivatives(theta[place])[moving[place]]
        across = np.linalg.lstsq(
            derivatives.reshape(len(derivatives), -1).T, changes.reshape(len(changes), -1).T, 1e-12
        )
        share = np.abs(across[0]) / np.max(np.abs(across[0]), axis=0, initial=TINY)
        moving[place] = np.any(share > 1e-10, axis=1)
    return tuple(name for name, moves in zip(parameters.columns, moving, strict=True) if moves)
