"""Replicates of a fitted model drawn and fitted, a batch at a time: together where the model allows,
else one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations
from remlblup.equations.choice import make_equations
from remlblup.errors import (
    ConvergenceWarning,
    ModelError,
    OptionError,
    RemlBlupError,
    RemlBlupWarning,
    StochasticError,
    listed,
    said_elsewhere,
)
from remlblup.fit.estimates import Estimates
from remlblup.fit.tables.functions import evaluate
from remlblup.inference.resampling.refit import equations_of, held_values, responded
from remlblup.inference.resampling.simulate import Simulator, seeds
from remlblup.linalg.threads import single_threaded
from remlblup.model.other_response import with_response
from remlblup.model.specification import Specification
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.singular_residual import maximize
from remlblup.reml.starts import Search, is_small, is_tied
from remlblup.reml.together.choice import search_of
from remlblup.reml.together.fixed import FixedOnly
from remlblup.reml.together.one import OneRatio
from remlblup.reml.together.reduction import is_one, reducible
from remlblup.reml.together.several import Several

CONVERGED = "all criteria met."


@dataclass(frozen=True)
class Batch:
    """What some replicates came to: a row of numbers each (NaN where there is no fit), with its verdict."""

    first: int
    values: Array
    converged: np.ndarray
    iterations: np.ndarray
    reasons: tuple[str, ...]


def own_statistic(statistic: Any) -> tuple[str, ...] | Callable[[Any], Any] | None:
    """What is asked of each replicate: expressions as of `function`, or a function of its fit."""
    if statistic is None or callable(statistic):
        return statistic
    expressions = listed("statistic=", statistic)
    if not all(isinstance(e, str) for e in expressions):
        raise OptionError(
            f"statistic={statistic!r} must be a function of a fit, or expressions such as 'a / (a + residual)'."
        )
    return tuple(expressions)


class Replicates:
    """All that it takes to draw and fit replicates; what is sent to another process.

    Parameters
    ----------
    fit : the fit whose model is drawn from
    statistic : see `own_statistic`
    observed : (n, k) responses to fit in place of drawn ones
    """

    def __init__(self, fit: Estimates, statistic: tuple[str, ...] | Callable[[Any], Any] | None = None,
                 drawn_from: Estimates | None = None):  # fmt: skip
        if not fit._equations.knows_likelihood:
            raise StochasticError(
                "replicates of a fit by engine='stochastic' would each take its time: fit.simulate() draws records, and"
                " fit.refit(y) fits them."
            )
        source = fit if drawn_from is None else drawn_from
        self.spec, self.asked = fit.specification, fit._equations.asked
        self.options: Options = replace(fit.options, journal=None)
        self.theta, self.held, self.statistic = fit.theta, held_values(fit), statistic
        self.bounded = np.array([status == "boundary" for status in fit.status])
        self.source = source.specification, source.beta, source.theta
        self.kind = type(fit)
        self._base: Equations | None = equations_of(fit)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is computed from the rest, and what only a fit that is handed out needs."""
        state = {k: v for k, v in vars(self).items() if k not in ("simulator", "together", "shortcut")} | {
            "_base": None
        }
        if not callable(self.statistic):
            state["spec"], kept = bare(self.spec), state["source"]
            state["source"] = (bare(kept[0]), *kept[1:]) if kept[0] is not self.spec else (state["spec"], *kept[1:])
        return state

    @property
    def base(self) -> Equations:
        if self._base is None:
            self._base = make_equations(self.spec, self.asked)
        return self._base

    @cached_property
    def simulator(self) -> Simulator:
        return Simulator(*self.source)

    @cached_property
    def shortcut(self) -> str | None:
        """Why the replicates are fitted one by one; None if together."""
        if callable(self.statistic):
            return "the statistic is a function of a fit"
        if self.options.algorithm not in ("auto", "ai"):
            return f"algorithm={self.options.algorithm!r}"
        # A few records shared among several terms: the likelihood can have several maxima.
        if (
            not is_one(self.spec)
            and is_small(self.base)
            and is_tied(self.base, np.isnan(self.held))
            and self.spec.n < 30
        ):
            return "the likelihood of so few records can have several maxima"
        return reducible(self.spec, ~np.isnan(self.held), self.options.constrain)

    @cached_property
    def together(self) -> FixedOnly | OneRatio | Several:
        return search_of(self.spec, self.options.ml, self.theta)

    # -- a batch -----------------------------------------------------------------------------

    def draw(self, replicates: range, seed: int) -> Array:
        """The records (n, k) of some replicates."""
        return self.simulator.draw(seeds(seed, replicates))

    @single_threaded
    def run(self, replicates: range, seed: int) -> Batch:
        """Draw and fit."""
        return self.fitted(self.draw(replicates, seed), replicates.start)

    def fitted(self, Y: Array, first: int = 0) -> Batch:
        """Fits of the responses Y (n, k)."""
        with said_elsewhere(ConvergenceWarning), said_elsewhere(RemlBlupWarning):
            if self.shortcut is not None:
                rows = [self.one(y) for y in Y.T]
                return collected(first, rows)
            out = self.together.maximize(Y if self.spec.offset is None else Y - self.spec.offset[:, None],
                                         self.options.tolerance)  # fmt: skip
            rows = [
                (self.numbers(out.theta[k], out.beta[k], float(out.loglik[k])), True, int(out.iterations[k]), CONVERGED)
                if out.converged[k]
                else self.one(y)
                for k, y in enumerate(Y.T)
            ]
        return collected(first, rows)

    def one(self, y: Array) -> tuple[Array, bool, int, str]:
        """The fit of one response: from the estimates of the fit, then from the start of its own data."""
        try:
            optimum = self.optimum(y)
        except (RemlBlupError, np.linalg.LinAlgError) as error:
            return np.zeros(0), False, 0, f"not fitted: {error}"
        verdict = optimum.convergence
        reason = CONVERGED if verdict.converged else verdict.reason
        if callable(self.statistic):
            numbers = flat(self.statistic(self.kind(optimum, self.options)))[1]
        else:
            fit = Estimates(optimum, self.options)
            numbers = self.numbers(fit.theta, fit.beta, fit.loglik)
        return numbers, verdict.converged, verdict.iterations, reason

    def optimum(self, y: Array) -> Optimum:
        equations = responded(self.base, with_response(self.spec, y, records=callable(self.statistic)), self.options.ml)
        # A component on a bound is no place to start from.
        start = np.where(self.bounded, np.nan, self.theta)
        with equations.lock.now:
            try:
                found = maximize(equations, self.options, start, self.held)
                if found.convergence.converged:
                    return found
            except RemlBlupError:
                pass
            return Search(equations, self.options, self.held).highest(np.full(len(self.theta), np.nan))

    def numbers(self, theta: Array, beta: Array, loglik: float) -> Array:
        """The row of a replicate."""
        if self.statistic is None:
            return np.concatenate([theta, beta, [loglik]])
        assert not callable(self.statistic)
        none = np.zeros((len(theta), len(theta)))
        return np.array([evaluate(e, self.spec.parameters, theta, none).estimate for e in self.statistic])


