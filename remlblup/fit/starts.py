"""Whether a fit is at the highest maximum: the same search from other starts, and where each ended."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.choice import make_equations
from remlblup.errors import NotPositiveDefiniteError, OptionError, check_switch, whole_number
from remlblup.model.parameters import Parameters
from remlblup.reml.drawn_starts import drawn_starts
from remlblup.reml.history import Iteration
from remlblup.reml.singular_residual import maximize
from remlblup.reml.starts import HIGHER

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# What a search can come to.
HIGHER_END, SAME, LOWER, NO_END, NO_START = "higher", "the same maximum", "lower", "not converged", "no start"


@dataclass(frozen=True)
class Climb:
    """One search: its log-likelihood by iteration, where it ended, and what that is beside the fit."""

    number: int
    logliks: tuple[float, ...]
    theta: Array
    ended: str
    reason: str

    @property
    def loglik(self) -> float:
        return self.logliks[-1] if self.logliks else float("nan")


@dataclass(frozen=True)
class StartCheck:
    """What searches from other starts came to: `fit.check_starts()`.

    Attributes
    ----------
    loglik : of the fit
    climbs : one search each
    asked : number of starts asked for; fewer climbs where it was stopped
    seed : of the starts
    """

    loglik: float
    climbs: tuple[Climb, ...]
    asked: int
    seed: int
    parameters: Parameters
    path: tuple[float, ...]

    @property
    def table(self) -> pd.DataFrame:
        """A row per start: start, loglik_start, loglik, above_fit, iterations, ended, reason, and θ where it ended."""
        frame = pd.DataFrame(
            {
                "start": [c.number for c in self.climbs],
                "loglik_start": [c.logliks[0] if c.logliks else np.nan for c in self.climbs],
                "loglik": [c.loglik for c in self.climbs],
                "above_fit": [c.loglik - self.loglik for c in self.climbs],
                "iterations": [max(len(c.logliks) - 1, 0) for c in self.climbs],
                "ended": [c.ended for c in self.climbs],
                "reason": [c.reason for c in self.climbs],
            }
        )
        columns = list(self.parameters.columns)
        theta = np.array([c.theta for c in self.climbs]).reshape(len(self.climbs), len(columns))
        return frame.join(pd.DataFrame(theta, columns=columns))

    @property
    def best(self) -> Climb | None:
        """The first of the searches that ended highest above the fit; None where none did."""
        above = [c for c in self.climbs if c.ended == HIGHER_END]
        highest = max((c.loglik for c in above), default=0.0)  # as high but for rounding will do
        return next((c for c in above if c.loglik >= highest - HIGHER * (1.0 + abs(highest))), None)

    @property
    def higher(self) -> bool:
        """Whether a search ended higher than the fit."""
        return self.best is not None

    @property
    def start(self) -> dict[str, object] | None:
        """Values for ``fit(start=…)`` that lead to the higher maximum; None where there is none."""
        return None if self.best is None else self.parameters.to_mapping(self.best.theta)

    @property
    def verdict(self) -> str:
        """In words."""
        done = len(self.climbs)
        stopped = f" Stopped after {done} of {self.asked}." if done < self.asked else ""
        if done == 0:
            return f"No other start was tried.{stopped}"
        counts = {
            kind: sum(c.ended == kind for c in self.climbs) for kind in (HIGHER_END, SAME, LOWER, NO_END, NO_START)
        }
        starts = "start" if done == 1 else "starts"
        if self.best is not None:
            text = (
                f"The fit is at a local maximum, {self.loglik:.6f}: {counts[HIGHER_END]} of {done} other {starts} ended"
                f" higher, start {self.best.number} at {self.best.loglik:.6f}, {self.best.loglik - self.loglik:.3g}"
                " above. Fit again with start=check.start."
            )
            if self.best.reason:
                text += f" That search did not converge: {self.best.reason}"
            return text + stopped
        text = f"None of {done} other {starts} ended higher than the fit, {self.loglik:.6f}: "
        parts = [f"{counts[SAME]} at the same maximum"] if counts[SAME] else []
        if counts[LOWER]:
            highest = max(c.loglik for c in self.climbs if c.ended == LOWER)
            parts.append(f"{counts[LOWER]} at lower ones, the highest at {highest:.6f}")
        if counts[NO_END]:
            parts.append(f"{counts[NO_END]} did not converge")
        if counts[NO_START]:
            parts.append(f"from {counts[NO_START]} V is not positive definite")
        return text + ", ".join(parts) + "." + stopped

    def __str__(self) -> str:
        return f"{self.verdict}\n\n{self.table.drop(columns='reason').to_string(index=False)}"

    def __repr__(self) -> str:
        return f"<StartCheck: {self.verdict}>"


def check_starts(fit: Estimates, n: int = 5, seed: int = 0, progress: bool | None = None) -> StartCheck:
    """Search from `n` other starts, drawn over the parameter space; see `Fit.check_starts`."""
    n, seed = whole_number("n", n, 1, 10_000), whole_number("seed", seed, 0)
    if progress is None:
        progress = bool(getattr(sys.stdout, "isatty", lambda: False)())
    check_switch("progress", progress)
    held = np.array([status == "fixed" for status in fit.status])
    fixed = np.where(held, fit.theta, np.nan)
    if held.all():
        raise OptionError("every parameter is held by fix=: there is nothing to search for.")
    equations = fit._equations
    if equations.searched is not equations and not fit.specification.residual.dense:
        equations = make_equations(fit.specification, equations.asked)
    # Another stream than that of the starts a fit tries by itself.
    draws = drawn_starts(equations, fit.options, fixed, np.random.default_rng([int(seed), 1]))
    climbs: list[Climb] = []
    try:
        for number in range(1, int(n) + 1):
            climbs.append(climb(fit, equations, number, next(draws), fixed))
            if progress:
                last = climbs[-1]
                print(f"start {number} of {n}: log-likelihood {last.loglik:.6f}, {last.ended}", flush=True)
    except KeyboardInterrupt:
        pass  # what is known so far is told, with how far it got
    path = tuple(fit.history["loglik"])
    return StartCheck(fit.loglik, tuple(climbs), int(n), int(seed), fit.specification.parameters, path)


def climb(fit: Estimates, equations: Equations, number: int, theta: Array, fixed: Array) -> Climb:
    """The search from θ, and what its end is beside the fit."""
    rows: list[Iteration] = []
    start = np.where(np.isnan(fixed), theta, np.nan)
    try:
        end = maximize(equations, fit.options, start, fixed, rows.append)
    except NotPositiveDefiniteError as error:
        return Climb(number, tuple(row.loglik for row in rows), theta, NO_START, str(error))
    gain, slack = end.point.loglik - fit.loglik, 100.0 * HIGHER * (1.0 + abs(fit.loglik))
    converged = end.convergence.converged
    if gain > slack:
        ended = HIGHER_END
    elif not converged:
        ended = NO_END
    else:
        ended = SAME if gain >= -slack else LOWER
    reason = "" if converged else end.convergence.reason
    return Climb(number, tuple(row.loglik for row in rows), end.point.theta, ended, reason)
