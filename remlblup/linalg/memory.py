"""Memory asked for before it is taken, and what to say where there is not enough."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from remlblup.cached import cached_property
from remlblup.errors import MemoryLimitError, OptionError
from remlblup.keywords import known_arguments
from remlblup.linalg.memory_limits import Limit, smallest_limit

# Share of the memory at hand that one model may take.
SHARE = 0.85
# Bytes of the largest block whose freeing tells glibc to keep blocks of its size (DEFAULT_MMAP_THRESHOLD_MAX: 32 MiB).
KEPT_WHEN_FREED = 32_800_000
# What takes less is not worth the time that reading the limits takes, unless one is set by hand.
NOT_WORTH_ASKING = 4e6


@dataclass(frozen=True)
class Need:
    """Bytes that a step takes above what was there before.

    Attributes
    ----------
    kept : what it leaves
    peak : the most it has at one time, what it leaves included
    """

    kept: float = 0.0
    peak: float = 0.0

    def then(self, after: Need) -> Need:
        """This step and another after it."""
        return Need(self.kept + after.kept, max(self.peak, self.kept + after.peak))

    def beside(self, other: Need) -> Need:
        """Two steps that may have their largest at one time."""
        return Need(self.kept + other.kept, self.peak + other.peak)

    @classmethod
    def of(cls, kept: float, passing: float = 0.0) -> Need:
        """Something kept, and beside it what passes."""
        return cls(kept, kept + passing)


@functools.cache
def keep_freed() -> None:
    """Let the allocator keep what temporaries free, once in a process.

    Where each block is taken from the system anew, as glibc does until a block of that size was freed (mallopt(3),
    M_MMAP_THRESHOLD), the pages that it has to zero take a tenth of the time of a model of 100,000 effects.
    """
    with contextlib.suppress(MemoryError):
        np.empty(KEPT_WHEN_FREED, dtype=np.int8)


@functools.cache
def _trim() -> Callable[[int], Any]:
    """`malloc_trim` of glibc, or nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        return ctypes.CDLL(None).malloc_trim
    return lambda pad: None


def give_back() -> None:
    """Give the system what temporaries have left free all over the heap, in some milliseconds."""
    _trim()(0)


def available() -> Limit:
    """What can be allocated now, and what limits it: REMLBLUP_MEMORY_GB, or the least of the system's limits."""
    given = os.environ.get("REMLBLUP_MEMORY_GB", "").strip()
    if not given:
        return smallest_limit()
    try:
        return Limit(float(given) * 1e9, "REMLBLUP_MEMORY_GB")
    except ValueError:
        raise OptionError(
            f"REMLBLUP_MEMORY_GB is the gigabytes a model may take, as 16 or 1.5, not {given!r}."
        ) from None


def available_memory() -> float:
    """Bytes that can be allocated now, infinity where the system does not tell; REMLBLUP_MEMORY_GB overrides."""
    return available().free


SMALLER = "or a smaller model: fewer levels without records, or fewer crossed factors."


def require(needed: float, what: str, advice: str = SMALLER) -> None:
    """Raise `MemoryLimitError` if `needed` bytes are more than there are, with what to do other than buy memory."""
    if needed <= NOT_WORTH_ASKING and "REMLBLUP_MEMORY_GB" not in os.environ:
        return
    limit = available()
    if needed > SHARE * limit.free:
        raise MemoryLimitError(
            f"{what} needs {gigabytes(needed)}; {gigabytes(limit.free)} are free ({limit.name}). {limit.advice},"
            f" {advice} (REMLBLUP_MEMORY_GB sets another limit.)"
        )


def gigabytes(size: float) -> str:
    """A size for a message."""
    return f"{size / 1e9:.3g} GB"


F = TypeVar("F", bound=Callable[..., Any])
# What the system says where it cannot give a thread its stack.
NO_THREAD = "can't start new thread"


def named(doing: str, said: str, predicted: str = "") -> MemoryLimitError:
    """The error for memory that ran out, from what the library said that ran out of it."""
    limit = available()
    said = said.rstrip(".")
    return MemoryLimitError(
        f"{doing} ran out of memory{f': {said[:1].lower()}{said[1:]}' if said else ''}. {predicted}"
        f"{gigabytes(limit.free)} are free ({limit.name}). {limit.advice}, {SMALLER} describe() says beforehand what a "
        "model needs."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of any library, or of the system, means that memory has run out."""
    no_thread = isinstance(error, RuntimeError) and NO_THREAD in str(error)
    return isinstance(error, MemoryError) or no_thread or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def within_memory(function: F) -> F:
    """A `MemoryError` of numpy, scipy or numba inside the function becomes a `MemoryLimitError` with the figures."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (MemoryError, RuntimeError, OSError) as error:
            if isinstance(error, MemoryLimitError) or not is_out_of_memory(error):
                raise
            said = str(error)
        # Raised here, where the frames of the failure and all that they held are gone.
        predicted = getattr(args[0], "_memory_predicted", "") if args else ""
        raise named(doing_of(function, args), said, predicted)

    return wrapped  # type: ignore[return-value]


def doing_of(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """The call by its name: MixedModel(), MixedModel.fit, load.
    A method goes by the class of the object it was asked of."""
    owner, _, name = function.__qualname__.rpartition(".")
    if owner and args and hasattr(type(args[0]), name):
        owner = type(args[0]).__name__
    return f"{owner}()" if name == "__init__" else f"{owner}.{name}" if owner else name


C = TypeVar("C", bound=type)


def all_within_memory(owner: C) -> C:
    """A class whose constructor, public methods and properties are all `within_memory`, and refuse by name an argument
    that they do not take."""
    for name, value in list(vars(owner).items()):
        if name.startswith("_") and name not in ("__init__", "__str__", "__repr__"):
            continue
        if isinstance(value, cached_property):
            value.function = within_memory(value.function)
        elif isinstance(value, property) and value.fget is not None:
            setattr(owner, name, property(within_memory(value.fget), value.fset, value.fdel, value.__doc__))
        elif isinstance(value, (classmethod, staticmethod)):
            setattr(owner, name, type(value)(within_memory(known_arguments(value.__func__))))
        elif callable(value) and not isinstance(value, type):
            setattr(owner, name, within_memory(known_arguments(value)))
    return owner
