"""Newton's method on a score by probes: from start values to its root, and more probes until their error is small.

θ ← start values, a few probes
repeat
    Py and P z of the probes by conjugate gradients            equations
    score, and average information by another solve
    while the next step is within what the probes err by: these solved further, up to a share of that error,
                                                          and more of them, up to a tenth of a standard error
    stop if the next step is a share of their error        verdict
    θ ← a step of average information inside the parameter space
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import scipy.linalg

from remlblup.arrays import Array
from remlblup.equations.stochastic.engine import MOST, StochasticEquations
from remlblup.equations.stochastic.probes import Probes, within_memory
from remlblup.errors import CheckpointError, NotPositiveDefiniteError, OptionError, StochasticError
from remlblup.linalg.threads import single_threaded
from remlblup.reml.ascent import Ascent
from remlblup.reml.convergence import Criterion, Trial
from remlblup.reml.history import Iteration
from remlblup.reml.identify import confounded, require_enough
from remlblup.reml.monte_carlo import MonteCarlo
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.point import Point
from remlblup.reml.score import Score
from remlblup.reml.space import Space
from remlblup.reml.start import residual_variance, start_values, zero_covariances
from remlblup.reml.step import inward_score, propose
from remlblup.reml.stochastic.verdict import ERROR, RATIO, STEP, criteria, judged, ratios, unsolved_share

# Probes to begin with, and next at most: what few say of their own error is not much.
FEW, NEXT = 24, 100
# What few probes say of the number it takes is uncertain itself: so many times as many.
MORE = 1.25
# Probes are solved further to this share of what they may leave, and never beyond `FINEST`.
FURTHER, FINEST = 0.5, 1e-11
# A step that ends beyond the root by more than this share of the slope it began with goes back.
BEYOND = 0.5
# Observed information that is a smaller share of the average one tells of no maximum.
LEAST = 0.25
Report = Callable[[Iteration], None]


@dataclass(frozen=True)
class Evaluated:
    """What conjugate gradients have solved at θ: from here everything follows to the last bit.

    Attributes
    ----------
    theta : (n_parameters,)
    y, probes, variates : P times y (n,), the probes (n, N) and the working variates (n, n_parameters)
    errors : (N,) what may be missing of the probes, in the norm of V
    left : what was left of the worst variate
    counts : how many probes there were after each drawing
    tolerance : what might be left of the probes
    """

    theta: Array
    y: Array
    probes: Array
    variates: Array
    errors: Array
    left: Array
    counts: np.ndarray
    tolerance: Array


SOLVED = "y", "probes", "variates", "errors", "left", "counts", "tolerance"


class StochasticSearch:
    """The search for the root of the score, as `reml.starts.Search`.

    Parameters
    ----------
    fixed : (n_parameters,) values to hold, NaN where not given
    report : told every row
    """

    trials: tuple[Trial, ...] = ()

    def __init__(self, equations: StochasticEquations, options: Options, fixed: Array, report: Report | None = None):
        check_options(options)
        self.equations, self.options, self.report = equations, options, report
        self.fixed = zero_covariances(equations, fixed)
        held = ~np.isnan(self.fixed)
        require_enough(equations, held)
        self.space = Space.of(equations, held, options.constrain)
        self.confounded = confounded(equations, held)
        self.limit = STEP if options.tolerance == Options.tolerance else options.tolerance
        self.ascent = Ascent(self.space, self.limit, np.zeros(len(held), dtype=bool))
        self.probes: Probes | None = None
        self.tolerance = equations.tolerance
        self.now: Evaluated | None = None

    def so_far(self) -> tuple[Iteration, ...]:
        """The history up to now."""
        return tuple(self.ascent.rows)

    @single_threaded
    def highest(self, start: Array, starts: int | None = None, begin: Array | None = None) -> Optimum:
        """The root of the score.

        Parameters
        ----------
        start : (n_parameters,) values to start from, NaN where not given
        starts : None or 1: without ℓ there is nothing to compare ends by
        """
        if starts not in (None, 1):
            raise StochasticError(
                "starts= compares ends by their log-likelihoods, which engine='stochastic' does not know: leave it out,"
                " or give start=."
            )
        equations, options = self.equations, self.options
        given = np.where(self.space.held, self.fixed, start)
        theta = start_values(equations, residual_variance(equations), given, self.space.held)
        point = self.resumed(theta) or self.begun(theta)
        while True:
            checks = self.checks(point)
            if all(c.passed for c in checks):
                return self.ended(point, checks, "iterations")
            wanted = self.wanted(point, checks)
            if len(self.ascent.rows) > options.max_iterations:
                return self.ended(point, checks, "iterations")
            if (tolerance := self.finer(point)) < self.tolerance:
                new = self.refined(tolerance)
                self.record(f"solved to {tolerance:.1e}", new, point, 0)
            elif wanted > self.count:
                new = self.enlarged(wanted)
                self.record(f"{wanted} probes", new, point, 0)
            elif [c.name for c in checks if not c.passed] == [ERROR]:  # which no step makes smaller
                return self.ended(point, checks, "probes" if self.count >= MOST else "memory")
            elif (taken := self.advanced(point)) is not None:
                name, halvings, new = taken
                self.ascent.reluctant |= point.on_bound & ~new.on_bound
                self.record(name, new, point, halvings)
            else:
                return self.ended(point, checks, "stall")
            point = new

    # -- points ------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many probes there are."""
        return 0 if self.probes is None else len(self.probes)

    def begun(self, theta: Array) -> Point:
        """The start, evaluated."""
        options = self.options
        self.probes = Probes.drawn(self.equations.products_of, options.seed, options.probes or FEW)
        point = self.evaluated(theta)
        self.record("start", point, None, 0)
        return point

    def resumed(self, theta: Array) -> Point | None:
        """Where an earlier run has left off, from what it had solved, to the last bit; None if there was none."""
        journal, ascent = self.options.journal, self.ascent
        state = None if journal is None else journal.begin(ascent, theta)
        if state is None:
            return None
        if absent := [name for name in SOLVED if name not in state.arrays]:
            raise CheckpointError(f"it is without {', '.join(absent)}. Delete it to begin anew.")
        ascent.rows, ascent.reluctant = list(state.rows), state.reluctant.copy()
        for row in ascent.rows if self.report is not None else ():
            self.report(row)  # type: ignore[misc]
        solved = Evaluated(ascent.last.theta, **{name: state.arrays[name] for name in SOLVED})
        products, (first, *later) = self.equations.products_of, map(int, solved.counts)
        self.probes, self.tolerance = Probes.drawn(products, self.options.seed, first), float(solved.tolerance)
        for count in later:
            self.probes = self.probes.more(products, count)
        return self.point(solved)

    def evaluated(self, theta: Array) -> Point:
        """The point at θ: y and the probes in one pass over the data, then the working variates, each from where the
        last θ left it."""
        equations, before = self.equations, self.now
        assert self.probes is not None
        start = None if before is None else np.column_stack([before.y, before.probes])
        found = equations.solved(theta, self.probes, start, self.tolerance)
        solution = equations.solution(theta, found.x[:, 0])
        F = equations.working_variates(solution)
        variates = equations.solved_variates(theta, F, None if before is None else before.variates)
        left, counts = np.array(variates.left.max(initial=0.0)), np.array([last for _, last in self.probes.groups])
        solved = Evaluated(
            theta,
            found.x[:, 0],
            found.x[:, 1:],
            variates.x,
            found.error[1:],
            left,
            counts,
            np.array(self.tolerance),
        )
        return self.point(solved, solution, F)

    def enlarged(self, count: int) -> Point:
        """The same point with more probes."""
        equations, now = self.equations, self.now
        assert self.probes is not None and now is not None
        known = len(self.probes)
        self.probes = self.probes.more(equations.products_of, count)
        found = equations.solved_probes(now.theta, self.probes, known, self.tolerance)
        errors, counts = np.append(now.errors, found.error), np.append(now.counts, count)
        return self.point(replace(now, probes=np.hstack([now.probes, found.x]), errors=errors, counts=counts))

    def refined(self, tolerance: float) -> Point:
        """The same point with its probes solved further."""
        now, self.tolerance = self.now, tolerance
        assert self.probes is not None and now is not None
        start = np.column_stack([now.y, now.probes])
        found = self.equations.solved(now.theta, self.probes, start, tolerance)
        x, errors = found.x[:, 1:], found.error[1:]
        return self.point(replace(now, probes=x, errors=errors, tolerance=np.array(tolerance)))

    def point(self, solved: Evaluated, solution: Any = None, variates: Array | None = None) -> Point:
        """What follows from the solutions at a θ."""
        equations, space, theta = self.equations, self.space, solved.theta
        assert self.probes is not None
        self.now = solved
        if solution is None:
            solution = equations.solution(theta, solved.y)
        slopes = equations.slopes(solution, self.probes, solved.probes, solved.errors)
        solution.kept["slopes"], solution.kept["left"] = slopes, float(solved.left)
        F = equations.working_variates(solution) if variates is None else variates
        information = equations.information(F, solved.variates)
        moments = np.zeros(0)  # EM asks for them, and is not here
        score = Score(slopes.gradient, slopes.of_sigma, (None,) * len(equations.random), moments, solution)
        return Point(theta, np.nan, solution, score, information, space.charts(theta), space.at_bound(theta))

    def advanced(self, point: Point) -> tuple[str, int, Point] | None:
        """A step of average information; shorter where V is not positive definite, back where it went too far."""
        theta = propose(self.space, point, point.information, 1.0, self.ascent.reluctant)
        fraction = 1.0
        for halvings in range(20):
            along = fraction * (theta - point.theta)
            if not np.any(along):
                return None
            at, known = theta if fraction == 1.0 else point.theta + along, self.now
            try:
                new = self.evaluated(at)
            except NotPositiveDefiniteError:
                fraction, self.now = 0.25 * fraction, known
                continue
            here, there = float(point.gradient @ along), float(new.gradient @ along)
            if here > 0.0 and there < -BEYOND * here and halvings < 3:
                fraction *= max(here / (here - there), 0.1)  # regula falsi
                continue
            return "AI" if halvings == 0 else f"AI x{fraction:.2f}", halvings, new
        return None

    def record(self, step: str, point: Point, before: Point | None, halvings: int) -> None:
        row, journal = self.ascent.record(step, point, before, halvings), self.options.journal
        if journal is not None and self.now is not None:
            journal.note(self.ascent, {name: getattr(self.now, name) for name in SOLVED})
        if self.report is not None:
            self.report(row)

    # -- the end -----------------------------------------------------------------------------

    def monte_carlo(self, point: Point) -> MonteCarlo:
        """The part of the probes in the error at a point."""
        slopes, J = point.solution.kept["slopes"], self.space.tangent(point.theta)
        curvature = self.curvature(point, J)
        return MonteCarlo.of(curvature, slopes.covariance, J, len(slopes.by_probe), self.options.seed)

    def curvature(self, point: Point, tangent: Array) -> Array:
        """How the score by these probes changes with θ: the observed information at the end of the search, and the
        average one on the way to it, or where the other is none."""
        kept = point.solution.kept
        if "curvature" in kept or float(np.sqrt(self.ascent.last.decrement)) > self.limit:
            return kept.get("curvature", point.information)
        assert self.probes is not None and self.now is not None
        A = point.information
        H = self.equations.observed_information(point.theta, self.probes, self.now.probes, A)
        kept["curvature"] = H if near(tangent.T @ H @ tangent, tangent.T @ A @ tangent) else A
        return kept["curvature"]

    def checks(self, point: Point) -> tuple[Criterion, ...]:
        inward = inward_score(self.space, point)
        given = self.options.probes is not None
        decrement = self.ascent.last.decrement
        return criteria(self.space, point, decrement, inward, self.monte_carlo(point), self.limit, given)

    def finer(self, point: Point) -> float:
        """What may be left of the probes from here on: less, once the next step is within what they err by, where what
        they leave is more than a share of that."""
        monte_carlo = self.monte_carlo(point)
        largest = float(ratios(self.space, point, monte_carlo).max(initial=0.0))
        share = unsolved_share(self.space, point, monte_carlo)
        if share <= 1.0 or float(np.sqrt(self.ascent.last.decrement)) > max(self.limit, largest):
            return self.tolerance
        return max(FURTHER / share * self.tolerance, FINEST)

    def wanted(self, point: Point, checks: tuple[Criterion, ...]) -> int:
        """How many probes it takes from here on: more once the next step is within what these err by, as far as there
        is memory for them."""
        largest, n = float(ratios(self.space, point, self.monte_carlo(point)).max(initial=0.0)), self.count
        step = float(np.sqrt(self.ascent.last.decrement))
        if self.options.probes is not None or largest <= RATIO or step > max(self.limit, largest):
            return n
        aim = min(max(NEXT, 2 * n), MOST, ceil(MORE * n * (largest / RATIO) ** 2))
        return max(n, min(aim, within_memory(self.equations.spec, n)))

    def ended(self, point: Point, checks: tuple[Criterion, ...], stopped: str) -> Optimum:
        space, monte_carlo = self.space, self.monte_carlo(point)
        rows = tuple(self.ascent.rows)
        self.equations.leave()
        verdict = judged(space, point, checks, stopped, monte_carlo, len(rows) - 1, self.confounded)
        return Optimum(
            point,
            point.solution,
            verdict,
            rows,
            space.boundary(point),
            space.held,
            space.tangent(point.theta),
            space.equations,
            space.equations,
            monte_carlo,
        )


def near(H: Array, A: Array) -> bool:
    """Whether H (k, k) is no less than a share of A in any direction."""
    if not len(A):
        return True
    d = 1.0 / np.sqrt(np.maximum(np.diag(A), np.finfo(float).tiny))
    try:
        values = scipy.linalg.eigh(H * np.outer(d, d), A * np.outer(d, d), eigvals_only=True)
    except scipy.linalg.LinAlgError:  # A itself is singular
        return False
    return bool(values[0] >= LEAST)


def check_options(options: Options) -> None:
    """Refuse what takes ℓ, or EM.

    Raises
    ------
    StochasticError, OptionError
    """
    if options.ml:
        raise StochasticError("engine='stochastic' is for REML: leave method= out, or choose another engine.")
    if options.algorithm not in ("auto", "ai"):
        raise OptionError(
            f"algorithm={options.algorithm!r} is not there for engine='stochastic', which steps by the average"
            " information: leave algorithm= out."
        )
    if not options.constrain:
        raise StochasticError(
            "constrain=False goes by the log-likelihood along the edge of the positive definite matrices, which"
            " engine='stochastic' does not know: leave it out, or choose another engine."
        )
