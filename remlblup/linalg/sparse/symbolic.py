"""Symbolic factorisation: everything about L that follows from the pattern of C alone.

Davis, *Direct Methods for Sparse Linear Systems* (SIAM 2006), chapter 4. The textbook steps are the
functions of this module: the permuted pattern, `elimination_tree`, `postorder`, `column_counts`, and, where L is made
column by column, `pattern_of_factor` and the map that scatters the values of C straight into L.

Arrays that count entries are int64, row numbers are int32. Signatures are given, so that each function
is compiled for one set of types when the module is first imported, and comes from numba's cache in
later processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from remlblup.cached import cached_property
from remlblup.linalg.compiler import njit
from remlblup.linalg.contract import columns_of
from remlblup.linalg.memory import require
from remlblup.linalg.sparse.cliques import Graph, compact_graph, numbered_graph, off_diagonal_entries, star
from remlblup.linalg.sparse.graphs import Adjacency, both_directions
from remlblup.linalg.sparse.ordering import Ordering, choose_ordering
from remlblup.linalg.sparse.schedule import uncut_workspace
from remlblup.linalg.sparse.supernodes import Supernodes, found_among, outline_supernodes, with_rows


@dataclass(frozen=True, eq=False)
class Symbolic:
    """Pattern of L for ``P C P' = L D L'``.

    Attributes
    ----------
    ordering : Ordering
        The permutation; ``permutation[k]`` is the equation at place k.
    counts : ndarray of int32, shape (n,)
        Entries in each column of L, diagonal included.
    flops : float
        Operations of one factorisation.
    parent : ndarray of int32, shape (n,)
        Elimination tree.
    pattern : (indptr, indices)
        Lower triangle of C.
    clique : ndarray of int32, shape (n,)
        Number of the dense block of each equation, −1 for none; empty where there is no block.
    """

    ordering: Ordering
    counts: np.ndarray
    flops: float
    parent: np.ndarray
    pattern: tuple[np.ndarray, np.ndarray]
    clique: np.ndarray

    @cached_property
    def supernodes(self) -> Supernodes:
        """The panels of L; made again where they have been forgotten."""
        return with_rows(outline_supernodes(self.parent, self.counts.astype(np.int64)), *self._upper)

    def forget_supernodes(self) -> None:
        """Let go of them: the factor has its own."""
        self.__dict__.pop("supernodes", None)

    @cached_property
    def indptr(self) -> np.ndarray:
        """Columns of L, without its unit diagonal, (n + 1,) int64."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts - 1, dtype=np.int64)])

    @cached_property
    def rows(self) -> np.ndarray:
        """Row numbers of L, ascending within a column, (nnz_l,), which an elimination by columns needs."""
        return pattern_of_factor(*self._upper, self.parent, self.indptr)

    @property
    def _upper(self) -> tuple[np.ndarray, np.ndarray]:
        """The permuted pattern of C."""
        graph = Graph(*off_diagonal_entries(*self.pattern), self.clique)
        return permuted_upper(graph, self.ordering.permutation)

    @cached_property
    def places(self) -> np.ndarray:
        """Where each value of C goes, shape (nnz_c,): below nnz_l, the entry of L; from there on, the diagonal."""
        indptr, indices = self.pattern
        return self.places_of(indices, columns_of(indptr))

    def places_of(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The same of any entries."""
        return places_in_factor(self.place_of[rows], self.place_of[columns], self.indptr, self.rows)

    @cached_property
    def place_of(self) -> np.ndarray:
        """Place of every equation in the order of elimination."""
        return inverse_permutation(self.ordering.permutation)


def analyse(
    indptr: np.ndarray,
    indices: np.ndarray,
    n: int,
    groups: np.ndarray | None = None,
    beside: float = 0.0,
    cliques: Sequence[np.ndarray] = (),
) -> Symbolic:
    """Choose an order of elimination for the lower-triangle pattern of C, and find the pattern of L.

    `groups` (n,) numbers the equations that are to stay together, if any; `beside` are bytes needed beside the factor;
    `cliques` are the equations of each dense block of C, whose entries the pattern need not hold.
    """
    graph = numbered_graph(indptr, indices, n, cliques) if cliques else compact_graph(indptr, indices, n, groups)
    tried: list[tuple[np.ndarray, Outline]] = []

    def flops_of(permutation: np.ndarray) -> float:
        tried.append((permutation, outline(permuted_upper(graph, permutation))))
        return flops(tried[-1][1].counts)

    block = np.flatnonzero(graph.clique >= 0)
    chosen = choose_ordering(Adjacency(*both_directions(graph.rows, graph.columns, n)), flops_of, groups, block)
    reason = f"a dense block of {len(block):,} equations last; {chosen.reason}" if len(block) else chosen.reason
    found = next(found for permutation, found in tried if permutation is chosen.permutation)
    order = in_postorder(found)
    ordering = Ordering(chosen.permutation[order], chosen.name, reason)
    return laid_out(indptr, indices, ordering, graph, found.renumbered(order), beside)


def analyse_natural(indptr: np.ndarray, indices: np.ndarray, n: int) -> Symbolic:
    """Pattern of L for a C that is eliminated in the order of its equations."""
    graph = compact_graph(indptr, indices, n)
    return analyse_in_order(indptr, indices, Ordering(np.arange(n), "natural", "as given"), graph)


def analyse_in_order(
    indptr: np.ndarray, indices: np.ndarray, ordering: Ordering, graph: Graph, beside: float = 0.0
) -> Symbolic:
    """Pattern of L for a given order of elimination."""
    return laid_out(indptr, indices, ordering, graph, outline(permuted_upper(graph, ordering.permutation)), beside)


def laid_out(
    indptr: np.ndarray, indices: np.ndarray, ordering: Ordering, graph: Graph, outline: Outline, beside: float
) -> Symbolic:
    """Pattern of L for a given order of elimination, whose tree and counts are known."""
    parent, counts = outline
    sn = outline_supernodes(parent, counts)
    require(
        factor_bytes(sn, counts, len(indices)) + beside,
        f"the model with a factor of {len(counts):,} equations ({counts.sum():,} nonzeros)",
    )
    clique = graph.clique if (graph.clique >= 0).any() else np.zeros(0, np.int32)
    found = Symbolic(ordering, counts.astype(np.int32), flops(counts), parent, (indptr, indices), clique)
    found.__dict__["supernodes"] = with_rows(sn, *permuted_upper(graph, ordering.permutation))
    return found


class Outline(NamedTuple):
    """What is known of L without its pattern: the parent of each column in the elimination tree, and its entries."""

    parent: np.ndarray
    counts: np.ndarray

    def renumbered(self, order: np.ndarray) -> Outline:
        """The same where the columns come in another order, that of a postorder."""
        place_of = inverse_permutation(order).astype(np.int32)
        parent = self.parent[order]
        return Outline(np.where(parent >= 0, place_of[parent], np.int32(-1)), self.counts[order])


def outline(upper: tuple[np.ndarray, np.ndarray]) -> Outline:
    """Elimination tree and column counts of a permuted pattern."""
    parent = elimination_tree(*upper)
    return Outline(parent, column_counts(*upper, parent))


def factor_bytes(sn: Supernodes, counts: np.ndarray, nnz: int) -> float:
    """Memory of L, of the selected inverse, of their patterns and of the workspaces, before any of it is taken.

    Parameters
    ----------
    sn : the panels of L, without their rows
    counts : (n,) column counts
    nnz : entries of C

    Notes
    -----
    An upper bound of `SupernodalFactor.memory` where the tree is not cut for threads.
    """
    values = float(sn.panel_at[-1]) + uncut_workspace(sn) + 2.0 * nnz
    indices = 8.0 * sn.rows_at[-1] + 88.0 * (sn.size + 1) + 25.0 * len(counts)
    return float(8.0 * values + indices)


def flops(counts: np.ndarray) -> float:
    """Operations of a factorisation whose columns of L have these numbers of entries."""
    return float((counts.astype(np.float64) ** 2).sum())


def inverse_permutation(permutation: np.ndarray) -> np.ndarray:
    """Place of every equation in the order of elimination."""
    place_of = np.empty(len(permutation), dtype=np.int64)
    place_of[permutation] = np.arange(len(permutation))
    return place_of


def permuted_upper(graph: Graph, permutation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strict upper triangle of the permuted pattern, by columns, a star in the place of a clique.

    Column i of it lists the columns k < i of L in which row i starts a path of the elimination tree.
    """
    place_of = inverse_permutation(permutation)
    first, second = np.ascontiguousarray(graph.rows, np.int32), np.ascontiguousarray(graph.columns, np.int32)
    if (graph.clique >= 0).any():
        centre, others = star(graph.clique, place_of)
        # Back to the numbers before the permutation, which the sort applies.
        first = np.concatenate([first, permutation[centre].astype(np.int32)])
        second = np.concatenate([second, permutation[others].astype(np.int32)])
    return upper_by_columns(first, second, place_of.astype(np.int32))


def in_postorder(outline: Outline) -> np.ndarray:
    """An order of the columns in which each subtree of the elimination tree is contiguous.

    The fill is the same; columns that update each other come to lie close in memory.
    """
    less = outline.counts.max(initial=0) - outline.counts
    keys = less.astype(np.uint16) if less.max(initial=0) < 2**16 else less
    # Of equals the latest: a column of the same supernode as its parent has one entry more, and no child has two more.
    heaviest_first = len(keys) - 1 - np.argsort(keys[::-1], kind="stable")
    return postorder(outline.parent, heaviest_first)


@njit("Tuple((int64[::1], int32[::1]))(int32[::1], int32[::1], int32[::1])", cache=True)
def upper_by_columns(rows, columns, place_of):
    """The entries by the later of their two places: pointers, and the earlier place of each, in no order."""
    n = len(place_of)
    indptr = np.zeros(n + 1, np.int64)
    for p in range(len(rows)):
        indptr[max(place_of[rows[p]], place_of[columns[p]]) + 1] += 1
    for i in range(n):
        indptr[i + 1] += indptr[i]
    end = indptr[:-1].copy()
    early = np.empty(len(rows), np.int32)
    for p in range(len(rows)):
        first, second = place_of[rows[p]], place_of[columns[p]]
        late = max(first, second)
        early[end[late]] = min(first, second)
        end[late] += 1
    return indptr, early


@njit("int32[::1](int64[::1], int32[::1])", cache=True)
def elimination_tree(indptr, indices):
    """Parent of each column in the elimination tree, -1 for a root (Liu 1990; Davis 2006, 4.1).

    Parameters
    ----------
    indptr, indices : ndarray
        Strict upper triangle by columns, as from `permuted_upper`.
    """
    n = len(indptr) - 1
    parent = np.full(n, -1, np.int32)
    ancestor = np.full(n, -1, np.int32)
    for i in range(n):
        for p in range(indptr[i], indptr[i + 1]):
            k = indices[p]
            while k != -1 and k < i:
                above = ancestor[k]
                ancestor[k] = i  # path compression
                if above == -1:
                    parent[k] = i
                k = above
    return parent


@njit("int64[::1](int32[::1], int64[::1])", cache=True)
def postorder(parent, heaviest_first):
    """Order of the columns in which each one follows all its descendants, depth first (Davis 2006, 4.3).

    `heaviest_first` lists the columns by falling numbers of entries in L: of the children of a column the
    heaviest comes last, right before it, where the two can become one supernode.
    """
    n = len(parent)
    first_child = np.full(n, -1, np.int32)
    sibling = np.full(n, -1, np.int32)
    for j in heaviest_first:
        if parent[j] != -1:
            sibling[j] = first_child[parent[j]]
            first_child[parent[j]] = j
    order = np.empty(n, np.int64)
    done = 0
    for root in range(n):
        if parent[root] != -1:
            continue
        node = root
        while True:
            while first_child[node] != -1:  # down to the first leaf not yet taken
                child = first_child[node]
                first_child[node] = sibling[child]
                node = child
            order[done] = node
            done += 1
            if node == root:
                break
            node = parent[node]
    return order


@njit("int64[::1](int64[::1], int32[::1], int32[::1])", cache=True)
def column_counts(indptr, indices, parent):
    """Entries in each column of L, diagonal included.

    Row i of L is the union of the paths of the elimination tree from the entries of row i of C up to i
    (the *row subtree*; Davis 2006, theorem 4.2), so walking them counts the columns in time nnz(L).
    """
    n = len(indptr) - 1
    counts = np.ones(n, np.int64)
    seen = np.full(n, -1, np.int32)
    for i in range(n):
        seen[i] = i
        for p in range(indptr[i], indptr[i + 1]):
            k = indices[p]
            while seen[k] != i:
                seen[k] = i
                counts[k] += 1
                k = parent[k]
    return counts


@njit("int32[::1](int64[::1], int32[::1], int32[::1], int64[::1])", cache=True)
def pattern_of_factor(indptr, indices, parent, l_indptr):
    """Row numbers of L below its diagonal, column by column, ascending.

    The walk of `column_counts` once more; rows are visited in ascending order, hence the sorted columns.
    """
    n = len(indptr) - 1
    rows = np.empty(l_indptr[n], np.int32)
    end = l_indptr[:-1].copy()
    seen = np.full(n, -1, np.int32)
    for i in range(n):
        seen[i] = i
        for p in range(indptr[i], indptr[i + 1]):
            k = indices[p]
            while seen[k] != i:
                seen[k] = i
                rows[end[k]] = i
                end[k] += 1
                k = parent[k]
    return rows


@njit("int64[::1](int64[::1], int64[::1], int64[::1], int32[::1])", cache=True)
def places_in_factor(first, second, l_indptr, rows):
    """Where the entry of C at places (first[i], second[i]) goes: its position in L, or nnz(L) + diagonal."""
    nnz_l = l_indptr[-1]
    places = np.empty(len(first), np.int64)
    for i in range(len(first)):
        late, early = max(first[i], second[i]), min(first[i], second[i])
        if late == early:
            places[i] = nnz_l + early
            continue
        places[i] = found_among(rows, l_indptr[early], l_indptr[early + 1] - 1, late)
    return places
