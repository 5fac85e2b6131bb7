"""A search on its way: the history, and what the next step depends on beside θ."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import ceil, log

import numpy as np

from remlblup.reml.history import Iteration
from remlblup.reml.newton import Newton
from remlblup.reml.point import Point
from remlblup.reml.secant import Secant
from remlblup.reml.space import Space, labels

# A search creeps if the Newton decrement after so many steps is more than this share of what it was.
STEPS, LEFT = 10, 0.25


@dataclass
class Ascent:
    """Where a search is and how it got there.

    Attributes
    ----------
    space : where θ may lie
    tolerance : limit of the gradient
    reluctant : (n_parameters,) components that came back from a bound
    secant : what the steps have told of the curvature
    rows : the history
    number : that of the ascent among those of a fit
    """

    space: Space
    tolerance: float
    reluctant: np.ndarray
    secant: Secant = field(default_factory=Secant)
    rows: list[Iteration] = field(default_factory=list)
    number: int = 0
    clock: float = field(default_factory=time.perf_counter)

    @property
    def last(self) -> Iteration:
        return self.rows[-1]

    def record(self, step: str, point: Point, before: Point | None, halvings: int) -> Iteration:
        """Append a row to the history, and learn from it."""
        now, space = time.perf_counter(), self.space
        delta = change = float("nan")
        if before is not None:
            delta = point.loglik - before.loglik
            change = point.change_from(before, space.moving & ~space.undefined(point.theta))
        model = Newton.at(space, point, point.information, point.charts)
        gradient, decrement = model.size()
        self.secant.learn(model, decrement)
        seconds = space.equations.seconds
        phases, space.equations.seconds = tuple(seconds.items()), dict.fromkeys(seconds, 0.0)
        row = Iteration(
            len(self.rows),
            step,
            point.loglik,
            delta,
            gradient,
            decrement,
            change,
            halvings,
            now - self.clock,
            labels(space, space.boundary(point)),
            point.theta,
            phases,
            self.seconds_left(gradient, now - self.clock),
        )
        self.clock = now
        self.rows.append(row)
        return row

    def creeps(self) -> bool:
        """Whether the steps lead on but hardly nearer to the end: a valley that AI does not see."""
        return len(self.rows) > STEPS and self.last.decrement > LEFT * self.rows[-1 - STEPS].decrement

    def seconds_left(self, gradient: float, seconds: float) -> float:
        """Seconds until the gradient meets its limit, falling at the rate of the last step."""
        before = self.rows[-1].gradient if self.rows else 0.0
        if not 0.0 < gradient < 0.9 * before < np.inf or gradient <= self.tolerance:
            return 0.0 if 0.0 < gradient <= self.tolerance else float("nan")
        return seconds * ceil(log(self.tolerance / gradient) / log(gradient / before))
