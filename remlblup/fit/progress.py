"""What a fit tells while it runs: lines on the terminal, a function of the user, and Python's logging."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from remlblup.errors import OptionError, check_switch
from remlblup.reml.convergence import Convergence
from remlblup.reml.history import HEADER, Iteration

Report = Callable[[Iteration], None]

LOGGER = logging.getLogger("remlblup")
LOGGER.addHandler(logging.NullHandler())  # silent unless the program that uses us has set up logging


def bar_wanted(progress: bool | None) -> bool:
    """Whether to show a bar, which is written to the standard error; by default only on a terminal."""
    if progress is None:
        return bool(getattr(sys.stderr, "isatty", lambda: False)())
    check_switch("progress", progress)
    return bool(progress)


def printer(progress: bool | None) -> Report | None:
    """Print the header and a line per iteration, or nothing; by default only on a terminal."""
    if progress is None:
        progress = bool(getattr(sys.stdout, "isatty", lambda: False)())
    if not progress:
        return None

    def report(row: Iteration) -> None:
        if row.iteration == 0:
            print(HEADER)
        print(row.line(), flush=True)

    return report


def reporter(progress: bool | None, callback: Any) -> Report | None:
    """Everybody who is told of an iteration, as one; None where that is nobody.

    Raises
    ------
    OptionError
        If `callback` cannot be called.
    """
    if callback is not None and not callable(callback):
        raise OptionError(
            f"callback={callback!r} must be a function of one iteration: callback=lambda row: print(row.loglik)."
        )
    told = [printer(progress), callback, log_row if LOGGER.isEnabledFor(logging.DEBUG) else None]
    listeners = [one for one in told if one is not None]
    if not listeners:
        return None

    def report(row: Iteration) -> None:
        for one in listeners:
            one(row)

    return report


def log_row(row: Iteration) -> None:
    """A row of the history in the log."""
    LOGGER.debug(row.line().strip())


def log_verdict(model: object, convergence: Convergence) -> None:
    """The verdict in the log."""
    LOGGER.log(logging.INFO if convergence.converged else logging.WARNING, "%r: %s", model, convergence)
