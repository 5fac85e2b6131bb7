"""Subtrees side by side: the same digits for any number of threads, and the right ones."""

import numpy as np
import pytest
import scipy.sparse as sp

from remlblup.errors import OptionError
from remlblup.linalg import schedule, threads
from remlblup.linalg.sparse import SparseFactor


def field(side: int) -> sp.csc_array:
    """A positive definite matrix on a square grid, whose elimination tree has large subtrees."""
    chain = sp.diags_array([np.full(side, 2.2), -np.ones(side - 1), -np.ones(side - 1)], offsets=[0, 1, -1])
    eye = sp.eye_array(side)
    return sp.csc_array(sp.kron(chain, eye) + sp.kron(eye, chain))


def solved(C: sp.csc_array):
    lower = sp.csc_array(sp.tril(C))
    lower.sort_indices()
    factor = SparseFactor(lower.indptr.astype(np.int64), lower.indices.astype(np.int64), C.shape[0])
    factor.factorize(lower.data)
    return factor, factor.inverse_on_pattern().copy(), factor.solve(np.arange(C.shape[0], dtype=float)), lower


@pytest.fixture
def cut_always(monkeypatch):
    monkeypatch.setattr(schedule, "WORTH_CUTTING", 0.0)
    before = threads.n_threads()
    yield
    threads.set_threads(before)


def test_digits_do_not_depend_on_threads(cut_always):
    C = field(40)
    results = []
    for number in (1, 2, 3):
        threads.set_threads(number)
        factor, inverse, x, _ = solved(C)
        assert len(factor._definite.schedule.start) > 3
        results.append((factor.logdet, inverse, x))
    for logdet, inverse, x in results[1:]:
        assert logdet == results[0][0]
        np.testing.assert_array_equal(inverse, results[0][1])
        np.testing.assert_array_equal(x, results[0][2])


def test_a_cut_tree_gives_the_right_answer(cut_always):
    C = field(17)
    factor, inverse, x, lower = solved(C)
    dense = C.toarray()
    full = np.linalg.inv(dense)
    columns = np.repeat(np.arange(C.shape[0]), np.diff(lower.indptr))
    np.testing.assert_allclose(inverse, full[lower.indices, columns], rtol=1e-12)
    np.testing.assert_allclose(x, full @ np.arange(C.shape[0]), rtol=1e-11)
    assert factor.logdet == pytest.approx(np.linalg.slogdet(dense)[1], rel=1e-13)


def test_an_indefinite_subtree_is_noticed(cut_always):
    C = field(17).tolil()
    C[100, 100] = -5.0
    factor, _, x, _ = solved(sp.csc_array(C))
    assert factor.n_negative == int((np.linalg.eigvalsh(C.toarray()) < 0).sum())
    np.testing.assert_allclose(C.toarray() @ x, np.arange(C.shape[0]), atol=1e-9)


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2"])
def test_wrong_numbers_of_threads(number):
    with pytest.raises(OptionError, match="positive whole number"):
        threads.set_threads(number)


def test_a_chain_needs_no_more_workspace_than_its_largest_front():
    n, dense = 3000, 30
    chain = sp.diags_array([np.full(n, 4.0), np.ones(n - 1), np.ones(n - 1)], offsets=[0, 1, -1], format="lil")
    full = sp.lil_array((n + dense, n + dense))
    full[:n, :n] = chain
    full[n:, :n] = 0.01
    full[:n, n:] = 0.01
    full[n:, n:] = sp.eye_array(dense) * (n + 1.0)
    factor, inverse, _, lower = solved(sp.csc_array(full))
    sn = factor._definite.supernodes
    largest = int(np.diff(sn.rows_at).max()) ** 2
    assert sn.front_at[-1] <= 3 * largest
    assert sn.update_at[-1] <= 3 * largest
    dense_inverse = np.linalg.inv(full.toarray())
    columns = np.repeat(np.arange(n + dense), np.diff(lower.indptr))
    np.testing.assert_allclose(inverse, dense_inverse[lower.indices, columns], atol=1e-13)
