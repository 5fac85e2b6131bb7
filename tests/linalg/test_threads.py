"""Subtrees side by side, batches of twigs and tiles of large fronts: the same digits for any number of threads."""

import inspect
import re
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from remlblup.errors import MemoryLimitError, OptionError
from remlblup.linalg import threads
from remlblup.linalg.sparse import large_fronts, schedule, symbolic
from remlblup.linalg.sparse.factor import SparseFactor
from remlblup.warmup import two_cliques, warm_up

from .matrices import animal_model, at_pattern, random_symmetric


def field(side: int) -> sp.csc_array:
    """A positive definite matrix on a square grid, whose elimination tree has large subtrees."""
    chain = sp.diags_array([np.full(side, 2.2), -np.ones(side - 1), -np.ones(side - 1)], offsets=[0, 1, -1])
    eye = sp.eye_array(side)
    return sp.csc_array(sp.kron(chain, eye) + sp.kron(eye, chain))


def solved(C: sp.csc_array):
    lower = sp.csc_array(sp.tril(C))
    lower.sort_indices()
    factor = SparseFactor(lower.indptr.astype(np.int64), lower.indices.astype(np.int64), C.shape[0])
    _, inverse, x = solved_by(factor, lower)
    return factor, inverse, x, lower


def solved_by(factor: SparseFactor, lower):
    """The log-determinant, the inverse on the pattern and a solution."""
    factor.factorize(lower.data)
    x = factor.solve(np.arange(lower.shape[0], dtype=float))
    return factor.logdet, factor.inverse_on_pattern().copy(), x


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
        assert len(factor._definite.schedule.subtrees) > 3
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


def test_several_columns_are_solved_as_one_by_one(cut_always):
    C = field(23)
    factor, *_ = solved(C)
    assert len(factor._definite.schedule.subtrees) > 1
    B = np.random.default_rng(4).normal(size=(C.shape[0], 3))
    X = factor.solve(B)
    np.testing.assert_allclose(X, np.linalg.solve(C.toarray(), B), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(X, np.column_stack([factor.solve(b) for b in B.T]), rtol=1e-12, atol=1e-13)
    threads.set_threads(1)
    np.testing.assert_array_equal(X, factor.solve(B))
    assert factor.solve(B[:, :0]).shape == (C.shape[0], 0)


def test_an_indefinite_subtree_is_noticed(cut_always):
    C = field(17).tolil()
    C[100, 100] = -5.0
    factor, _, x, _ = solved(sp.csc_array(C))
    assert factor.n_negative == int((np.linalg.eigvalsh(C.toarray()) < 0).sum())
    np.testing.assert_allclose(C.toarray() @ x, np.arange(C.shape[0]), atol=1e-9)


@pytest.fixture
def tile_always(cut_always, monkeypatch):
    """Small fronts count as large and are cut into small tiles; twigs count as heavy."""
    monkeypatch.setattr(schedule, "LARGE_FRONT", 5e4)
    monkeypatch.setattr(schedule, "VISITED", 2e4)
    for name, size in (("TILE", 16), ("COLUMNS", 8), ("ROWS", 24), ("LARGE_BLOCK", 16)):
        monkeypatch.setattr(large_fronts, name, size)


def twigs(n_twigs: int, trunk: int, seed: int, length: int = 5) -> np.ndarray:
    """Many short branches on a dense trunk, as in a pedigree of few sires; positive definite."""
    rng = np.random.default_rng(seed)
    m = n_twigs * length
    C = np.zeros((m + trunk, m + trunk))
    entries = np.arange(m)
    tip = entries % length == length - 1
    C[np.where(tip, m + rng.integers(trunk, size=m), entries + 1), entries] = rng.normal(size=m)
    C[m + rng.integers(trunk, size=m), entries] = rng.normal(size=m)
    C[m:, m:] = np.tril(rng.normal(size=(trunk, trunk)), -1)
    C += C.T
    return C + np.diag(np.abs(C).sum(axis=1) + 1.0)


@pytest.mark.parametrize(
    ("C", "batched"),
    [(sp.csc_array(twigs(400, 60, 1)), True), (animal_model(1500, 2)[1:, 1:], False), (field(40), False)],
    ids=["twigs", "pedigree", "field"],
)
def test_batches_and_tiles_give_the_same_digits_and_the_right_ones(tile_always, C, batched):
    results = []
    for number in (1, 2, 3):
        threads.set_threads(number)
        factor, inverse, x, lower = solved(C)
        results.append((factor.logdet, inverse, x))
    plan = factor._definite.schedule
    assert plan.large and len(plan.subtrees) > 1
    assert (np.diff(factor._definite.supernodes.first) == 0).any() or not batched
    for logdet, inverse, x in results[1:]:
        assert logdet == results[0][0]
        np.testing.assert_array_equal(inverse, results[0][1])
        np.testing.assert_array_equal(x, results[0][2])
    full = np.linalg.inv(C.toarray())
    assert np.abs(inverse - at_pattern(full, lower.indptr, lower.indices)).max() <= 1e-12 * np.abs(full).max()
    assert factor.logdet == pytest.approx(np.linalg.slogdet(C.toarray())[1], rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.7, 2.0])
