"""Forked and spawned processes after and amid sparse fits: they end, with the same digits; models travel to them."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import threading
import time

import pytest
from threadpoolctl import threadpool_limits

from ownership.cases import MODELS, assert_same, blas_threads, same, tables, undisturbed
from remlblup.linalg import threads
from remlblup.linalg.sparse import schedule
from remlblup.validation.ownership.processes import forked

pytestmark = [
    pytest.mark.usefixtures("three_threads"),
    pytest.mark.filterwarnings("ignore::remlblup.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]
SECONDS = 120.0  # a child that takes longer hangs
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def in_child(check) -> bool:
    """What a check comes to in a forked child."""
    if (ended := forked(check, SECONDS)) == "HANGS":
        pytest.fail("the child hangs")
    return ended == "same"


@forks
@pytest.mark.parametrize("kind", MODELS)
def test_a_child_fits_the_model_of_its_parent(kind):
    model, options, fit, expected = undisturbed(kind)
    assert in_child(lambda: same(tables(model.fit(**options)), expected) and same(tables(fit), expected))
    assert_same(tables(model.fit(**options)), expected)


@forks
@pytest.mark.parametrize("kind", ["sparse, subtrees", "V"])
def test_a_child_forked_while_other_threads_fit(kind):
    """Locks, the factor half written, one BLAS thread: what threads held that the child has not."""
    make, options = MODELS[kind]
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        model = make()
        fit = model.fit(**options)
        expected = tables(fit)
        ended = threading.Event()

        def busy():
            while not ended.is_set():
                model.fit(**options)

        others = [threading.Thread(target=busy) for _ in range(2)]
        for other in others:
            other.start()
        try:
            for number in range(4):
                time.sleep(0.003 * number)
                assert in_child(
                    lambda: (
                        same(tables(model.fit(**options)), expected)
                        and same(tables(fit), expected)
                        and blas_threads() == before
                        and not threads._everywhere.holders
                    )
                )
        finally:
            ended.set()
            for other in others:
                other.join(SECONDS)
        assert blas_threads() == before


@forks
def test_a_child_forked_within_a_kernel_keeps_what_its_own_thread_holds():
    lock = threads.Lock()

    @threads.single_threaded
    def kernel():
        with lock.now:
            return in_child(
                lambda: (
                    len(threads._everywhere.holders) == 1
                    and set(blas_threads()) == {1}
                    and lock.now._is_owned()
                    and threads.side_by_side(abs, [(-1,), (-2,)]) == [1, 2]
                )
            )

    with threadpool_limits(2, user_api="blas"):
        assert kernel()
        assert max(blas_threads()) == 2


@forks
def test_a_child_finds_a_lock_free_that_another_thread_held():
    lock, held, free = threads.Lock(), threading.Event(), threading.Event()

    def hold():
        with lock.now:
            held.set()
            free.wait(SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(SECONDS)
    assert in_child(lambda: lock.now.acquire(timeout=10.0))
    assert not lock.now.acquire(blocking=False)  # here it is not
    free.set()
    thread.join(SECONDS)


@pytest.mark.parametrize("kind", MODELS)
def test_models_and_fits_are_copied_and_pickled(kind):
    """Those that have been fitted and hold a factor too: what a pool of processes does with its arguments."""
    model, options, fit, expected = undisturbed(kind)
    for again in (copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))):
        assert_same(tables(again(model).fit(**options)), expected)
        assert_same(tables(again(fit)), expected)
        assert again(fit)._equations.lock is not fit._equations.lock


def fitted(kind, model, threads_of_child):
    """In a spawned process: the tables of a model sent to it, and of its own."""
    schedule.WORTH_CUTTING = 0.0
    threads.set_threads(threads_of_child)
    make, options = MODELS[kind]
    return tables(model.fit(**options)), tables(make().fit(**options))


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_pool_of_processes(how):
    if how not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {how} here")
    kinds = ["sparse, subtrees", "dense equations", "V"]
    models = {kind: MODELS[kind][0]() for kind in kinds}
    expected = {kind: tables(model.fit(**MODELS[kind][1])) for kind, model in models.items()}
    with multiprocessing.get_context(how).Pool(1) as pool:
        sent = pool.starmap_async(fitted, [(kind, model, 2) for kind, model in models.items()], chunksize=1)
        for kind, (of_sent, of_own) in zip(kinds, sent.get(SECONDS), strict=True):
            assert_same(of_sent, expected[kind])
            assert_same(of_own, expected[kind])
