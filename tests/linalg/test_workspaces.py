"""Workspaces of subtrees: of one thread at a time, large enough for each task, and nothing of the digits."""

import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from remlblup.linalg import threads
from remlblup.linalg.sparse import multifrontal, schedule
from remlblup.linalg.sparse.supernodal import SupernodalFactor

from .test_threads import field, solved, solved_by


def branches(seed: int) -> sp.csc_array:
    """Grids, chains and cliques of unlike sizes that hang from a border, or from each other; positive definite."""
    rng = np.random.default_rng(seed)
    border, parts = int(rng.integers(20, 70)), []
    for size in np.unique(np.exp(rng.uniform(1.5, 6.0, int(rng.integers(15, 35)))).astype(int)):
        side = max(int(np.sqrt(size)), 2)
        chain = sp.diags_array([np.ones(size - 1)], offsets=[-1], shape=(size, size))
        clique = sp.coo_array(np.tril(np.ones((side, side)), -1))
        parts += [[field(side), chain, clique][k] for k in rng.integers(3, size=2)]
    parts = [parts[k] for k in rng.permutation(len(parts))]
    begin = np.cumsum([0, *(part.shape[0] for part in parts)])
    inner = int(begin[-1])
    C = sp.lil_array((inner + border, inner + border))
    C[:inner, :inner] = sp.block_diag(parts)
    for k in range(len(parts)):
        own = np.arange(begin[k], begin[k + 1])
        ends = rng.choice(own, max(len(own) // 8, 1), replace=False)
        onto = inner + rng.integers(border, size=len(ends))
        if k and rng.random() < 0.3:  # a few hang from the branch before them as well
            onto[0] = begin[k - 1]
        C[np.maximum(ends, onto), np.minimum(ends, onto)] = 0.5
    C[inner:, inner:] = np.tril(rng.normal(size=(border, border)), -1)
    C = sp.tril(C.tocoo(), -1)
    C.data = rng.normal(size=len(C.data))
    C = sp.csc_array(C + C.T)
    return sp.csc_array(C + sp.diags_array(np.abs(C).sum(axis=1) + 1.0))


@pytest.fixture
def apart(monkeypatch):
    """Every tree is cut, no two tasks may be in one part of a workspace at a time, each has to have room in its own,
    and what was there before is no number. How many tasks there were beyond the parts is told."""
    in_own, lock, beyond = SupernodalFactor._in_own, threading.Lock(), [0]

    def watched(self, run, tasks):
        self._workspace.fill(np.nan)
        inside: list[np.ndarray] = []

        def checked(task, space):
            assert len(space) >= task.elements and (space.base is self._workspace or not len(space))
            with lock:
                assert not any(np.shares_memory(space, other) for other in inside)
                inside.append(space)
            try:
                return run(task, space)
            finally:
                with lock:
                    inside[:] = [other for other in inside if other is not space]

        beyond[0] += max(len(tasks) - threads.n_threads(), 0)
        return in_own(self, checked, tasks)

    monkeypatch.setattr(SupernodalFactor, "_in_own", watched)
    for name, value in (("WORTH_CUTTING", 0.0), ("SMALLEST_SHARE", 0.001)):
        monkeypatch.setattr(schedule, name, value)
    interval, number = sys.getswitchinterval(), threads.n_threads()
    sys.setswitchinterval(1e-6)
    yield beyond
    sys.setswitchinterval(interval)
    threads.set_threads(number)


@pytest.mark.parametrize("together", [0, 2**20])
@pytest.mark.parametrize("seed", range(8))
def test_random_trees_have_the_same_digits_whoever_works_on_them(apart, monkeypatch, seed, together):
    """One, two, three and more threads; as many as at the start, and more or fewer from then on."""
    monkeypatch.setattr(schedule, "LARGE_FRONT", 3e4 if seed % 2 else 3e8)
    monkeypatch.setattr(schedule, "TOGETHER", together)
    C = branches(seed)
    found = []
    for number in (1, 2, 3, 8):
        threads.set_threads(number)
        factor, inverse, x, lower = solved(C)
        found.append((factor.logdet, inverse, x))
        for then in (8, 1, 3):
            threads.set_threads(then)
            found.append(solved_by(factor, lower))
            factor.rest()
    plan = factor._definite.schedule
    elements = [task.elements for task in plan.subtrees]
    assert len(elements) > 5 and max(elements) > 4 * min(elements) and apart[0] > 20
    for logdet, inverse, x in found[1:]:
        assert logdet == found[0][0]
        np.testing.assert_array_equal(inverse, found[0][1])
        np.testing.assert_array_equal(x, found[0][2])
    other, some = splu(C), np.random.default_rng(seed).choice(C.shape[0], 60, replace=False)
    for j in some:
        here = slice(lower.indptr[j], lower.indptr[j + 1])
        column = other.solve(np.eye(1, C.shape[0], j)[0])
        np.testing.assert_allclose(found[0][1][here], column[lower.indices[here]], rtol=1e-9, atol=1e-13)
    assert found[0][0] == pytest.approx(np.log(np.abs(other.U.diagonal())).sum(), rel=1e-12)


@pytest.mark.parametrize(("before", "after"), [(1, 8), (3, 2), (2, 3)])
def test_a_number_of_threads_set_by_another_thread_in_the_middle(apart, monkeypatch, before, after):
    """The workspace is cut as it was taken up, and no more threads than it has parts are in it."""
    C, taken_up = branches(3), SupernodalFactor._take_up
    threads.set_threads(before)
    factor, inverse, x, lower = solved(C)

    def then_set(self):
        threads.set_threads(before)
        taken_up(self)
        threads.set_threads(after)

    monkeypatch.setattr(SupernodalFactor, "_take_up", then_set)
    _, again, solution = solved_by(factor, lower)
    assert len(factor._definite.schedule.subtrees) > after
    np.testing.assert_array_equal(again, inverse)
    np.testing.assert_array_equal(solution, x)


def test_an_error_of_a_task_leaves_the_others_their_parts(apart, monkeypatch):
    """What one call raises is raised, no thread waits for a part, and the next call has them all again."""
    threads.set_threads(3)
    factor, inverse, x, lower = solved(branches(4))
    definite, factorize = factor._definite, multifrontal.factorize
    assert len(definite.schedule.subtrees) > 5
    for failing in range(len(definite.schedule.subtrees)):
        left = [failing]

        def broken(*arguments, left=left):
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt
            return factorize(*arguments)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(multifrontal, "factorize", broken)
            factor.factorize(lower.data)
        _, again, solution = solved_by(factor, lower)
        np.testing.assert_array_equal(again, inverse)
        np.testing.assert_array_equal(solution, x)


def test_no_more_tasks_at_once_than_are_asked_for():
    before, inside, most = threads.n_threads(), [0], [0]
    lock = threading.Lock()

    def task(_):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        with lock:
            inside[0] -= 1

    threads.set_threads(6)
    try:
        for at_once in (1, 2, 4):
            most[0] = 0
            threads.side_by_side(task, [(k,) for k in range(20)], at_once=at_once)
            assert 1 <= most[0] <= at_once
    finally:
        threads.set_threads(before)