def collected(first: int, rows: Sequence[tuple[Array, bool, int, str]]) -> Batch:
    """The rows as one batch; a replicate without numbers is a row of NaN."""
    width = max((len(r[0]) for r in rows), default=0)
    values = np.full((len(rows), width), np.nan)
    for k, row in enumerate(rows):
        if len(row[0]) not in (0, width):
            raise OptionError(f"statistic= gave {len(row[0])} numbers for one replicate and {width} for another.")
        values[k, : len(row[0])] = row[0]
    return Batch(
        first, values, np.array([r[1] for r in rows]), np.array([r[2] for r in rows]), tuple(r[3] for r in rows)
    )


def bare(spec: Specification) -> Specification:
    """The numbers of a model without the data frame and the formula behind them."""
    fixed = replace(spec.fixed, coding=None)
    terms = tuple(replace(d, term=None) for d in spec.random)
    return replace(spec, records=None, formula=None, fixed=fixed, random=terms, matrices={})


def flat(value: Any) -> tuple[list[str] | None, Array]:
    """Names, where there are any, and numbers of what a statistic returns."""
    if isinstance(value, Mapping):
        value = pd.Series(value)
    names = [str(label) for label in value.index] if isinstance(value, pd.Series) else None
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=float)).ravel()
    except (TypeError, ValueError):
        raise ModelError(f"statistic= must return numbers, not {type(value).__name__}.") from None
    return names, numbers
