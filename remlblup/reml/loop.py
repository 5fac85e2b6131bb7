"""The outer loop: from start values to the maximum of ℓ(θ), and the verdict on it.

θ ← start values
repeat
    solve the mixed model equations at θ                      equations
    score and average information                             surface
    stop if the criteria are met                              convergence
    θ ← the first step of the ladder that does not lower ℓ    ladder, step, em
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import NotPositiveDefiniteError
from remlblup.reml.ascent import Ascent
from remlblup.reml.closed_form import closed_form
from remlblup.reml.convergence import NEXT, SETTLED, Criterion, criteria, following
from remlblup.reml.distant import leaving
from remlblup.reml.escape import escaped_from
from remlblup.reml.history import Iteration
from remlblup.reml.identify import confounded
from remlblup.reml.journal import resumed
from remlblup.reml.ladder import strategy
from remlblup.reml.moments import moment_start
from remlblup.reml.newton import Newton
from remlblup.reml.observed import observed
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.point import Point
from remlblup.reml.space import Space
from remlblup.reml.start import other_starts, residual_variance, start_values, zero_covariances
from remlblup.reml.step import inward_score, propose
from remlblup.reml.surface import Surface
from remlblup.reml.verdict import judged

ROUNDING = 1e-10
# While a step promises more than WORTHWHILE, one that gains less than this share of it is taken only for want of
# another.
WORTHWHILE, CREEPING = 1e-4, 0.02

# What ends a loop before its time: told θ, the reason or None.
Watch = Callable[[Array], str | None]


def likeliest(surface: Surface, theta: Array, given: np.ndarray) -> Array:
    """θ, or what of its terms that offer other starts, all of them with the k-th, is likelier."""
    others = other_starts(surface.equations, theta, given)
    return max([theta, *others], key=lambda at: surface.loglik(at)[0]) if others else theta


def by_moments(space: Space) -> Array | None:
    """θ by moments, of small models exact ones; None of a model without."""
    theta = closed_form(space)
    return moment_start(space.equations) if theta is None else theta


class Loop:
    """One maximisation of the (RE)ML likelihood of a model."""

    def __init__(
        self,
        equations: Equations,
        options: Options,
        start: Array,
        fixed: Array,
        report: Callable[[Iteration], None] | None = None,
        watch: Watch | None = None,
    ):
        self.options, self.report, self.watch = options, report, watch
        variance = residual_variance(equations)
        parameters = equations.spec.parameters
        fixed = zero_covariances(equations, fixed)
        held = ~np.isnan(fixed)
        space = Space.of(equations, held, options.constrain)
        given = np.where(held, fixed, start)
        self.given = ~np.isnan(given)
        self.confounded = confounded(equations, held, options.ml)
        free = options.algorithm == "auto" and not (self.given.any() or self.confounded)
        moments = by_moments(space) if free else None
        self.begins = "start" if moments is None else "moments"
        self.theta = (
            start_values(equations, variance, given, held, space.smallest_eigenvalue) if moments is None else moments
        )
        # Where the likelihood is flat by design there is no point in going on for long.
        self.limit = min(options.max_iterations, 20) if self.confounded else options.max_iterations
        self.surface = Surface(equations, space, options.ml)
        self.ascent = Ascent(space, options.tolerance, np.zeros(parameters.size, dtype=bool))
        begins = self.begins if np.isnan(given).any() else "given"
        self.strategy = strategy(self.surface, self.ascent, options.algorithm, begins)

    @property
    def space(self) -> Space:
        return self.surface.space

    def run(self) -> Optimum:
        """Iterate to convergence, a stall, or the limit of iterations."""
        self.theta = likeliest(self.surface, self.theta, self.given)
        point = self.resumed() or self.begun()
        stopped = "iterations"
        while True:
            checks = self.check(point)
            met = all(c.passed for c in checks)
            stalled = self.stalled()
            straight = self.straightened(point) if stalled and not met else None
            if stalled and straight is None:
                stopped = "stall"
                break
            if not met and len(self.ascent.rows) > self.limit:
                break
            if not met and leaving(self.space, point):
                break
            if not met and self.watch is not None and (reason := self.watch(point.theta)):
                stopped = reason
                break
            taken = straight or (None if met else self.advance(point))
            if taken is None and (escaped := escaped_from(self.surface, point)) is not None:
                taken = "escape", 0, escaped
            if taken is None:
                checks = checks if met else self.check(point, at_rest=True)
                stopped = "iterations" if met or all(c.passed for c in checks) else "stall"
                break
            name, halvings, new = taken
            if not met:
                self.ascent.reluctant |= point.on_bound & ~new.on_bound
            self.record(name, new, point, halvings)
            point = new
        return self.ended(point, checks, stopped)

    def resumed(self) -> Point | None:
        """Where an earlier run has left off; None if there was none."""
        journal = self.options.journal
        state = None if journal is None else journal.begin(self.ascent, self.theta)
        if state is None:
            return None
        if state.rows[0].step != self.begins:  # by another version, whose first step was another one, too
            self.begins = state.rows[0].step
            self.strategy = strategy(self.surface, self.ascent, self.options.algorithm, self.begins)
        for row in state.rows if self.report is not None else ():
            self.report(row)  # type: ignore[misc]
        return resumed(self.surface, self.ascent, state)

    def begun(self) -> Point:
        """The start, evaluated."""
        point = self.surface.at(self.theta)
        if point is None:
            given = "fix= and the start values" if self.space.held.any() else "the start values"
            raise NotPositiveDefiniteError(
                f"the covariance matrices at {given} are not positive definite, or their variances more than some 12"
                " orders of magnitude apart: change them, or give start= for the rest."
            )
        self.record(self.begins, point, None, 0)
        return point

    def record(self, step: str, point: Point, before: Point | None, halvings: int) -> None:
        """A row of the history, kept and told."""
        row = self.ascent.record(step, point, before, halvings)
        if self.options.journal is not None:
            self.options.journal.note(self.ascent)
        if self.report is not None:
            self.report(row)

    # -- steps -------------------------------------------------------------------------------

    def advance(self, point: Point) -> tuple[str, int, Point] | None:
        """The first proposal that does not lower ℓ, evaluated; None if there is none."""
        slack = ROUNDING * (1.0 + abs(point.loglik))
        promised = self.ascent.last.decrement
        best: tuple[float, int, str, Array, Any] | None = None
        for halvings, (name, theta) in enumerate(self.strategy.proposals(point)):
            if not np.count_nonzero(theta != point.theta):
                continue
            value, solution = self.surface.loglik(theta)
            if solution is None or value < point.loglik - slack:
                continue
            if promised > WORTHWHILE and value - point.loglik < CREEPING * promised:
                if best is None or value > best[0]:
                    best = value, halvings, name, theta, solution
                continue
            if name == "AI":
                name, theta, value, solution = self.stretched(point, theta, value, solution)
            return name, halvings, self.surface.point(theta, value, solution)
        if best is None:
            return None
        value, halvings, name, theta, solution = best
        return name, halvings, self.surface.point(theta, value, solution)

    def straightened(self, point: Point) -> tuple[str, int, Point] | None:
        """A step by the observed information where others go to and fro within rounding of ℓ.

        None if it does not halve the gradient.
        """
        model = observed(self.surface, point) if self.options.algorithm == "auto" else None
        slack = ROUNDING * (1.0 + abs(point.loglik))
        for fraction in (1.0, 0.25) if model is not None else ():
            theta = propose(self.space, point, point.information, fraction, self.ascent.reluctant, model)
            new = self.surface.at(theta)
            if new is None or new.loglik < point.loglik - slack:
                continue
            if Newton.at(self.space, new, new.information, new.charts).size()[0] < 0.5 * self.ascent.last.gradient:
                return "Newton", 0, new
        return None

    def stretched(self, point: Point, theta: Array, value: float, solution: Any) -> tuple[str, Array, float, Any]:
        """A step that gained about all its gradient promised was too short (a ridge): go on while ℓ rises."""
        name, fraction = "AI", 1.0
        decrement = self.ascent.last.decrement
        while self.options.algorithm == "auto" and fraction < 2000.0 and value - point.loglik > 0.9 * decrement > 1e-6:
            fraction *= 4.0
            decrement *= 4.0
            further = propose(self.space, point, point.information, fraction, self.ascent.reluctant)
            ahead, there = self.surface.loglik(further)
            if there is None or ahead <= value:
                break
            name, theta, value, solution = f"AI x{fraction:.0f}", further, ahead, there
        return name, theta, value, solution

    # -- the end -----------------------------------------------------------------------------

    def check(self, point: Point, at_rest: bool = False) -> tuple[Criterion, ...]:
        """The five criteria at a point; without a previous step, `at_rest`, where no step leads on, or so near to the
        end that ℓ could not tell one, by the step that would follow."""
        last, tolerance = self.ascent.last, self.options.tolerance
        inward = inward_score(self.space, point)
        if at_rest or len(self.ascent.rows) == 1 or last.decrement <= (SETTLED * tolerance) ** 2:
            delta, change = following(last.decrement)
            return criteria(delta, change, last.gradient, last.decrement, inward, tolerance, NEXT)
        return criteria(abs(last.delta), last.change, last.gradient, last.decrement, inward, tolerance)

    def stalled(self) -> bool:
        """Three steps within rounding of ℓ that brought the gradient no lower."""
        rows = self.ascent.rows
        if self.options.algorithm in ("em", "px-em") or len(rows) < 5:
            return False
        before, last = rows[-4], rows[-3:]
        slack = ROUNDING * (1.0 + abs(before.loglik))
        return all(abs(row.delta) < slack and row.gradient >= before.gradient for row in last)

    def ended(self, point: Point, checks: tuple[Criterion, ...], stopped: str) -> Optimum:
        """Convergence and everything known at the last iterate."""
        space, tangent = self.space, self.space.tangent(point.theta, point.on_bound)
        verdict = judged(self.ascent, point, tangent, checks, stopped, self.confounded)
        return Optimum(
            point,
            point.solution,
            verdict,
            tuple(self.ascent.rows),
            space.boundary(point),
            space.held,
            tangent,
            space.equations,
            space.equations,
        )
