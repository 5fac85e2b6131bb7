"""Threads of our own kernels, and one BLAS thread inside them.

Many small dense blocks run slower, and sum in another order, with several BLAS threads: parallel work
belongs on the elimination tree, and the digits of a fit must not depend on the number of cores.

The thread that sends tasks takes its share of them: where the cores are busy it is done before a worker wakes.
Workers write into arrays of the thread that sent them. Whatever ends a parallel part (an error, Ctrl-C, a second
Ctrl-C), no worker is at work any more when the exception leaves `side_by_side`.
"""

from __future__ import annotations

import functools
import math
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from remlblup.cached import cached_property
from remlblup.errors import OptionError
from remlblup.keywords import known_arguments
from remlblup.linalg.interrupts import interrupt_within

T = TypeVar("T")

_settings: dict[str, int] = {}
# What the threads of the pool know of themselves.
_here = threading.local()


def n_threads() -> int:
    """Threads the sparse kernels use: as set, else REMLBLUP_THREADS, else the cores this process may run on."""
    if "threads" not in _settings:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        text = os.environ.get("REMLBLUP_THREADS", "")
        _settings["threads"] = int(text) if text.isdigit() and int(text) > 0 else cores
    return _settings["threads"]


@known_arguments
def set_threads(number: int) -> None:
    """Set the number of threads of the sparse kernels; the digits of a result do not depend on it.

    Parameters
    ----------
    number : 1 or more

    Raises
    ------
    OptionError
        If `number` is not a positive whole number.

    Examples
    --------
    >>> rb.set_threads(2)
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise OptionError(f"the number of threads must be a positive whole number, not {number!r}.")
    _settings["threads"] = number
    pool.cache_clear()


class Pool:
    """Threads that take tasks from a queue. They end with the pool, or with the process."""

    def __init__(self, number: int):
        self.tasks: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        weakref.finalize(self, dismiss, self.tasks, number).atexit = False
        self.size = 0
        for k in range(number):
            try:
                threading.Thread(target=work, args=(self.tasks,), name=f"remlblup_{k}", daemon=True).start()
            except RuntimeError:  # the system allows no more
                break
            self.size += 1


def work(tasks: queue.SimpleQueue[Group | None]) -> None:
    """What a thread of a pool does."""
    _here.in_pool = True
    for limit in limits()[1:]:
        limit.hold(tasks)
    while (group := tasks.get()) is not None:
        while group.take():
            pass
        del group  # arrays of tasks live no longer than these


def dismiss(tasks: queue.SimpleQueue[Group | None], number: int) -> None:
    for _ in range(number):
        tasks.put(None)


@functools.lru_cache(maxsize=1)
def pool() -> Pool:
    """The threads beside the one that sends tasks, started once in every process."""
    return Pool(n_threads() - 1)


WORTH_WAKING = 100_000
"""Operations in all, some tenth of a millisecond, below which nobody is woken."""


def side_by_side(
    run: Callable[..., T], tasks: list[tuple], operations: float = math.inf, at_once: float = math.inf
) -> list[T]:
    """Run a function on every tuple of arguments, on the threads at hand; the results in the order of the tasks.

    An exception of a task, or one that reaches the caller meanwhile, is raised when no task is running any more.
    `operations` of all tasks, where they may be few; no more than `at_once` of them run at a time.
    """
    # A worker that waited for others of the pool could wait for itself.
    few = len(tasks) < 2 or operations < WORTH_WAKING or n_threads() < 2
    if few or getattr(_here, "in_pool", False) or (threads := pool()).size < 1:
        return [run(*task) for task in tasks]
    group = Group(run, tasks)
    try:
        try:
            for _ in range(int(min(len(tasks), threads.size + 1, at_once)) - 1):
                threads.tasks.put(group)
            return group.collected()
        finally:
            group.settle()
    finally:
        group.settle()  # an interrupt may have come before the first line of the call above


class Group:
    """Tasks that are sent to the pool together."""

    def __init__(self, run: Callable[..., Any], tasks: list[tuple]):
        self.run, self.tasks = run, tasks
        self.results: list[Any] = [None] * len(tasks)
        self.done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self.begun, self.running, self.ended, self.counting = 0, 0, False, threading.Lock()

    def take(self) -> bool:
        """Run the next task in a worker, unless the group has ended or there is none."""
        with self.counting:
            place = self._next()
            if place is None:
                return False
            self.running += 1
        raised: BaseException | None = None
        try:
            self.do(place)
        except BaseException as error:
            raised = error
        with self.counting:
            self.running -= 1
            self.ended = self.ended or raised is not None
        self.done.put(raised)
        return raised is None

    def _next(self) -> int | None:
        """The place of the next task."""
        if self.ended or self.begun == len(self.tasks):
            return None
        self.begun += 1
        return self.begun - 1

    def do(self, place: int) -> None:
        """Run a task."""
        self.results[place] = self.run(*self.tasks[place])

    def collected(self) -> list[Any]:
        """The results, when all tasks are done, here those that no worker takes; or the first exception."""
        own = 0
        for limit in limits()[1:]:
            limit.hold(self)
        _here.in_pool = True
        while True:
            with self.counting:
                place = self._next()
            if place is None:
                break
            self.do(place)
            own += 1
        for _ in range(len(self.tasks) - own):
            if (raised := self.done.get()) is not None:
                raise raised
        return self.results

    def settle(self) -> None:
        """Start no more tasks and wait for those that run, whatever is raised meanwhile; that is raised afterwards."""
        raised: BaseException | None = None
        while True:
            try:
                with self.counting:
                    self.ended = True
                while self.running:
                    time.sleep(0.001)
                _here.in_pool = False
                release(limits()[1:], self)
                self.run, self.tasks, self.results = len, [], []  # a worker may hold the group until it wakes
                break
            except BaseException as error:
                raised = error
        if raised is not None:
            raise raised


F = TypeVar("F", bound=Callable[..., Any])


@functools.lru_cache(maxsize=1)
def controller() -> Any:
    """The BLAS libraries of this process (found once: the search takes milliseconds)."""
    import scipy.linalg  # noqa: F401  its BLAS must be loaded before the search
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def shared_setting(library: Any) -> bool:
    """Whether a library has one number of threads for the whole process; with OpenMP every thread has its own."""
    return not (library.internal_api == "openblas" and getattr(library, "threading_layer", "") == "openmp")


def teller(library: Any) -> Callable[[], int]:
    """What tells how many threads a library has: a function of its own where threadpoolctl names it, for a small fit
    asks several times, and the way there is longer than the answer."""
    symbol = getattr(library, "_get_symbol", None)
    plain = library.internal_api == "openblas" and shared_setting(library)
    own = symbol("openblas_get_num_threads") if plain and symbol is not None else None
    return own if own is not None else lambda: library.num_threads


class Limit:
    """One BLAS thread while anybody holds it, and the setting from before when the last has let go.

    Two threads that each set and restored one setting would undo each other. Every step can be broken off and taken
    again.
    """

    def __init__(self, of: Callable[[Any], bool]):
        self.of, self.lock = of, threading.RLock()
        self.holders: dict[object, int] = {}
        # Libraries that had more than one thread, and how many.
        self.before: list[tuple[Any, int]] | None = None
        self.limited = False

    @cached_property
    def libraries(self) -> list[tuple[Any, Callable[[], int]]]:
        """The libraries, and what tells how many threads each has."""
        return [(library, teller(library)) for library in controller().lib_controllers if self.of(library)]

    def hold(self, token: object) -> None:
        with self.lock:
            self.holders[token] = threading.get_ident()
            if not self.limited:
                if self.before is None:
                    self.before = [(library, number) for library, tell in self.libraries if (number := tell()) != 1]
                if self.before:
                    set_numbers([(library, 1) for library, _ in self.before])
                self.limited = True

    def release(self, token: object) -> None:
        with self.lock:
            self.holders.pop(token, None)
            self._restore()

    def _restore(self) -> None:
        if not self.holders and self.before is not None:
            self.limited = False
            if self.before:
                set_numbers(self.before)
            self.before = None

    def after_fork(self) -> None:
        """Of the holders only this thread is left."""
        self.lock = threading.RLock()
        self.holders = {token: of for token, of in self.holders.items() if of == threading.get_ident()}
        self._restore()


def set_numbers(numbers: list[tuple[Any, int]]) -> None:
    """Set the threads of libraries. Newer threadpoolctl lets the first thread that does so do it alone,
    until cleared."""
    clear = next((c for each, _ in numbers if (c := getattr(each, "clear_controlling_thread", None))), None)
    if clear is not None:
        clear(force=True)
    for library, number in numbers:
        library.set_num_threads(number)
    if clear is not None:
        clear(force=True)


_everywhere = Limit(shared_setting)


def limits() -> tuple[Limit, ...]:
    """Those that this thread has to hold: a second one where it has a setting of its own."""
    if not hasattr(_here, "limits"):
        alike = all(map(shared_setting, controller().lib_controllers))
        own = () if alike else (Limit(lambda library: not shared_setting(library)),)
        _here.limits = (_everywhere, *own)
    return _here.limits


def release(held: tuple[Limit, ...], token: object) -> None:
    for limit in held:
        limit.release(token)


def single_threaded(function: F) -> F:
    """Run a function with one BLAS thread and restore the setting afterwards.

    A Ctrl-C that came while a kernel ran is raised as what it is.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            if getattr(_here, "within", False):  # whoever called this holds the limits until it is done
                return function(*args, **kwargs)
            token, held = object(), limits()
            try:
                for limit in held:
                    limit.hold(token)
                _here.within = True
                return function(*args, **kwargs)
            finally:
                try:
                    _here.within = False
                    release(held, token)
                except BaseException:  # an interrupt on the way
                    _here.within = False
                    release(held, token)
                    raise
        except SystemError as error:
            if (stop := interrupt_within(error)) is not None:
                raise stop from None
            raise

    return wrapped  # type: ignore[return-value]


