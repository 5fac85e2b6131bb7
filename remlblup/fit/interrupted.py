"""Ctrl-C in a fit: an exception that is still a Ctrl-C, and holds what the fit had come to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from remlblup.errors import FitInterrupted
from remlblup.fit.estimates import Estimates
from remlblup.linalg.threads import single_threaded
from remlblup.reml.known import interrupted_at
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.starts import Search
from remlblup.reml.stochastic.search import StochasticSearch

F = TypeVar("F", bound=Callable[..., Any])


def interruptible(function: F) -> F:
    """A Ctrl-C within, where a search has not begun, as a `FitInterrupted` without a fit."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except FitInterrupted:
            raise
        except KeyboardInterrupt as stop:
            raise FitInterrupted(NOTHING) from stop

    return wrapped  # type: ignore[return-value]


NOTHING = "the fit was interrupted before its first iteration was finished: there are no estimates yet."


def at(loglik: float) -> str:
    """Where a search was, if it knows."""
    return f", at a log-likelihood of {loglik:.6f}" if np.isfinite(loglik) else ""


def interrupted(search: Search | StochasticSearch, kind: Callable[[Optimum, Options], Estimates]) -> FitInterrupted:
    """The exception of a search that was interrupted; its fit, of this kind, is made when it is asked for."""
    rows, trials = search.so_far(), tuple(search.trials)
    if not rows:
        return FitInterrupted(NOTHING)
    options = replace(search.options, journal=None)

    @single_threaded
    def fit() -> Estimates:
        with search.equations.lock.now:
            optimum = interrupted_at(search.equations, options, rows, ~np.isnan(search.fixed), trials)
        return kind(optimum, options)

    n = len(rows) - 1
    way = (
        "start=….fit.variances goes on from them"
        if search.options.journal is None
        else "its checkpoint goes on from there"
    )
    times = "1 iteration" if n == 1 else f"{n} iterations"
    return FitInterrupted(
        f"the fit was interrupted after {times}{at(rows[-1].loglik)}. The estimates so far are in `fit` of this"
        f" exception; {way}.",
        fit,
    )
