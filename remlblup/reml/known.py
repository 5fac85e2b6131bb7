"""What is known of a point of the likelihood that a search has been at before: a saved fit, an interrupted one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from remlblup.equations.base import Equations
from remlblup.reml.convergence import NEXT, Convergence, Trial, criteria, following
from remlblup.reml.history import Iteration
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.origin import Centred
from remlblup.reml.point import Point
from remlblup.reml.singular_residual import equations_at
from remlblup.reml.space import Space, bounds
from remlblup.reml.start import residual_variance, unit_matrices
from remlblup.reml.step import inward_score
from remlblup.reml.surface import Surface


def optimum_at(
    equations: Equations,
    options: Options,
    iterations: tuple[Iteration, ...],
    loglik: float,
    held: np.ndarray,
    boundary: np.ndarray,
    verdict: Callable[[Space, Point], Convergence],
) -> Optimum:
    """The end of a search whose history is known: the equations are solved at its last θ, nothing is estimated.

    Parameters
    ----------
    held, boundary : (n_parameters,) True for components fixed by the user, and for those on the boundary
    verdict : of what is known at θ
    """
    theta = iterations[-1].theta
    if (centred := Centred.of(equations, options.constrain, held)) is not None:
        last = replace(iterations[-1], theta=centred.equations.theta_near(theta))
        found = optimum_at(centred.equations.near, options, (last,), loglik, held, boundary, verdict)
        return centred.returned(found, np.where(held, theta, np.nan), iterations)
    equations, searched = equations_at(equations, theta)
    solution = equations.solve(theta, ml=options.ml)
    units = unit_matrices(searched, residual_variance(searched))
    lower, upper = bounds(searched.spec.parameters, options.constrain, np.zeros(searched.residual.n_parameters))
    space = Space(searched, held, lower, upper, units, options.constrain)
    point = Surface(searched, space, options.ml).point(theta, loglik, searched.solve(theta, ml=options.ml))
    point = replace(point, solution=solution, charts={})
    return Optimum(
        point, solution, verdict(space, point), iterations, boundary, held, space.tangent(theta), equations, searched
    )


def interrupted_at(
    equations: Equations,
    options: Options,
    iterations: tuple[Iteration, ...],
    held: np.ndarray,
    trials: tuple[Trial, ...] = (),
) -> Optimum:
    """The last iterate of a search that was interrupted; it is never one that has converged."""
    last = iterations[-1]

    def verdict(space: Space, point: Point) -> Convergence:
        inward = inward_score(space, replace(point, charts=space.charts(point.theta)))
        at = last.gradient, last.decrement, inward, options.tolerance
        checks = (
            criteria(*following(last.decrement), *at, NEXT)
            if len(iterations) == 1
            else criteria(abs(last.delta), last.change, *at)
        )
        reason = "the search was interrupted here. To go on from these estimates, give start=fit.variances."
        return Convergence(checks, reason, last.boundary, (), len(iterations) - 1, trials=trials, interrupted=True)

    boundary = np.array([label in last.boundary for label in equations.spec.parameters.columns], dtype=bool)
    return optimum_at(equations, options, iterations, last.loglik, held, boundary, verdict)
