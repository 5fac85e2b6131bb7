"""One model, one fit, several models in several threads: the digits of one alone, and no thread that waits for ever."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from threadpoolctl import threadpool_limits

import remlblup as rb
from ownership.cases import MODELS, assert_same, blas_threads, frame, same, tables
from remlblup.linalg import threads

pytestmark = [
    pytest.mark.usefixtures("three_threads"),
    pytest.mark.filterwarnings("ignore::remlblup.ConvergenceWarning"),
]
SECONDS = 120.0  # what would wait for ever fails; nothing is timed


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(function, arguments):
    with ThreadPoolExecutor(4) as pool:
        return [future.result(SECONDS) for future in [pool.submit(function, a) for a in arguments]]


@pytest.mark.parametrize("kind", MODELS)
def test_one_model_and_its_fits_in_four_threads(kind):
    """BLAS has two threads outside, here and in the threads."""
    make, options = MODELS[kind]
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        expected = tables(make().fit(**options))
        model = make()
        fits = in_threads(lambda _: model.fit(**options), range(4))
        read = in_threads(lambda k: tables(fits[k % 2]), range(6))
        assert blas_threads() == before
    for one in [*read, *map(tables, fits[2:])]:
        assert_same(one, expected)


def test_different_models_at_once():
    expected = {kind: tables(make().fit(**options)) for kind, (make, options) in MODELS.items()}

    def one(kind):
        make, options = MODELS[kind]
        return kind, tables(make().fit(**options))

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        for kind, found in in_threads(one, MODELS):
            assert_same(found, expected[kind])
        assert blas_threads() == before


def test_equations_are_made_once_and_tables_are_the_same_objects():
    model = MODELS["V"][0]()
    fits = in_threads(lambda _: model.fit(), range(4))
    assert len({id(fit._equations) for fit in fits}) == 1
    found = in_threads(lambda _: (fits[0].random_effects, fits[0]._level_covariances), range(4))
    assert len({id(a) for a, _ in found}) == len({id(b) for _, b in found}) == 1


def test_solved_and_loglik_beside_a_fit():
    make, options = MODELS["sparse, subtrees"]
    model = make()
    fit = model.fit(**options)
    known = {"vm(id, A)": 3.0, "residual": 7.0}
    expected = model.solve(known).random_effects, model.loglik(known), tables(fit)

    def use(k):
        if k % 3 == 0:
            return model.solve(known).random_effects.equals(expected[0])
        if k % 3 == 1:
            return model.loglik(known) == expected[1]
        return same(tables(model.fit(**options)), expected[2])

    assert all(in_threads(use, range(9)))


def test_a_table_that_waits_for_its_equations_keeps_no_other_fit_waiting():
    """A property is no lock of all instances of its class."""
    one, other = (rb.MixedModel("y ~ x + (1 | g)", frame(n)).fit() for n in (10, 20))
    begun, done = threading.Event(), threading.Event()

    def read(fit, event):
        begun.set()
        fit.random_effects  # noqa: B018  a property, computed
        event.set()

    waiting = threading.Event()
    with one._equations.lock.now:
        threading.Thread(target=read, args=(one, waiting), daemon=True).start()
        assert begun.wait(SECONDS)
        time.sleep(0.05)
        threading.Thread(target=read, args=(other, done), daemon=True).start()
        assert done.wait(SECONDS)
        assert not waiting.is_set()
        one.random_effects  # noqa: B018  re-entrant
    assert waiting.wait(SECONDS)


@pytest.mark.parametrize("kind", MODELS)
def test_a_fit_of_the_same_model_within_its_own_fit(kind):
    make, options = MODELS[kind]
    expected = tables(make().fit(**options))
    model, inner = make(), []

    def callback(row):
        if row.iteration == 2 and not inner:
            inner.append(None)
            inner[0] = model.fit(**options)

    assert_same(tables(model.fit(**options, callback=callback)), expected)
    assert_same(tables(inner[0]), expected)


def test_a_fit_in_the_progress_of_fit_many():
    model = rb.MixedModel("y ~ x + (1 | g)", frame())
    expected, found = tables(model.fit()), []
    fits = rb.fit_many("~ x + (1 | g)", frame(), ["y", "y2"], progress=lambda *_: found.append(tables(model.fit())))
    assert len(found) == 2 and fits["y"].converged
    for one in found:
        assert_same(one, expected)


# -- side_by_side ------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_tasks():
    assert threads.side_by_side(lambda k: (time.sleep(0.001 * (k % 3)), k)[1], [(k,) for k in range(20)]) == list(
        range(20)
    )


def test_a_task_may_send_tasks():
    def outer(k):
        return sum(threads.side_by_side(lambda i: i * k, [(i,) for i in range(5)]))

    assert threads.side_by_side(outer, [(k,) for k in range(12)]) == [10 * k for k in range(12)]


class Slow:
    """Tasks of which the first `fails`, while others run until `let` is set."""

    def __init__(self, fails):
        self.fails, self.let, self.running, self.begun = fails, threading.Event(), 0, 0
        self.counting, self.two = threading.Lock(), threading.Event()

    def __call__(self, k):
        with self.counting:
            self.running, self.begun = self.running + 1, self.begun + 1
        if self.begun > 1:
            self.two.set()
        try:
            if k == 0:
                assert self.two.wait(SECONDS)
                self.fails()
            else:
                assert self.let.wait(SECONDS)
        finally:
            with self.counting:
                self.running -= 1


@pytest.mark.parametrize("error", [MemoryError, ValueError, SystemExit])
def test_no_task_runs_when_the_error_of_one_is_raised(error):
    def fails():
        threading.Timer(0.1, slow.let.set).start()
        raise error("of a worker")

    slow = Slow(fails)
    with pytest.raises(error, match="of a worker"):
        threads.side_by_side(slow, [(k,) for k in range(50)])
    assert slow.running == 0
    assert slow.begun < 50
    time.sleep(0.02)
    assert slow.running == 0 and slow.begun < 50
    assert threads.side_by_side(lambda k: k, [(1,), (2,)]) == [1, 2]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_no_task_runs_after_the_first_ctrl_c_or_the_third(monkeypatch):
    settling, settle = threading.Event(), threads.Group.settle

    def watched(self):
        settling.set()
        settle(self)

    def kills():
        assert slow.two.wait(SECONDS)
        os.kill(os.getpid(), signal.SIGINT)
        assert settling.wait(SECONDS)
        for _ in range(2):  # while the caller waits for the others
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        slow.let.set()

    slow = Slow(lambda: slow.let.wait(SECONDS))
    monkeypatch.setattr(threads.Group, "settle", watched)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=kills).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.side_by_side(slow, [(k,) for k in range(50)])
        assert slow.running == 0 and slow.begun < 50
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_system_without_threads_left_works_in_one(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    threads.pool.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert threads.side_by_side(lambda k: k + 1, [(1,), (2,)]) == [2, 3]
    threads.pool.cache_clear()


# -- BLAS threads ------------------------------------------------------------------------------


class Library:
    """A BLAS whose setting is one for the process, or with OpenMP one per thread."""

    internal_api = "openblas"

    def __init__(self, layer, number=4):
        self.threading_layer, self.own, self.number = layer, threading.local(), number

    @property
    def num_threads(self):
        return getattr(self.own, "number", self.number) if self.threading_layer == "openmp" else self.number

    def set_num_threads(self, number):
        holder = self.own if self.threading_layer == "openmp" else self
        holder.number = number


@pytest.fixture(params=[["pthreads"], ["openmp"], ["pthreads", "openmp"]], ids=" and ".join)
def libraries(request, monkeypatch):
    found = [Library(layer) for layer in request.param]
    monkeypatch.setattr(threads, "controller", lambda: SimpleNamespace(lib_controllers=found))
    monkeypatch.setattr(threads, "_everywhere", threads.Limit(threads.shared_setting))
    monkeypatch.setattr(threads, "_here", threading.local())
    threads.pool.cache_clear()
    yield found
    threads.pool.cache_clear()


def test_one_thread_while_any_kernel_runs(libraries):
    """The first to come leaves first, the second goes on; then it is as before, in every thread."""
    first, second, left = threading.Event(), threading.Event(), threading.Event()
    seen = {}

    @threads.single_threaded
    def kernel(name, begun, until):
        begun.set()
        assert until.wait(SECONDS)
        seen[name] = [library.num_threads for library in libraries]

    def run(name, begun, until):
        kernel(name, begun, until)
        seen[f"after {name}"] = [library.num_threads for library in libraries]

    one = threading.Thread(target=run, args=("one", first, second))
    one.start()
    assert first.wait(SECONDS)
    other = threading.Thread(target=run, args=("other", second, left))
    other.start()
    one.join(SECONDS)
    left.set()
    other.join(SECONDS)
    assert set(seen["one"]) == set(seen["other"]) == {1}
    assert set(seen["after other"]) == {4}
    assert {library.num_threads for library in libraries} == {4}


def test_one_thread_in_the_pool_and_in_nested_kernels(libraries):
    @threads.single_threaded
    def kernel(deep=0):
        if deep:
            kernel(deep - 1)
        inside = threads.side_by_side(
            lambda _: [library.num_threads for library in libraries], [(k,) for k in range(9)]
        )
        assert {n for one in inside for n in one} == {1}
        assert {library.num_threads for library in libraries} == {1}

    kernel(2)
    assert {library.num_threads for library in libraries} == {4}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_setting_is_restored_after_an_error(libraries, error):
    @threads.single_threaded
    def kernel():
        raise error

    with pytest.raises(error):
        kernel()
    assert {library.num_threads for library in libraries} == {4}
    assert not threads._everywhere.holders


def test_a_setting_the_user_changes_between_kernels_is_kept(libraries):
    kernel = threads.single_threaded(lambda: None)
    kernel()
    for library in libraries:
        library.set_num_threads(3)
    kernel()
    assert {library.num_threads for library in libraries} == {3}


@pytest.mark.parametrize("where", ["main", "thread"])
def test_real_libraries_from_any_thread(where):
    """threadpoolctl lets the first thread that sets a limit do so alone: ours is not in the way of that."""
    inside = threads.single_threaded(blas_threads)

    def use():
        seen.append(inside())
        with threadpool_limits(1, user_api="blas"):
            seen.append(blas_threads())
        seen.append(blas_threads())

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
    seen: list[list[int]] = []
    threads.single_threaded(lambda: None)()
    outside = [(library, library.num_threads) for library in threads.controller().lib_controllers]
    threads.set_numbers([(library, 2) for library, _ in outside])
    try:
        if where == "main":
            use()
        else:
            thread = threading.Thread(target=use)
            thread.start()
            thread.join(SECONDS)
        assert max(seen[0]) == max(seen[1]) == 1
        assert seen[2] == before
    finally:
        threads.set_numbers(outside)
