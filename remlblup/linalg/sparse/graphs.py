"""Graphs of symmetric matrices as the ordering needs them: made, cut and merged in a pass or two over their edges.

A graph is (indptr, indices): the neighbours of every node, ascending, each edge in both directions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from remlblup.linalg.compiler import njit


class Adjacency(NamedTuple):
    """A graph, as the compiled functions take it.

    Attributes
    ----------
    indptr : (n + 1,) int64, where the neighbours of each node start
    indices : (nnz,) int32, the neighbours, ascending
    """

    indptr: np.ndarray
    indices: np.ndarray

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.indptr) - 1

    @property
    def degree(self) -> np.ndarray:
        """(n,) number of neighbours."""
        return np.diff(self.indptr)

    def between(self, nodes: np.ndarray) -> Adjacency:
        """The graph of some of the nodes, in ascending order."""
        return self if len(nodes) == self.size else Adjacency(*subgraph(self.indptr, self.indices, nodes))

    def degree_between(self, nodes: np.ndarray) -> np.ndarray:
        """Number of neighbours of some of the nodes among these."""
        return self.degree if len(nodes) == self.size else degrees_between(self.indptr, self.indices, nodes)

    @classmethod
    def of(cls, matrix: sp.csr_array) -> Adjacency:
        """The pattern of a symmetric matrix without a diagonal."""
        matrix.sort_indices()
        return cls(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False))

    def matrix(self) -> sp.csr_array:
        """Ones on the edges."""
        return sp.csr_array((np.ones(len(self.indices)), self.indices, self.indptr), shape=(self.size, self.size))


@njit("Tuple((int64[::1], int32[::1]))(int32[::1], int32[::1], int64)", cache=True)
def both_directions(rows, columns, n):
    """The graph of edges below the diagonal, each given once, column by column with ascending rows."""
    indptr = np.zeros(n + 1, np.int64)
    for p in range(len(rows)):
        indptr[rows[p] + 1] += 1
        indptr[columns[p] + 1] += 1
    for v in range(n):
        indptr[v + 1] += indptr[v]
    end = indptr[:-1].copy()
    indices = np.empty(2 * len(rows), np.int32)
    for p in range(len(rows)):  # the neighbours before a node, then those behind it
        indices[end[rows[p]]] = columns[p]
        end[rows[p]] += 1
    for p in range(len(rows)):
        indices[end[columns[p]]] = rows[p]
        end[columns[p]] += 1
    return indptr, indices


@njit("Tuple((int64[::1], int32[::1]))(int64[::1], int32[::1], int64[::1])", cache=True)
def subgraph(indptr, indices, kept):
    """The graph between some nodes, ascending, renumbered in their order."""
    number = np.full(len(indptr) - 1, -1, np.int32)
    for i in range(len(kept)):
        number[kept[i]] = i
    out = np.zeros(len(kept) + 1, np.int64)
    for i in range(len(kept)):
        out[i + 1] = out[i]
        for p in range(indptr[kept[i]], indptr[kept[i] + 1]):
            if number[indices[p]] >= 0:
                out[i + 1] += 1
    between = np.empty(out[-1], np.int32)
    for i in range(len(kept)):
        at = out[i]
        for p in range(indptr[kept[i]], indptr[kept[i] + 1]):
            if number[indices[p]] >= 0:
                between[at] = number[indices[p]]
                at += 1
    return out, between


@njit("Tuple((int64[::1], int32[::1]))(int64[::1], int32[::1], bool_[::1])", cache=True)
def without_set(indptr, indices, eliminated):
    """The graph that is left when an independent set is eliminated: the neighbours of each of its nodes all meet.

    Neighbours come in no order.
    """
    n = len(eliminated)
    number, seen = np.empty(n, np.int32), np.full(n, -1, np.int32)
    left, most = 0, 0
    for v in range(n):
        number[v] = left
        if not eliminated[v]:
            left += 1
            for p in range(indptr[v], indptr[v + 1]):
                u = indices[p]
                most += indptr[u + 1] - indptr[u] if eliminated[u] else 1
    out, found, at = np.zeros(left + 1, np.int64), np.empty(most, np.int32), 0
    for v in range(n):
        if eliminated[v]:
            continue
        seen[v] = v
        for p in range(indptr[v], indptr[v + 1]):
            u = indices[p]
            first, last = (indptr[u], indptr[u + 1]) if eliminated[u] else (p, p + 1)
            for q in range(first, last):
                w = indices[q]
                if seen[w] != v:
                    seen[w] = v
                    found[at] = number[w]
                    at += 1
        out[number[v] + 1] = at
    return out, found[:at].copy()


@njit("Tuple((int64[::1], int32[::1]))(int64[::1], int32[::1], int64[::1], int64[::1], int64[::1])", cache=True)
def quotient(indptr, indices, groups, members, starts):
    """The graph of groups of nodes, those of group g from starts[g] on among the members: an edge where any touch.

    What a group meets is noted with the others, so that the neighbours of each ascend.
    """
    count = len(starts) - 1
    out, between, end = np.zeros(count + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)
    for fill in range(2):
        met = np.full(count, -1, np.int64)
        for g in range(count):
            for k in range(starts[g], starts[g + 1]):
                for p in range(indptr[members[k]], indptr[members[k] + 1]):
                    other = groups[indices[p]]
                    if other != g and met[other] != g:
                        met[other] = g
                        if fill:
                            between[end[other]] = g
                            end[other] += 1
                        else:
                            out[other + 1] += 1
        if not fill:
            for g in range(count):
                out[g + 1] += out[g]
            between, end = np.empty(out[-1], np.int32), out[:-1].copy()
    return out, between


@njit("int64[::1](int64[::1], int32[::1], int64[::1])", cache=True)
def degrees_between(indptr, indices, kept):
    """Number of neighbours of some nodes among these."""
    inside = np.zeros(len(indptr) - 1, np.bool_)
    inside[kept] = True
    degree = np.zeros(len(kept), np.int64)
    for i in range(len(kept)):
        for p in range(indptr[kept[i]], indptr[kept[i] + 1]):
            degree[i] += inside[indices[p]]
    return degree


@njit("Tuple((int64[::1], int64[::1]))(int64[::1], int32[::1], uint64[::1], bool_[::1])", cache=True)
def twins(indptr, indices, marks, alone):
    """Group of each node, those of one group with the same sum of marks over the node and its neighbours.

    Groups are numbered by their first members, which are returned as well. Who is alone counts without neighbours.
    """
    n = len(indptr) - 1
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, np.int32)  # the groups, by their sums
    sums = np.empty(n, np.uint64)
    group, first = np.empty(n, np.int64), np.empty(n, np.int64)
    count = 0
    for v in range(n):
        total = marks[v]
        if not alone[v]:
            for p in range(indptr[v], indptr[v + 1]):
                total += marks[indices[p]]
        slot = np.int64(total & np.uint64(size - 1))
        while table[slot] >= 0 and sums[table[slot]] != total:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot], sums[count], first[count] = count, total, v
            count += 1
        group[v] = table[slot]
    return group, first[:count].copy()
