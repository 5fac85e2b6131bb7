"""Every error and warning remlblup raises on purpose: what is wrong, where, and what to do about it."""

from __future__ import annotations

import numbers
import reprlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any


class RemlBlupError(ValueError):
    """Base class of all errors raised by remlblup."""


class FormulaError(RemlBlupError):
    """The formula cannot be read, or names something that does not exist."""


class DataError(RemlBlupError):
    """The data cannot be used: a missing column, an infinite value, a text response, no rows left."""


class ReaderError(DataError):
    """A file of another program is of no kind known, cut off or damaged.

    Attributes
    ----------
    path : the file
    line : number of the line, from 1; 0 for the whole file
    expected : what should stand there
    """

    def __init__(self, message: str, path: str = "", line: int = 0, expected: str = ""):
        super().__init__(message)
        self.path, self.line, self.expected = path, line, expected

    def __reduce__(self) -> tuple[type[ReaderError], tuple[str, str, int, str]]:
        return ReaderError, (str(self), self.path, self.line, self.expected)


class StoreError(DataError):
    """A fit cannot be written to its folder, or the folder does not hold the fit that was saved in it."""


class CheckpointError(StoreError):
    """A checkpoint is that of another fit, damaged, in use, or cannot be written."""


class RelationshipError(RemlBlupError):
    """A relationship matrix is missing, malformed, or does not hold the levels asked of it."""


class PedigreeError(RelationshipError):
    """The pedigree contradicts itself: a loop, a self-parent, conflicting duplicates."""


class VarianceError(RemlBlupError):
    """Variances given by the user are unknown, negative, or not positive definite."""


class ModelError(RemlBlupError):
    """The model cannot be estimated from these data: no residual df, one level, confounded terms."""


class OptionError(RemlBlupError):
    """An option is unknown or has a value it cannot take."""


class StochasticError(RemlBlupError):
    """Something was asked of engine="stochastic" that products and probes do not tell: it is missing there."""


class NotPositiveDefiniteError(RemlBlupError):
    """A matrix that must be positive definite is not."""


class MemoryLimitError(RemlBlupError, MemoryError):
    """A model needs more memory than there is, told beforehand where it can be, and otherwise where it ran out."""


class FitInterrupted(KeyboardInterrupt):
    """Ctrl-C during a fit.

    It is a `KeyboardInterrupt` and no `RemlBlupError`: code that goes on after errors, ``except Exception``, is stopped
    by it as by any other Ctrl-C.

    Attributes
    ----------
    fit : Fit or None
        The best point of the search so far with its history and tables, its ``convergence.status`` "interrupted"; None
        if no iteration was finished. It is made when it is first asked for, which costs about an iteration.
    fits : Fits or None
        Of `fit_many`, the responses that were done.
    """

    def __init__(self, message: str, make: Callable[[], Any] | None = None, fits: Any = None):
        super().__init__(message)
        self._make, self.fits = make, fits
        self._fit: Any = None

    @property
    def fit(self) -> Any:
        if self._fit is None and self._make is not None:
            self._fit = self._make()
        return self._fit

    @classmethod
    def within(cls, stop: KeyboardInterrupt, where: str, fits: Any = None) -> FitInterrupted:
        """The same as `stop`, a fit that is one of many: where it was."""
        make = stop._make if isinstance(stop, cls) else None
        return cls(f"{where}: {stop if isinstance(stop, cls) else 'interrupted.'}", make, fits)

    def __reduce__(self) -> tuple[type[FitInterrupted], tuple[str]]:
        return FitInterrupted, (str(self),)


class WorkersError(RemlBlupError):
    """The workers of a cluster are not there, die, or do not answer."""


class DependencyError(RemlBlupError, ImportError):
    """An optional package is needed for this feature."""


class DeviceError(RemlBlupError):
    """The card asked for is not there, or has failed."""


class RemlBlupWarning(UserWarning):
    """Base class of the warnings of remlblup."""


class ConvergenceWarning(RemlBlupWarning):
    """A fit has not converged: its estimates, standard errors and p values are those of the last iterate."""


class EstimabilityWarning(RemlBlupWarning):
    """Something was asked for that the data cannot estimate; it is missing (NaN) in the result."""


class CheckpointWarning(RemlBlupWarning):
    """A checkpoint could not be written in the middle of a fit, which goes on without."""


class CodesWarning(RemlBlupWarning):
    """Numbers that look like the codes of a factor stand in the fixed part as a covariate, or text as a factor."""


_HERE = str(Path(__file__).parent)
_SAID: ContextVar[tuple[type[RemlBlupWarning], ...]] = ContextVar("said", default=())


@contextmanager
def said_elsewhere(category: type[RemlBlupWarning]) -> Iterator[None]:
    """No warnings of this category from within: who asks says the same in its own place,
    a report or a summary of many."""
    token = _SAID.set((*_SAID.get(), category))
    try:
        yield
    finally:
        _SAID.reset(token)


def warn(message: str, category: type[RemlBlupWarning]) -> None:
    """Warn where the caller of remlblup stands: the first line outside this package."""
    if issubclass(category, _SAID.get()):
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def some(names: Iterable[object], limit: int = 8) -> str:
    """Quote a few names for a message: ``'a', 'b', 'c' and 12 more``."""
    items = [repr(name) if isinstance(name, str) else str(name) for name in names]
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"


def count(n: int, noun: str, one: str = "", many: str = "") -> str:
    """``1 level``, ``2,000 levels``; with what they do, ``1 row has``, ``2 rows have``."""
    does = one if n == 1 else many
    return f"{n:,} {noun}{'' if n == 1 else 's'}{' ' if does else ''}{does}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


def shown(value: object) -> str:
    """A value for a message: as it is written where that is short, else its beginning, or what it is."""
    if getattr(value, "ndim", 0) and (type(value).__module__ != "numpy" or getattr(value, "size", 0) > 8):
        return f"a {type(value).__name__} of shape {getattr(value, 'shape', '?')}"
    return _SHORT.repr(value)


def choose(name: str, value: object, options: Iterable[str]) -> None:
    """Raise `OptionError` unless `value` is one of `options`."""
    allowed = list(options)
    if not isinstance(value, str) or value not in allowed:
        raise OptionError(f"{name}={shown(value)} is not known. Choose one of: {some(allowed, 20)}.")


def check_switch(name: str, value: object) -> None:
    """Raise `OptionError` unless an option is True or False."""
    if str(type(value).__name__) not in ("bool", "bool_"):
        raise OptionError(f"{name}={shown(value)} must be True or False.")


def check_share(name: str, value: Any) -> None:
    """Raise `OptionError` unless an option is a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0.0 < float(value) < 1.0:
        raise OptionError(f"{name}={shown(value)} must be a number between 0 and 1.")


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number given as an option; `OptionError` for anything else."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        upto = "or more" if most is None else f"to {most:,}"
        raise OptionError(f"{name}={shown(value)} must be a whole number, {least} {upto}.")
    return int(value)


def listed(name: str, values: object, error: type[RemlBlupError] = OptionError) -> list:
    """The items of a list, a text being a list of one; `error` for what has none."""
    if isinstance(values, str):
        return [values]
    try:
        return list(values)  # type: ignore[call-overload]
    except TypeError:
        raise error(f"{name} must be a list, not {shown(values)}.") from None
