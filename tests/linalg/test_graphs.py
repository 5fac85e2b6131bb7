"""Graphs of symmetric matrices, beside those that scipy and a dense matrix make."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from remlblup.errors import OptionError
from remlblup.linalg.sparse import ordering
from remlblup.linalg.sparse.factor import SparseFactor
from remlblup.linalg.sparse.graphs import Adjacency, both_directions, subgraph, twins, without_set
from remlblup.linalg.sparse.low_degree import eliminate_low_degree, hubs_beside, number_of_bits


def some_graph(rng: np.random.Generator, n: int, density: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends of edges below the diagonal, column by column, and the dense adjacency."""
    lower = np.tril(rng.uniform(size=(n, n)) < density, -1)
    columns, rows = np.nonzero(lower.T)
    return rows.astype(np.int32), columns.astype(np.int32), lower | lower.T


def dense(indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    n = len(indptr) - 1
    for start, stop in itertools.pairwise(indptr):
        assert np.all(np.diff(indices[start:stop]) > 0)
    return sp.csr_array((np.ones(len(indices)), indices, indptr), shape=(n, n)).toarray() > 0.0


@pytest.mark.parametrize("seed", range(5))
def test_both_directions_and_parts(seed):
    rng = np.random.default_rng(seed)
    rows, columns, adjacency = some_graph(rng, 40, 0.1)
    graph = both_directions(rows, columns, 40)
    assert np.array_equal(dense(*graph), adjacency)
    kept = np.flatnonzero(rng.uniform(size=40) < 0.6)
    assert np.array_equal(dense(*subgraph(*graph, kept)), adjacency[np.ix_(kept, kept)])
    assert np.array_equal(Adjacency(*graph).degree_between(kept), adjacency[np.ix_(kept, kept)].sum(axis=1))
    assert np.array_equal(dense(*Adjacency.of(Adjacency(*graph).matrix())), adjacency)


@pytest.mark.parametrize("seed", range(5))
def test_twins_have_the_same_closed_neighbourhood(seed):
    rng = np.random.default_rng(seed)
    _, _, between = some_graph(rng, 12, 0.2)
    group = rng.permutation(np.repeat(np.arange(12), 3))
    adjacency = (between | np.eye(12, dtype=bool))[np.ix_(group, group)] & ~np.eye(36, dtype=bool)
    columns, rows = np.nonzero(np.tril(adjacency, -1).T)
    graph = both_directions(rows.astype(np.int32), columns.astype(np.int32), 36)
    marks = rng.integers(1, 2**63, 36, dtype=np.uint64)
    found, first = twins(*graph, marks, np.zeros(36, np.bool_))
    closed = adjacency | np.eye(36, dtype=bool)
    _, index, number = np.unique(closed, axis=0, return_index=True, return_inverse=True)
    assert np.array_equal(first, np.sort(index))
    assert np.array_equal(found[:, None] == found, number.ravel()[:, None] == number.ravel())
    assert np.array_equal(found[first], np.arange(len(first)))
    alone = np.arange(36) % 2 == 0
    assert len(twins(*graph, marks, alone)[1]) >= alone.sum()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_left_when_nodes_of_few_neighbours_are_gone(seed):
    rng = np.random.default_rng(seed)
    rows, columns, adjacency = some_graph(rng, 60, 0.12)
    order, kept, *left = eliminate_low_degree(*both_directions(rows, columns, 60), 6, np.zeros(60, np.uint64))
    for v in order:  # its neighbours meet
        near = np.flatnonzero(adjacency[v])
        assert len(near) <= 6
        adjacency[np.ix_(near, near)] = True
        adjacency[v] = adjacency[:, v] = False
        np.fill_diagonal(adjacency, False)
    assert np.array_equal(dense(*left), adjacency[np.ix_(kept, kept)])


def with_hubs(n: int, m: int, step: int) -> Adjacency:
    """A chain of n nodes, m hubs that know each other, and in turn every node of the chain at such steps."""
    known = np.arange(0, n, step)
    hubs = n + np.arange(m)
    pairs = np.array(list(itertools.combinations(hubs, 2)))
    rows = np.concatenate([np.arange(1, n), n + known % m, pairs[:, 1]]).astype(np.int32)
    columns = np.concatenate([np.arange(n - 1), known, pairs[:, 0]]).astype(np.int32)
    order = np.lexsort([rows, columns])
    return Adjacency(*both_directions(rows[order], columns[order], n + m))


def test_hubs_come_last_in_a_dissection():
    graph = with_hubs(3000, 3, 1)
    order = ordering.nested_dissection(graph)
    assert np.array_equal(np.sort(order), np.arange(3003))
    assert set(order[-3:]) == {3000, 3001, 3002}


def test_without_hubs():
    graph = with_hubs(3000, 3, 1)
    rest, kept, hubs = ordering.without_hubs(graph)
    assert kept.tolist() == list(range(3000)) and set(hubs) == {3000, 3001, 3002}
    assert np.array_equal(rest.degree, np.minimum(2, [1, *[2] * 2998, 1]))
    # Of few edges, or without any, nobody is set apart.
    for plain in (with_hubs(3000, 3, 30), graph.between(np.arange(3000)), graph.between(np.zeros(0, np.int64))):
        rest, kept, hubs = ordering.without_hubs(plain)
        assert len(kept) == plain.size and not len(hubs) and rest is plain


def test_hubs_count_as_neighbours():
    """Sets of up to 64 hubs are counted exactly: the elimination takes the node of the smallest degree in all."""
    rng = np.random.default_rng(5)
    n, m = 200, 40
    lower = np.tril(rng.uniform(size=(n, n)) < 0.015, -1)
    to_hubs = rng.uniform(size=(m, n)) < 0.05 + 0.1 * (np.arange(n) % 2)
    whole = np.zeros((n + m, n + m), bool)
    whole[:n, :n], whole[n:, :n] = lower, to_hubs
    columns, rows = np.nonzero(whole.T)
    graph = Adjacency(*both_directions(rows.astype(np.int32), columns.astype(np.int32), n + m))
    nodes, hubs = np.arange(n), n + np.arange(m)
    beside = hubs_beside(*graph, nodes, hubs)
    assert [int(word).bit_count() for word in beside] == to_hubs.sum(axis=0).tolist()
    assert [number_of_bits(word) for word in beside] == to_hubs.sum(axis=0).tolist()
    order, kept, *_ = eliminate_low_degree(*graph.between(nodes), 8, beside)
    between = lower | lower.T
    degree = between.sum(axis=1) + to_hubs.sum(axis=0)
    assert degree[order[0]] == degree[between.sum(axis=1) <= 8].min()
    known, left = to_hubs.T.copy(), np.ones(n, bool)
    for v in order:
        near = np.flatnonzero(between[v] & left)
        near = near[near != v]
        assert len(near) <= 8
        between[np.ix_(near, near)] = True
        known[near] |= known[v]
        left[v] = False
    assert np.array_equal(np.flatnonzero(left), kept)
    assert [number_of_bits(word) for word in beside[kept]] == known[kept].sum(axis=1).tolist()


def test_the_order_of_fewest_operations_is_taken(monkeypatch):
    """Hubs that know each other in a chain alone: last they fill in with each other, which a second look avoids."""
    n, m = 6_000, 60
    known = np.arange(n) % m
    rows = np.concatenate([n + known, n + np.arange(1, m)]).astype(np.int32)
    columns = np.concatenate([np.arange(n), n + np.arange(m - 1)]).astype(np.int32)
    order = np.lexsort([rows, columns])
    graph = Adjacency(*both_directions(rows[order], columns[order], n + m))

    def flops(permutation):
        place = np.argsort(permutation)
        early, late = np.minimum(place[rows], place[columns]), np.maximum(place[rows], place[columns])
        up = [set() for _ in range(n + m)]
        for e, b in zip(early, late, strict=True):
            up[e].add(int(b))
        total = 0.0
        for above in up:
            total += (len(above) + 1.0) ** 2
            if above:
                parent = min(above)
                up[parent] |= above - {parent}
        return total

    quick = ordering.choose_ordering(graph, flops)
    assert quick.name == "nested dissection, hubs last" and "cheap" in quick.reason
    monkeypatch.setattr(ordering, "SECOND_ORDER_FLOPS", 0.0)
    monkeypatch.setattr(ordering, "SECOND_ORDER_SHARE", 0.0)
    best = ordering.choose_ordering(graph, flops)
    found = [flops(ordering.WAYS[name](graph)) for name in ordering.WAYS]
    assert flops(best.permutation) == min(found) <= flops(quick.permutation)
    assert best.reason.count("flops") == 1 and best.reason.count(",") == 2 + quick.name.count(",")


def test_more_equations_than_are_numbered():
    with pytest.raises(OptionError, match=r"2,147,483,648 equations are more than the 2,147,483,647"):
        SparseFactor(np.zeros(1, np.int64), np.zeros(0, np.int32), 2**31)


def test_the_neighbours_of_an_eliminated_node_all_meet():
    rng = np.random.default_rng(4)
    rows, columns, adjacency = some_graph(rng, 40, 0.1)
    graph = both_directions(rows, columns, 40)
    eliminated = np.zeros(40, bool)
    for v in rng.permutation(40):
        eliminated[v] = not adjacency[v, eliminated].any()
    found = Adjacency(*without_set(*graph, eliminated)).matrix().toarray() > 0
    across = adjacency[np.ix_(~eliminated, eliminated)].astype(int)
    expected = adjacency[np.ix_(~eliminated, ~eliminated)] | (across @ across.T > 0)
    np.fill_diagonal(expected, False)
    np.testing.assert_array_equal(found, expected)
