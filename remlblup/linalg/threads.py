"""One BLAS thread inside our own kernels.

Many small dense blocks run slower, and sum in another order, with several BLAS threads: parallel work
belongs on the elimination tree, and the digits of a fit must not depend on the number of cores.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from remlblup.errors import OptionError

T = TypeVar("T")

_settings: dict[str, int] = {}


def n_threads() -> int:
    """Threads the sparse kernels use: as set, else REMLBLUP_THREADS, else the cores this process may run on."""
    if "threads" not in _settings:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        text = os.environ.get("REMLBLUP_THREADS", "")
        _settings["threads"] = int(text) if text.isdigit() and int(text) > 0 else cores
    return _settings["threads"]


def set_threads(number: int) -> None:
    """Set the number of threads of the sparse kernels; the digits of a result do not depend on it.

    Raises
    ------
    OptionError
        If `number` is not a positive whole number.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise OptionError(f"the number of threads must be a positive whole number, not {number!r}.")
    _settings["threads"] = number
    pool.cache_clear()


@functools.lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """The threads, started once."""
    return ThreadPoolExecutor(n_threads(), thread_name_prefix="remlblup")


def side_by_side(run: Callable[..., T], tasks: list[tuple]) -> list[T]:
    """Run a function on every tuple of arguments, on the threads at hand; the results in the order of the tasks."""
    if len(tasks) < 2 or n_threads() < 2:
        return [run(*task) for task in tasks]
    return list(pool().map(lambda task: run(*task), tasks))


F = TypeVar("F", bound=Callable[..., Any])


@functools.lru_cache(maxsize=1)
def controller() -> Any:
    """The BLAS libraries of this process (found once: the search takes milliseconds)."""
    import scipy.linalg  # noqa: F401  its BLAS must be loaded before the search
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def single_threaded(function: F) -> F:
    """Run a function with one BLAS thread and restore the setting afterwards."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with controller().limit(limits=1):
            return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]
