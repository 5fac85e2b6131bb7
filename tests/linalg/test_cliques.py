"""A dense block in an otherwise sparse matrix: found, put last, and counted without its edges."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from remlblup.linalg import threads
from remlblup.linalg.sparse import cliques, large_fronts, schedule, symbolic
from remlblup.linalg.sparse.cliques import find_clique, outside, star
from remlblup.linalg.sparse.factor import SparseFactor
from remlblup.linalg.sparse.graphs import Adjacency, both_directions
from remlblup.linalg.sparse.ordering import Ordering
from remlblup.linalg.sparse.symbolic import Graph, column_counts, compact_graph, elimination_tree, permuted_upper

from .matrices import at_pattern, lower_pattern, pedigree_inverse


@pytest.fixture
def small(monkeypatch):
    """Cliques of eight nodes count."""
    monkeypatch.setattr(cliques, "SMALLEST", 8)


def planted(n: int, g: int, seed: int, density: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """A sparse random matrix, diagonally dominant, with a dense block over g random places."""
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.normal(size=(n, n)) * (rng.random((n, n)) < density), -1)
    where = np.sort(rng.choice(n, g, replace=False))
    lower[np.ix_(where, where)] = np.tril(rng.normal(size=(g, g)), -1)
    C = lower + lower.T
    return C + np.diag(np.abs(C).sum(axis=1) + 1.0), where


def edges(C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(np.tril(C, -1))
    return rows, columns


def is_complete(C: np.ndarray, nodes: np.ndarray) -> bool:
    return bool((C[np.ix_(nodes, nodes)] != 0).all())


def fill_of(C: np.ndarray, permutation: np.ndarray) -> np.ndarray:
    """Entries in every column of L by eliminating node after node, as by hand."""
    pattern = (C != 0)[np.ix_(permutation, permutation)]
    counts = []
    for k in range(len(C)):
        below = np.flatnonzero(pattern[k + 1 :, k]) + k + 1
        pattern[np.ix_(below, below)] = True
        counts.append(len(below) + 1)
    return np.array(counts)


def test_a_planted_clique_is_found_among_nodes_of_many_neighbours(small):
    C, where = planted(300, 90, 1)
    C[0, :] = C[:, 0] = 1.0  # an intercept
    C[5, ::2] = C[::2, 5] = 1.0  # a column of X that touches half of all
    found = find_clique(*edges(C), 300)
    assert is_complete(C, found)
    assert set(where) <= set(found)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(30, 120), share=st.floats(0.2, 1.0), density=st.floats(0, 0.3), seed=st.integers(0, 2**31))
def test_what_is_found_is_a_clique_of_some_size(n, share, density, seed):
    C, _ = planted(n, max(8, int(share * n)), seed, density)
    found = find_clique(*edges(C), n)
    if len(found):
        assert is_complete(C, found)
        assert len(found) >= cliques.SMALLEST


@pytest.mark.parametrize("kind", ["sparse", "bipartite", "families", "empty"])
def test_nothing_is_found_where_there_is_no_dominant_clique(small, kind):
    n = 120
    C = np.eye(n)
    if kind == "sparse":
        C = pedigree_inverse(n, 3).toarray()
    elif kind == "bipartite":  # two crossed factors: many neighbours, no triangles
        C[: n // 2, n // 2 :] = C[n // 2 :, : n // 2] = 1.0
    elif kind == "families":  # ten blocks of the same size are ordered as ever
        C = np.kron(np.eye(10), np.ones((12, 12)))
    assert len(find_clique(*edges(C), n)) == 0


@settings(max_examples=80, deadline=None)
@given(n=st.integers(12, 40), g=st.integers(2, 12), density=st.floats(0, 0.3), seed=st.integers(0, 2**31))
def test_a_star_fills_in_as_the_clique_does_under_any_order(n, g, density, seed):
    C, where = planted(n, g, seed, density)
    number = np.full(n, -1)
    number[where] = 0
    rows, columns = edges(C)
    kept = outside(rows, columns, number)
    assert kept.sum() == len(rows) - g * (g - 1) // 2
    permutation = np.random.default_rng(seed).permutation(n)
    upper = permuted_upper(Graph(rows[kept], columns[kept], number), permutation)
    np.testing.assert_array_equal(column_counts(*upper, elimination_tree(*upper)), fill_of(C, permutation))


def test_stars_of_two_cliques():
    number = np.array([0, 1, -1, 1, 0, 0])
    place_of = np.array([5, 0, 1, 3, 2, 4])
    centre, others = star(number, place_of)
    assert sorted(zip(centre.tolist(), others.tolist(), strict=True)) == [(0, 3), (2, 4), (2, 5)]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(120, 260), share=st.floats(0.42, 0.9), density=st.floats(0, 0.02), seed=st.integers(0, 2**31))
def test_factor_solution_inverse_and_determinant_with_a_dense_block(n, share, density, seed):
    C, where = planted(n, max(cliques.SMALLEST, int(share * n)), seed, density)
    indptr, indices, values = lower_pattern(C)
    assert set(where) <= set(np.flatnonzero(compact_graph(indptr, indices, n).clique == 0))
    factor = SparseFactor(indptr, indices, n)
    factor.factorize(values)
    inverse = np.linalg.inv(C)
    found = factor.inverse_on_pattern()
    assert np.abs(found - at_pattern(inverse, indptr, indices)).max() <= 1e-12 * np.abs(inverse).max()
    b = np.arange(1.0, n + 1)
    np.testing.assert_allclose(factor.solve(b), inverse @ b, rtol=1e-8, atol=1e-11)
    assert factor.logdet == pytest.approx(np.linalg.slogdet(C)[1], rel=1e-12)


def with_block(n: int, g: int, seed: int) -> tuple[sp.csc_array, np.ndarray]:
    """A pedigree's inverse with a dense block over g of the later animals, positive definite."""
    rng = np.random.default_rng(seed)
    where = np.sort(rng.choice(np.arange(n // 2, n), g, replace=False))
    Z = rng.normal(size=(g, g + 20)) / np.sqrt(g)
    rows, columns = np.repeat(where, g), np.tile(where, g)
    block = sp.csc_array(((Z @ Z.T).ravel(), (rows, columns)), shape=(n, n))
    return sp.csc_array(pedigree_inverse(n, seed) + block), where


def test_fill_is_that_of_the_clique_last_and_no_more_than_other_orders_have():
    C, where = with_block(1500, 220, 5)
    indptr, indices, _ = lower_pattern(C)
    factor = SparseFactor(indptr, indices, 1500)
    permutation = factor._symbolic.ordering.permutation
    # In the root, with nothing but what has come to touch all of it.
    sn = factor._definite.supernodes
    assert set(where) <= set(permutation[sn.first[-2] :])
    pattern = C.toarray()
    np.testing.assert_array_equal(fill_of(pattern, permutation), factor._symbolic.counts)
    rest = np.setdiff1d(np.arange(1500), where)
    in_order = np.concatenate([rest, where])  # the rest as it comes, the clique last
    unaware = symbolic.compact_graph(indptr, indices, 1500)._replace(clique=np.full(1500, -1))
    rows, columns = symbolic.off_diagonal_entries(indptr, indices)
    plain = symbolic.choose_ordering(
        Adjacency(*both_directions(rows, columns, 1500)), lambda p: fill_of(pattern, p).astype(float).__pow__(2).sum()
    )
    assert len(unaware.rows) < len(rows)
    flops = (factor._symbolic.counts.astype(float) ** 2).sum()
    for other in (in_order, plain.permutation):
        assert flops <= 1.02 * (fill_of(pattern, other).astype(float) ** 2).sum()


def test_the_traits_of_a_dense_block_go_together():
    """Two traits: two cliques, of the same animals, which are one node each for the ordering."""
    C, where = with_block(600, 130, 6)
    both = sp.csc_array(sp.kron(np.array([[1.0, 0.0], [0.0, 1.5]]), C))
    link = sp.eye_array(600)
    both = sp.csc_array(both + sp.block_array([[None, 0.1 * link], [0.1 * link, None]]))
    groups = np.tile(np.arange(600), 2)
    indptr, indices, values = lower_pattern(both)
    graph = compact_graph(indptr, indices, 1200, groups)
    np.testing.assert_array_equal(np.flatnonzero(graph.clique == 0), where)
    np.testing.assert_array_equal(np.flatnonzero(graph.clique == 1), where + 600)
    factor = SparseFactor(indptr, indices, 1200, groups)
    last = factor._symbolic.ordering.permutation[-2 * len(where) :]
    assert len(np.intersect1d(last % 600, where)) >= 0.9 * len(where)
    factor.factorize(values)
    inverse = np.linalg.inv(both.toarray())
    found = factor.inverse_on_pattern()
    assert np.abs(found - at_pattern(inverse, indptr, indices)).max() <= 1e-11 * np.abs(inverse).max()
    assert factor.logdet == pytest.approx(np.linalg.slogdet(both.toarray())[1], rel=1e-11)


def test_digits_of_a_dense_block_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(schedule, "LARGE_FRONT", 1e5)
    for name, size in (("TILE", 32), ("COLUMNS", 16), ("ROWS", 48), ("LARGE_BLOCK", 32)):
        monkeypatch.setattr(large_fronts, name, size)
    C, _ = with_block(900, 200, 7)
    indptr, indices, values = lower_pattern(C)
    before, results = threads.n_threads(), []
    try:
        for number in (1, 2, 3):
            threads.set_threads(number)
            factor = SparseFactor(indptr, indices, 900)
            factor.factorize(values)
            results.append((factor.logdet, factor.inverse_on_pattern().copy(), factor.solve(np.arange(900.0))))
            assert factor._definite.schedule.large
    finally:
        threads.set_threads(before)
    for logdet, inverse, x in results[1:]:
        assert logdet == results[0][0]
        np.testing.assert_array_equal(inverse, results[0][1])
        np.testing.assert_array_equal(x, results[0][2])


def test_the_natural_order_with_a_dense_block():
    C, _ = with_block(400, 150, 8)
    indptr, indices, _ = lower_pattern(C)
    analysed = symbolic.analyse_natural(indptr, indices, 400)
    assert isinstance(analysed.ordering, Ordering)
    np.testing.assert_array_equal(analysed.counts, fill_of(C.toarray(), np.arange(400)))


def test_a_matrix_that_is_one_dense_block():
    rng = np.random.default_rng(3)
    Z = rng.normal(size=(150, 200))
    C = Z @ Z.T
    indptr, indices, values = lower_pattern(C)
    factor = SparseFactor(indptr, indices, 150)
    factor.factorize(values)
    inverse = np.linalg.inv(C)
    assert compact_graph(indptr, indices, 150).clique.tolist() == [0] * 150
    assert "dense block of 150 equations" in factor.stats.ordering_reason
    assert np.abs(factor.inverse_on_pattern() - at_pattern(inverse, indptr, indices)).max() <= 1e-12 * inverse.max()
