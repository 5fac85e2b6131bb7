"""One BLAS thread inside our own kernels.

Many small dense blocks run slower, and sum in another order, with several BLAS threads: parallel work
belongs on the elimination tree, and the digits of a fit must not depend on the number of cores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

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
