"""The verdict on a search by probes: what "converged" means where ℓ is known by its slopes alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.stochastic.engine import EXACT, VARIATES
from remlblup.errors import count
from remlblup.linalg.scaled_solve import scaled_inverse
from remlblup.reml.convergence import Convergence, Criterion, explain
from remlblup.reml.monte_carlo import MonteCarlo, root_covariance
from remlblup.reml.point import Point
from remlblup.reml.space import Space, labels
from remlblup.reml.verdict import vanishing

# The criterion that more probes meet.
ERROR = "Monte Carlo error"
# The next step, in standard errors of sampling, that is none.
STEP = 0.01
# What is left of the step is in no table: it is at most this share of the Monte Carlo error, that is.
PART = 0.2
# A step, in standard errors, that is none whatever the probes err by, as where all that has a trace is factorised.
SURE = 1e-4
# Monte Carlo error of a component, as a share of its standard error, that probes are drawn for.
RATIO = 0.1
# Eigenvalues of the average information, scaled to a unit diagonal, that are none.
FLAT = 1e-8
# A score on a boundary less than this many of its Monte Carlo errors from zero may have the other sign.
DOUBTFUL = 2.0


def ratios(space: Space, point: Point, monte_carlo: MonteCarlo) -> Array:
    """(n_parameters,) Monte Carlo error over standard error; zero of what is not free."""
    J = space.tangent(point.theta)
    inner = J.T @ point.information @ J
    variance = np.einsum("pi,ij,pj->p", J, scaled_inverse(inner), J) if J.shape[1] else np.zeros(len(J))
    free = variance > 0.0
    return np.asarray(np.where(free, monte_carlo.errors / np.sqrt(np.where(free, variance, 1.0)), 0.0))


def unsolved_share(space: Space, point: Point, monte_carlo: MonteCarlo) -> float:
    """What θ̂ may err by as the probes are not solved to the last digit, in what it may: `PART` of the Monte Carlo
    error, or `SURE` standard errors where that is more."""
    own = np.diag(point.solution.kept["slopes"].unsolved ** 2)
    left = replace(monte_carlo, covariance=root_covariance(point.information, own, space.tangent(point.theta)))
    allowed = np.maximum(PART * ratios(space, point, monte_carlo), SURE)
    return float(np.max(ratios(space, point, left) / allowed, initial=0.0))


def criteria(
    space: Space, point: Point, decrement: float, inward: float, monte_carlo: MonteCarlo, limit: float, given: bool
) -> tuple[Criterion, ...]:
    """The five criteria; `given` says that the number of probes is the user's, so that no Monte Carlo error is too
    large."""
    errors = ratios(space, point, monte_carlo)
    largest = float(errors.max(initial=0.0))
    smallest = float(errors.min(initial=largest, where=errors > 0.0))
    limit = max(SURE, min(STEP, PART * smallest)) if limit == STEP else limit
    others = max(unsolved_share(space, point, monte_carlo), point.solution.kept["left"] / VARIATES)
    said = "the number of probes was given" if given else "largest Monte Carlo error of a component, in its s.e."
    return (
        Criterion("next step", float(np.sqrt(decrement)), limit, "√(s'A⁻¹s): Newton's next step, in standard errors"),
        Criterion("boundary score", inward, limit, "largest score pointing inward from a boundary"),
        Criterion(ERROR, largest, np.inf if given else RATIO, said),
        Criterion("linear equations", point.solution.left, 1.01 * EXACT, "what is left of y by conjugate gradients"),
        Criterion("other columns", others, 1.01, "what is left of probes and working variates, in what may be"),
    )


def judged(
    space: Space,
    point: Point,
    checks: tuple[Criterion, ...],
    stopped: str,
    monte_carlo: MonteCarlo,
    iterations: int,
    confounded: tuple[str, ...] = (),
) -> Convergence:
    """The verdict on a search that stopped at a point."""
    failed = [c.name for c in checks if not c.passed]
    unidentified = confounded or labels(space, flat(space, point))
    vanished = vanishing(space, point, failed)
    collapsed = bool(vanished)
    whole = len(vanished) == np.count_nonzero(space.equations.spec.residual.variances)
    reason = explain(
        not failed,
        unidentified,
        "collapse" if collapsed else stopped,
        failed,
        by_design=bool(confounded),
        names=() if whole else vanished,
    )
    reason += f" Stochastic: {count(monte_carlo.probes, 'probe')} of seed {monte_carlo.seed}, no log-likelihood."
    if names := doubtful(space, point):
        reason += f" On the boundary by a score within its Monte Carlo error: {', '.join(names)}."
    boundary = labels(space, space.boundary(point))
    return Convergence(checks, reason, boundary, unidentified, iterations, collapsed)


def flat(space: Space, point: Point) -> np.ndarray:
    """(n_parameters,) free parameters in a direction without average information."""
    J = space.tangent(point.theta)
    H = J.T @ point.information @ J
    diagonal = np.diag(H)
    d = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(H * np.outer(d, d)) if len(H) else (np.zeros(0), np.zeros((0, 0)))
    moved = np.abs(J @ (d[:, None] * vectors[:, values < FLAT]))
    strength = np.sqrt(np.maximum(point.information.diagonal(), 0.0))
    relative = moved * np.where(strength > 0.0, strength, 1.0)[:, None]
    return np.asarray(np.any(relative > 0.1 * np.max(relative, axis=0, initial=0.0), axis=1)) & space.moving


def doubtful(space: Space, point: Point) -> tuple[str, ...]:
    """Components on a bound whose score might as well point inward."""
    errors = np.sqrt(np.diag(point.solution.kept["slopes"].covariance))
    return labels(space, point.on_bound & space.moving & (np.abs(point.gradient) < DOUBTFUL * errors))