# -- ownership -------------------------------------------------------------------------------

_generation = 0
_renewing = threading.Lock()


class Lock:
    """Who may use a set of buffers: one thread at a time, which may come back to them within.

    ``with lock.now:``. A copy has a lock of its own, and a forked process finds free what other threads held.
    """

    def __init__(self) -> None:
        self._lock, self._generation = threading.RLock(), _generation

    @property
    def now(self) -> Any:
        if self._generation != _generation:
            with _renewing:
                if self._generation != _generation and not self._lock._is_owned():  # type: ignore[attr-defined]
                    self._lock = threading.RLock()
                self._generation = _generation
        return self._lock

    def __reduce__(self) -> tuple[type[Lock], tuple]:
        return Lock, ()


def exclusive(method: F) -> F:
    """A method of an object with a `_lock`: one thread at a time, with one BLAS thread."""
    alone = single_threaded(method)

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock.now:
            return alone(self, *args, **kwargs)

    return wrapped  # type: ignore[return-value]


class owned_property(cached_property[T]):
    """A cached property that is computed as by an `exclusive` method, once for all threads."""

    def __init__(self, function: Callable[[Any], T]):
        super().__init__(single_threaded(function))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with instance._lock.now:
            kept = instance.__dict__
            return kept[self.name] if self.name in kept else super().__get__(instance, owner)


# -- fork ------------------------------------------------------------------------------------


def _before_fork() -> None:
    """No thread is compiling at the moment of a fork, or setting BLAS threads:
    in the child that would stay half done."""
    _here.quiet = _everywhere.lock.acquire(timeout=1.0)
    if (compiling := sys.modules.get("numba.core.compiler_lock")) is not None:
        compiling.global_compiler_lock.acquire()
        _here.compiler = compiling.global_compiler_lock


def _after_fork() -> None:
    if _here.__dict__.pop("quiet", False):
        _everywhere.lock.release()
    if (lock := getattr(_here, "compiler", None)) is not None:
        del _here.compiler
        lock.release()


def _in_child() -> None:
    """The child has none of its parent's threads but the one that forked."""
    global _generation, _renewing
    _after_fork()
    _generation, _renewing = _generation + 1, threading.Lock()
    _here.in_pool = False
    pool.cache_clear()
    _everywhere.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
