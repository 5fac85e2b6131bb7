"""Ctrl-C while our kernels run: raised as what it is, or after what must not be broken off."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def interrupt_within(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that an error stands for: a compiled function makes a SystemError of one that came while it ran."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def interrupted_as_such(function: F) -> F:
    """Raise a Ctrl-C that came while a kernel ran as what it is."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except SystemError as error:
            if (stop := interrupt_within(error)) is not None:
                raise stop from None
            raise

    return wrapped  # type: ignore[return-value]


def uninterrupted(run: Callable[[], T]) -> T:
    """Run a function to its end; a Ctrl-C that comes meanwhile is raised after it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        return run()
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        return run()
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)