def test_a_batch_reads_the_inverse_in_the_last_front_or_has_a_front_of_its_own(tile_always, monkeypatch, share):
    monkeypatch.setattr(schedule, "NEARLY_ALL", share)
    monkeypatch.setattr(schedule, "TOGETHER", 0)
    C = sp.csc_array(twigs(400, 60, 1))
    factor, inverse, x, lower = solved(C)
    sn, plan = factor._definite.supernodes, factor._definite.schedule.plan
    height, width = np.diff(sn.rows_at), np.diff(sn.first)
    batch = (width == 0) & (plan.leave > 0) & (sn.parent == sn.size - 1)
    assert batch.any()
    if share != 0.7:
        assert np.all((height[batch] == height[-1]) == (share == 0.0))
    full = np.linalg.inv(C.toarray())
    assert np.abs(inverse - at_pattern(full, lower.indptr, lower.indices)).max() <= 1e-12 * np.abs(full).max()
    np.testing.assert_allclose(C @ x, np.arange(C.shape[0]), atol=1e-9)


def arrow(blocks: int, size: int, border: int) -> sp.csc_array:
    """Chains that meet in a dense border, positive definite."""
    rng = np.random.default_rng(9)
    inner = blocks * size
    C = np.zeros((inner + border, inner + border))
    at = np.arange(inner - 1)
    C[at + 1, at] = (at + 1) % size > 0
    C[inner + rng.integers(border, size=inner // 2), np.arange(0, inner, 2)] = 0.5
    C[inner:, inner:] = np.tril(np.full((border, border), 0.1), -1)
    return sp.csc_array(C + C.T + np.diag(np.abs(C + C.T).sum(axis=1) + 1.0))


@pytest.mark.parametrize("blocks", [12, 30])
def test_subtrees_below_the_last_front_take_turns(cut_always, monkeypatch, blocks):
    """As many at a time as there are threads, in as many places; the digits know nothing of it."""
    monkeypatch.setattr(schedule, "LARGE_FRONT", 3e4)
    monkeypatch.setattr(schedule, "TOGETHER", 0)
    C, results, elements = arrow(blocks, 100, 60), [], []
    for number in (1, 2, 5):
        threads.set_threads(number)
        factor, inverse, x, lower = solved(C)
        results.append((factor.logdet, inverse, x))
        plan = factor._definite.schedule
        turns = [turn.roots for turn in plan.turns]
        assert sum(map(len, turns)) >= 3 and all(len(roots) <= number for roots in turns)
        assert all(len(set(plan.plan.pending_at[roots])) == len(roots) for roots in turns)
        elements.append(factor._definite._pending.size)
    assert elements[0] <= elements[1] < elements[2] and plan.runs  # the last front has the place of the first ones
    threads.set_threads(7)  # more than there are places for
    again = solved_by(factor, lower)
    for logdet, inverse, x in [*results, again]:
        assert logdet == results[0][0]
        np.testing.assert_array_equal(inverse, results[0][1])
        np.testing.assert_array_equal(x, results[0][2])
    full, columns = np.linalg.inv(C.toarray()), np.repeat(np.arange(C.shape[0]), np.diff(lower.indptr))
    np.testing.assert_allclose(results[0][1], full[lower.indices, columns], rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(C @ results[0][2], np.arange(C.shape[0]), atol=1e-9)


def test_a_large_front_without_children(tile_always):
    rng = np.random.default_rng(6)
    C = np.zeros((105, 105))
    for block in (slice(0, 50), slice(50, 100)):  # two nearly dense blocks that meet in five equations
        C[block, block] = np.tril(rng.normal(size=(50, 50)) * (rng.random((50, 50)) < 0.8), -1)
        C[100:, block] = rng.normal(size=(5, 50)) * (rng.random((5, 50)) < 0.3)
    C += C.T
    C += np.diag(np.abs(C).sum(axis=1) + 1.0)
    factor, inverse, _, lower = solved(sp.csc_array(C))
    supernodes, large = factor._definite.supernodes, factor._definite.schedule.large
    assert any(supernodes.n_children[s] == 0 and supernodes.parent[s] >= 0 for s in large)
    full = np.linalg.inv(C)
    assert np.abs(inverse - at_pattern(full, lower.indptr, lower.indices)).max() <= 1e-13 * np.abs(full).max()


def test_dependent_equations_in_a_tiled_front(tile_always):
    C = twigs(300, 50, 3)
    n = C.shape[0]
    for copy, column in ((n - 3, n - 40), (n - 9, n - 20)):  # equations of the trunk that repeat others
        C[copy, :] = C[column, :]
        C[:, copy] = C[:, column]
    factor, inverse, x, lower = solved(sp.csc_array(C))
    assert factor._definite.schedule.large
    assert factor.n_dependent == 2
    kept = np.flatnonzero(~factor._definite.dependent[np.argsort(factor._definite.permutation)])
    expected = np.zeros((n, n))
    expected[np.ix_(kept, kept)] = np.linalg.inv(C[np.ix_(kept, kept)])
    assert np.abs(inverse - at_pattern(expected, lower.indptr, lower.indices)).max() <= 1e-11 * np.abs(expected).max()
    np.testing.assert_allclose(x, expected @ np.arange(n, dtype=float), rtol=1e-8, atol=1e-9)


def test_an_indefinite_large_front_is_noticed(tile_always):
    C = twigs(300, 50, 4)
    C[-5, -5] = -1000.0
    factor, _, x, _ = solved(sp.csc_array(C))
    assert factor.n_negative == 1
    np.testing.assert_allclose(C @ x, np.arange(C.shape[0]), atol=1e-8)


@pytest.mark.parametrize("cut", [False, True])
def test_memory_is_predicted(cut, request):
    """What stats.memory says covers the arrays kept and, at any time, the workspaces besides."""
    if cut:
        request.getfixturevalue("tile_always")
        threads.set_threads(2)
    C = sp.csc_array(twigs(500, 150, 5))
    lower = sp.csc_array(sp.tril(C))
    lower.sort_indices()
    factor = SparseFactor(lower.indptr.astype(np.int64), lower.indices.astype(np.int64), C.shape[0])
    definite = factor._definite
    kept = [*vars(definite).values(), *definite.supernodes, *definite.entries, *definite.schedule.plan]
    kept_bytes = sum(array.nbytes for array in kept if isinstance(array, np.ndarray))
    assert definite.factorize(lower.data)  # the kernels are loaded by the first call
    definite.inverse_on_pattern()
    tracemalloc.start()
    try:
        assert definite.factorize(lower.data)
        definite.inverse_on_pattern()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes + 8 * len(lower.data) < kept_bytes + peak <= 1.01 * factor.stats.memory
    assert factor.stats.memory <= 1.5 * (kept_bytes + peak)


def factor_of(C) -> SparseFactor:
    lower = sp.csc_array(sp.tril(sp.csc_array(C)))
    lower.sort_indices()
    return SparseFactor(lower.indptr, lower.indices, C.shape[0])


PATTERNS = {
    "clique": lambda: np.ones((300, 300)),
    "two cliques": lambda: two_cliques(150, 20),
    "twigs": lambda: twigs(500, 150, 5),
    "pedigree": lambda: animal_model(2000, 1),
    "field": lambda: field(40),
    "random": lambda: random_symmetric(1500, 2 / 1500, 3),
    "chain": lambda: sp.diags_array([np.ones(999), np.ones(1000)], offsets=[-1, 0]),
    "diagonal": lambda: np.eye(3),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_memory_is_bounded_before_the_pattern_of_the_factor_is_known(name):
    """The bound covers the exact figure, and is not so wide as to refuse what fits."""
    factor = factor_of(PATTERNS[name]())
    found, exact = factor._symbolic, factor._definite.memory
    assert not factor._definite.schedule.subtrees
    bound = symbolic.factor_bytes(found.supernodes, found.counts, factor.stats.nnz_matrix)
    assert exact <= bound <= 1.2 * exact


def test_a_clique_is_refused_where_only_workspaces_exceed_the_memory(monkeypatch):
    """Panels of L and of the inverse would fit, with a fifth to spare;
    not what the products and the entries of C take."""
    C = np.ones((300, 300))
    panels_only = 2 * 8 * 300**2
    assert factor_of(C).stats.memory > 1.4 * panels_only
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", f"{1.2 * panels_only / 0.85 / 1e9}")
    with pytest.raises(MemoryLimitError, match=r"300 equations \(45,150 nonzeros\) needs"):
        factor_of(C)


def test_workspaces_of_many_threads_are_refused_too(cut_always, monkeypatch):
    C = field(40)
    threads.set_threads(16)
    factor = factor_of(C)
    found, exact = factor._symbolic, factor.stats.memory
    bound = symbolic.factor_bytes(found.supernodes, found.counts, factor.stats.nnz_matrix)
    assert bound < exact  # the bound does not know how many threads there are
    monkeypatch.setenv("REMLBLUP_MEMORY_GB", f"{0.5 * (bound + exact) / 0.85 / 1e9}")
    with pytest.raises(MemoryLimitError, match="a factor of 1,600 equations needs"):
        factor_of(C)


def test_warming_up_goes_through_every_kernel_of_large_fronts(monkeypatch):
    """All that `large_fronts` calls compiled is called, so that no fit waits for the compiler there."""
    called = set()

    def spy(name, function):
        def run(*arguments):
            called.add(name)
            return function(*arguments)

        return run

    def is_kernel(value) -> bool:
        return hasattr(value, "py_func")

    expected = {name for name, value in vars(large_fronts).items() if is_kernel(value)}
    assert {"factorize_tile", "form_update_columns", "multiply_rows"} <= expected
    for name in expected:
        monkeypatch.setattr(large_fronts, name, spy(name, getattr(large_fronts, name)))
    for name in ("multifrontal", "inverse_multifrontal"):
        kernels = {key: value for key, value in vars(getattr(large_fronts, name)).items() if is_kernel(value)}
        used = set(re.findall(rf"\b{name}\.(\w+)\(", inspect.getsource(large_fronts)))
        expected |= used
        spies = SimpleNamespace(**{key: spy(key, kernels[key]) for key in used})
        monkeypatch.setattr(large_fronts, name, spies)
    warm_up()
    assert called == expected


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
    largest = int(np.diff(factor._definite.supernodes.rows_at).max()) ** 2
    top = factor._definite.schedule.top
    assert top.for_factor[0] <= 3 * largest
    assert top.for_inverse[0] <= 3 * largest
    dense_inverse = np.linalg.inv(full.toarray())
    columns = np.repeat(np.arange(n + dense), np.diff(lower.indptr))
    np.testing.assert_allclose(inverse, dense_inverse[lower.indices, columns], atol=1e-13)


def test_a_factor_at_rest_has_no_workspaces_and_takes_them_up_again(cut_always):
    factor, inverse, x, lower = solved(arrow(12, 100, 60))
    held = factor._definite._workspace.nbytes + factor._definite._pending.nbytes
    factor.rest()
    assert held > 0 == factor._definite._workspace.nbytes + factor._definite._pending.nbytes
    np.testing.assert_array_equal(factor.solve(np.arange(factor.n, dtype=float)), x)
    factor._selected = None
    np.testing.assert_array_equal(factor.inverse_on_pattern(), inverse)
    factor.rest()
    _, again, _ = solved_by(factor, lower)
    np.testing.assert_array_equal(again, inverse)
