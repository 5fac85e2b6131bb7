"""The outer loop: from start values to the maximum of ℓ(θ), and the verdict on it.

θ ← start values
repeat
    solve the mixed model equations at θ                      equations.henderson
    score and average information                             score, average_information
    stop if the criteria are met                              convergence
    θ ← the first step of the ladder that does not lower ℓ    step, em
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, log
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations
from remlblup.equations.variance.expected_information import ExpectedInformation
from remlblup.errors import NotPositiveDefiniteError
from remlblup.reml.average_information import average_information
from remlblup.reml.convergence import Convergence, Criterion, criteria
from remlblup.reml.em import complete_information, em_update, px_em_update
from remlblup.reml.escape import escaped_from
from remlblup.reml.history import Iteration
from remlblup.reml.identify import confounded
from remlblup.reml.journal import Journal, resumed
from remlblup.reml.likelihood import log_likelihood
from remlblup.reml.newton import Newton
from remlblup.reml.observed import observed
from remlblup.reml.score import score
from remlblup.reml.secant import Secant
from remlblup.reml.space import Point, Space, bounds
from remlblup.reml.start import residual_variance, start_values, unit_matrices, zero_covariances
from remlblup.reml.step import FLOOR, across, inward_score, near_faces, propose, release
from remlblup.reml.verdict import judged, labels

# Steps tried in turn until one raises ℓ: (name, weight of the EM information, of the diagonal of AI, fraction).
# A negative weight stands for the expected information in place of the average one.
LADDERS = {
    "auto": (
        ("AI", 0.0, 0.0, 1.0), ("AI/2", 0.0, 0.0, 0.5), ("AI+EM", 0.3, 0.0, 1.0), ("AI+3EM", 3.0, 0.0, 1.0),
        ("AI+D/1000", 0.0, 0.001, 1.0), ("AI+D/30", 0.0, 0.03, 1.0), ("AI+D", 0.0, 1.0, 1.0), ("AI/16", 0.0, 0.0, 1 / 16),
        ("EM", np.inf, 0.0, 1.0), ("EM/8", np.inf, 0.0, 1 / 8), ("AI+99D", 0.0, 99.0, 1.0),
    ),
    "ai": tuple((f"AI/{2**k}" if k else "AI", 0.0, 0.0, 0.5**k) for k in range(12)),
    # Without constraints a step may end far outside of where V is positive definite; the expected information sees it.
    "free": (
        ("AI", 0.0, 0.0, 1.0), ("AI/2", 0.0, 0.0, 0.5), ("AI/4", 0.0, 0.0, 0.25),
        *((f"F/{2**k}" if k else "F", -1.0, 0.0, 0.5**k) for k in range(8)),
        *((f"AI/{2**k}", 0.0, 0.0, 0.5**k) for k in (*range(3, 12), *range(14, 42, 3))),
    ),
}  # fmt: skip
# Up to this many records the expected information is worth its price.
FEW_RECORDS = 600
ROUNDING = 1e-10
# While a step promises more than WORTHWHILE, one that gains less than this share of it is taken only for want of another.
WORTHWHILE, CREEPING = 1e-4, 1e-3


@dataclass(frozen=True)
class Options:
    """How to fit: see `MixedModel.fit`."""

    ml: bool = False
    algorithm: str = "auto"
    constrain: bool = True
    max_iterations: int = 200
    tolerance: float = 1e-8
    journal: Journal | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Optimum:
    """Where the loop ended.

    Attributes
    ----------
    point : the last iterate (its `score.solution` is nudged where Σ is singular)
    solution : the equations solved at exactly θ
    convergence : the verdict
    iterations : the history
    boundary : (n_parameters,) True for components on the boundary
    held : (n_parameters,) True for components fixed by the user
    tangent : (n_parameters, k) directions the information is inverted in (`Space.tangent`)
    equations : those that `solution` belongs to, which the tables are made from
    searched : those that `point` belongs to: others where R is singular
    """

    point: Point
    solution: Any
    convergence: Convergence
    iterations: tuple[Iteration, ...]
    boundary: np.ndarray
    held: np.ndarray
    tangent: Array
    equations: Equations
    searched: Equations


# What ends a loop before its time: told θ, the reason or None.
Watch = Callable[[Array], str | None]


class Loop:
    """One maximisation of the (RE)ML likelihood of a model."""

    def __init__(self, equations: Equations, options: Options, start: Array, fixed: Array,
                 report: Callable[[Iteration], None] | None = None, watch: Watch | None = None):  # fmt: skip
        self.equations, self.options, self.report, self.watch = equations, options, report, watch
        variance = residual_variance(equations)
        parameters = equations.spec.parameters
        floor = FLOOR * equations.scales.residual[: parameters.residual.n_parameters]
        lower, upper = bounds(parameters, options.constrain, floor)
        fixed = zero_covariances(equations, fixed)
        held = ~np.isnan(fixed)
        self.space = Space(equations, held, lower, upper, unit_matrices(equations, variance), options.constrain)
        given = np.where(held, fixed, start)
        self.theta = start_values(equations, variance, given, held)
        self.confounded = confounded(equations, held, options.ml)
        # Where the likelihood is flat by design there is no point in going on for long.
        self.limit = min(options.max_iterations, 20) if self.confounded else options.max_iterations
        self.from_data = bool(np.isnan(given).any())
        self.reluctant = np.zeros(parameters.size, dtype=bool)
        self.secant = Secant()
        self.iterations: list[Iteration] = []
        self.number = 0
        self.clock = time.perf_counter()

    # -- evaluation --------------------------------------------------------------------------

    def loglik(self, theta: Array) -> tuple[float, Any | None]:
        """ℓ and the solved equations at θ; −∞ where V is not positive definite."""
        if not self.space.feasible(theta):
            return -np.inf, None
        try:
            solution = self.equations.solve(theta, ml=self.options.ml)
        except NotPositiveDefiniteError:
            return -np.inf, None
        value = log_likelihood(self.equations, solution, self.options.ml)
        return (value, solution) if np.isfinite(value) else (-np.inf, None)

    def point(self, theta: Array, value: float, solution: Any) -> Point:
        """Score and average information at a solution."""
        now = score(self.equations, solution, self.space.units, self.options.ml)
        information = average_information(self.equations, now.solution)
        return Point(theta, value, solution, now, information, self.space.charts(theta), self.space.at_bound(theta))

    # -- the loop ----------------------------------------------------------------------------

    def run(self) -> Optimum:
        """Iterate to convergence, a stall, or the limit of iterations."""
        point = resumed(self) or self.begun()
        stopped = "iterations"
        while True:
            checks = self.check(point)
            if self.stalled():
                stopped = "stall"
                break
            if all(c.passed for c in checks):
                escaped = escaped_from(self, point)
                if escaped is None:
                    break
                self.record("escape", escaped, point, 0)
                point = escaped
                continue
            if len(self.iterations) > self.limit:
                break
            if self.watch is not None and (reason := self.watch(point.theta)):
                stopped = reason
                break
            accepted = self.advance(point)
            if accepted is None:
                escaped = escaped_from(self, point)
                if escaped is None:
                    stopped = "stall"
                    break
                accepted = "escape", 0, escaped
            name, halvings, new = accepted
            self.reluctant |= point.on_bound & ~new.on_bound
            self.record(name, new, point, halvings)
            point = new
        return self.verdict(point, checks, stopped)

    def begun(self) -> Point:
        """The start, evaluated."""
        value, solution = self.loglik(self.theta)
        if solution is None:
            given = "fix= and the start values" if self.space.held.any() else "the start values"
            raise NotPositiveDefiniteError(
                f"the covariance matrices at {given} are not positive definite, or their variances more than some 12"
                " orders of magnitude apart: change them, or give start= for the rest."
            )
        point = self.point(self.theta, value, solution)
        self.record("start", point, None, 0)
        return point

    def stalled(self) -> bool:
        """Three steps within rounding of ℓ that brought the gradient no lower."""
        if self.options.algorithm in ("em", "px-em") or len(self.iterations) < 5:
            return False
        before, last = self.iterations[-4], self.iterations[-3:]
        slack = ROUNDING * (1.0 + abs(before.loglik))
        return all(abs(row.delta) < slack and row.gradient >= before.gradient for row in last)

    def advance(self, point: Point) -> tuple[str, int, Point] | None:
        """The first proposal that does not lower ℓ, evaluated; None if there is none."""
        slack = ROUNDING * (1.0 + abs(point.loglik))
        promised = self.iterations[-1].decrement
        best: tuple[float, int, str, Array, Any] | None = None
        for halvings, (name, theta) in enumerate(self.proposals(point)):
            if np.array_equal(theta, point.theta):
                continue
            value, solution = self.loglik(theta)
            if solution is None or value < point.loglik - slack:
                continue
            if promised > WORTHWHILE and value - point.loglik < CREEPING * promised:
                if best is None or value > best[0]:
                    best = value, halvings, name, theta, solution
                continue
            if name == "AI":
                name, theta, value, solution = self.stretched(point, theta, value, solution)
            return name, halvings, self.point(theta, value, solution)
        if best is None:
            return None
        value, halvings, name, theta, solution = best
        return name, halvings, self.point(theta, value, solution)

    def stretched(self, point: Point, theta: Array, value: float, solution: Any) -> tuple[str, Array, float, Any]:
        """A step that gained about all its gradient promised was too short (a ridge): go on while ℓ rises."""
        name, fraction = "AI", 1.0
        decrement = self.iterations[-1].decrement
        while self.options.algorithm == "auto" and fraction < 2000.0 and value - point.loglik > 0.9 * decrement > 1e-6:
            fraction *= 4.0
            decrement *= 4.0
            further = propose(self.space, point, point.information, fraction, self.reluctant)
            ahead, there = self.loglik(further)
            if there is None or ahead <= value:
                break
            name, theta, value, solution = f"AI x{fraction:.0f}", further, ahead, there
        return name, theta, value, solution

    def proposals(self, point: Point) -> Iterator[tuple[str, Array]]:
        """What to try next, best first, for the algorithm chosen."""
        algorithm = self.options.algorithm
        if algorithm in ("em", "px-em"):
            update = em_update if algorithm == "em" else px_em_update
            yield algorithm.upper(), update(self.equations, point.score, self.space.held, self.space.units)
            return
        if algorithm == "auto":
            if self.from_data and len(self.iterations) == 1 and len(self.space.held) > 1:
                first = px_em_update(self.equations, point.score, self.space.held, self.space.units)
                yield "PX-EM" if self.equations.expands else "EM", first
            face = across(self.space, point, point.information, self.reluctant)
            if face is not None:
                yield "face", face
            for released in release(self.space, point, point.charts, 1e-6):
                yield "release", released
            learnt = self.secant.corrected()
            if learnt is not None:
                yield "AI+QN", propose(self.space, point, point.information, 1.0, self.reluctant, learnt)
        em = expected = None
        # EM keeps variances positive: without constraints it is no help, and creeps where one should change sign.
        for name, weight, damping, fraction in LADDERS[algorithm if self.options.constrain else "free"]:
            if weight < 0.0:
                if expected is None:
                    expected = self.expected_information(point.theta)
                if len(expected):
                    yield name, propose(self.space, point, expected, fraction, self.reluctant)
                continue
            if weight and em is None:
                em = complete_information(self.equations, point.theta, self.space.units, point.information)
            information = (
                em if np.isinf(weight) else point.information if not weight else point.information + weight * em
            )
            if damping:  # Levenberg: where a direction has next to no information
                information = information + damping * np.diag(np.diag(information))
            known = self.secant.last if weight == damping == 0.0 else None
            yield name, propose(self.space, point, information, fraction, self.reluctant, known)
        if algorithm == "auto":
            for released in release(self.space, point, near_faces(self.space, point), 1e-6):
                yield "release", released
            if (model := observed(self, point)) is not None:
                for fraction in (1.0, 0.25, 0.0625):
                    yield "Newton", propose(self.space, point, point.information, fraction, self.reluctant, model)

    def expected_information(self, theta: Array) -> Array:
        """The expected information at θ; empty where it costs too much, or V is singular but for rounding."""
        if self.equations.spec.n > FEW_RECORDS:
            return np.zeros((0, 0))
        try:
            return self._expected.at(theta)
        except NotPositiveDefiniteError:
            return np.zeros((0, 0))

    @cached_property
    def _expected(self) -> ExpectedInformation:
        return ExpectedInformation(self.equations.spec, self.options.ml)

    # -- the verdict -------------------------------------------------------------------------

    def check(self, point: Point) -> tuple[Criterion, ...]:
        """The five criteria at a point; without a previous step, by the step AI would take."""
        last = self.iterations[-1]
        delta, change = abs(last.delta), last.change
        if len(self.iterations) == 1:
            delta, change = 0.5 * last.decrement, np.sqrt(last.decrement)
        inward = inward_score(self.space, point)
        return criteria(delta, change, last.gradient, last.decrement, inward, self.options.tolerance)

    def record(self, step: str, point: Point, before: Point | None, halvings: int) -> None:
        """Append a row to the history and print it if asked."""
        now = time.perf_counter()
        delta = float("nan") if before is None else point.loglik - before.loglik
        change = (
            float("nan")
            if before is None
            else point.change_from(before, self.space.moving & ~self.space.void(point.theta))
        )
        model = Newton.at(self.space, point, point.information, point.charts)
        gradient, decrement = model.size()
        self.secant.learn(model, decrement)
        phases = tuple(self.equations.seconds.items())
        self.equations.seconds = dict.fromkeys(self.equations.seconds, 0.0)
        row = Iteration(len(self.iterations), step, point.loglik, delta, gradient, decrement, change, halvings,
                        now - self.clock, self.boundary_labels(point), point.theta, phases,
                        self.seconds_left(gradient, now - self.clock))  # fmt: skip
        self.clock = now
        self.iterations.append(row)
        if self.options.journal is not None:
            self.options.journal.note(self)
        if self.report is not None:
            self.report(row)

    def seconds_left(self, gradient: float, seconds: float) -> float:
        """Seconds until the gradient meets its limit, falling at the rate of the last step."""
        before = self.iterations[-1].gradient if self.iterations else 0.0
        if not 0.0 < gradient < 0.9 * before or gradient <= self.options.tolerance:
            return 0.0 if 0.0 < gradient <= self.options.tolerance else float("nan")
        return seconds * ceil(log(self.options.tolerance / gradient) / log(gradient / before))

    def boundary_labels(self, point: Point) -> tuple[str, ...]:
        """Labels of the components on the boundary."""
        return labels(self.space, self.space.boundary(point))

    def verdict(self, point: Point, checks: tuple[Criterion, ...], stopped: str) -> Optimum:
        """Convergence and everything known at the last iterate."""
        return Optimum(point, point.solution, judged(self, point, checks, stopped), tuple(self.iterations),
                       self.space.boundary(point), self.space.held, self.space.tangent(point.theta), self.equations,
                       self.equations)  # fmt: skip
