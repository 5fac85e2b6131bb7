"""Order of elimination: which equations first, so that L stays sparse.

A large dense block of C goes last (see `linalg.cliques`), and so do equations that touch a good part of all the
others. The rest is ordered in ways that cost more and more, until one predicts few enough operations of a
factorisation (`WAYS`):

1. Hubs go last too, if they are neighbours of everybody: the sires of a pedigree, herds. Of the others those with few
   neighbours go first, one by one, a hub counting as a neighbour (`eliminate_low_degree`), and what remains is ordered
   by nested dissection (`nested_dissection`; George 1973; METIS: Karypis & Kumar 1998).
2. The same with the hubs among the others.
3. Multiple minimum degree (`multiple_minimum_degree`; Tinney & Walker 1967; Liu 1985), and the dissection of what it
   leaves.

Of large models the graphs are what takes the memory: each is let go of as soon as the next one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remlblup.linalg.sparse import low_degree
from remlblup.linalg.sparse.graphs import Adjacency, quotient, twins, without_set

LOW_DEGREE = 8
"""Nodes with at most this many neighbours are always eliminated before the dissection."""

DENSE_ROW = 10.0
"""A node with more than this times sqrt(n) neighbours goes last (Amestoy, Davis & Duff 2004)."""

HUB, HUB_SHARE = 10.0, 0.5
"""Nodes of this many times the median number of neighbours are hubs if this share of the edges is theirs.

The sires of a pedigree are such nodes: their neighbours are everywhere, so that they come to lie in the first
separators anyway, and without their edges an order takes a fifth of the time and of the memory.
"""

SECOND_ORDER_FLOPS, SECOND_ORDER_SHARE = 1e9, 2e4
"""Another order is tried when one predicts more operations than this, and than this times n.

A fit takes some thirty times the flops of one factorisation, and the other order may save a quarter of them; finding
it costs about as much as a million operations per equation.
"""

SMALL_ROUND = 0.01
"""Elimination stops when a round takes a smaller share than this of the nodes left."""


@dataclass(frozen=True)
class Ordering:
    """An order of elimination.

    Attributes
    ----------
    permutation : ndarray of int64, shape (n,)
        ``permutation[k]`` is the equation eliminated at step k.
    name, reason : str
        What it is, and why it was chosen.
    """

    permutation: np.ndarray
    name: str
    reason: str


def choose_ordering(
    graph: Adjacency,
    flops_of: Callable[[np.ndarray], float],
    groups: np.ndarray | None = None,
    block: np.ndarray | None = None,
) -> Ordering:
    """Choose a fill-reducing order of elimination.

    Parameters
    ----------
    graph : Adjacency of n nodes
        Pattern of C without its diagonal.
    flops_of : callable
        Predicted operations of a factorisation in a given permutation.
    groups : (n,) ndarray of int, optional
        Equations to be eliminated together, e.g. the traits of one animal: one node each.
    block : ndarray of int, optional
        Equations of a dense block, which go last; `graph` need not have the edges inside it.
    """
    in_block = np.zeros(graph.size if groups is None else int(groups.max()) + 1, np.bool_)
    n_block = 0 if block is None else len(block)
    if n_block:
        in_block[block if groups is None else groups[block]] = True
    if groups is not None:
        graph = quotient_graph(graph, groups)
    group, representative = merge_twins(graph, in_block)
    group = group if groups is None else group[groups]
    rest, last = split_last(graph.degree_between(representative), in_block[representative])
    graph = graph.between(representative[rest])
    tried: list[tuple[float, str, np.ndarray]] = []
    enough = n_block**3 / 3.0 + max(SECOND_ORDER_FLOPS, SECOND_ORDER_SHARE * len(group))
    for name, nodes_of in WAYS.items():
        if (nodes := nodes_of(graph)) is None:
            continue
        permutation = expand(np.concatenate([rest[nodes], last]), group)
        tried.append((flops_of(permutation), name, permutation))
        if tried[-1][0] <= enough:
            break
    flops, name, permutation = min(tried, key=lambda way: way[0])
    others = ", ".join(f"{other} {count:.2g}" for count, other, _ in tried if other != name)
    reason = f"{flops:.2g} flops, {others}" if others else f"cheap enough not to look further: {flops:.2g} flops"
    return Ordering(permutation, name, reason)


def quotient_graph(graph: Adjacency, groups: np.ndarray) -> Adjacency:
    """Graph of the groups 0 … m−1 of nodes: an edge where any members touch."""
    sizes = np.bincount(groups)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    return Adjacency(*quotient(*graph, groups, np.argsort(groups, kind="stable"), starts))


def merge_twins(graph: Adjacency, alone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge nodes that touch each other and have the same neighbours, e.g. the traits of one animal.

    Twins can be eliminated one after the other without more fill, so that one node stands for all
    (indistinguishable nodes; George & Liu 1989). They are recognised by the sum of random numbers over
    their closed neighbourhoods; a collision of 64-bit sums would cost fill, never correctness.

    Returns
    -------
    group : ndarray of int, shape (n,)
        Group of each node; groups are numbered by their first members.
    first : ndarray of int, shape (m,)
        These members, ascending.
    """
    marks = np.random.default_rng(20240607).integers(1, 2**63, graph.size, dtype=np.uint64)
    return twins(*graph, marks, alone)


def expand(nodes: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Turn an order of groups into an order of their members, groups kept together."""
    rank = np.empty_like(nodes)
    rank[nodes] = np.arange(len(nodes))
    return np.argsort(rank[group], kind="stable")


def split_last(degree: np.ndarray, in_block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes to order, and those that simply go last: a dense block,
    then nodes with very many neighbours (the intercept)."""
    dense = degree > max(16.0, DENSE_ROW * np.sqrt(len(degree)))
    last = np.flatnonzero(dense & ~in_block)
    block = np.flatnonzero(in_block)
    return np.flatnonzero(~dense & ~in_block), np.concatenate([block, last[np.argsort(degree[last], kind="stable")]])


def hubs_last(graph: Adjacency) -> np.ndarray | None:
    """Nodes of few neighbours, the dissection of what they leave, then the hubs; None if there are no hubs."""
    others, nodes, hubs = without_hubs(graph)
    if not len(hubs):
        return None
    first, core, kept = eliminate_low_degree(others, low_degree.hubs_beside(*graph, nodes, hubs))
    return np.concatenate([nodes[first], nodes[kept[nested_dissection(core)]], hubs])


def low_degree_first(graph: Adjacency) -> np.ndarray:
    """Nodes of few neighbours, then the dissection of what they leave."""
    first, core, kept = eliminate_low_degree(graph, np.zeros(graph.size, np.uint64))
    return np.concatenate([first, kept[nested_dissection(core)]])


def minimum_degree_first(graph: Adjacency) -> np.ndarray:
    """Sets of nodes of nearly the smallest degree, then the dissection of what they leave."""
    first, core, kept = multiple_minimum_degree(graph)
    return np.concatenate([first, kept[nested_dissection(core)]])


WAYS: dict[str, Callable[[Adjacency], np.ndarray | None]] = {
    "nested dissection, hubs last": hubs_last,
    "nested dissection": low_degree_first,
    "minimum degree, then dissection": minimum_degree_first,
}
"""What is tried in turn, until an order takes few enough operations."""


def eliminate_low_degree(graph: Adjacency, hubs: np.ndarray) -> tuple[np.ndarray, Adjacency, np.ndarray]:
    """Eliminate the nodes of at most `LOW_DEGREE` neighbours one by one (compiled; see `linalg.sparse.low_degree`).

    `hubs` (n,) are the sets of hubs beside each node.

    Returns
    -------
    first : ndarray of int
        Eliminated nodes in order.
    core : Adjacency
        Graph of the nodes that remain, with the fill of the elimination.
    kept : ndarray of int
        Their numbers in `graph`.
    """
    first, kept, *core = low_degree.eliminate_low_degree(*graph, LOW_DEGREE, hubs)
    return first, Adjacency(*core), kept


def multiple_minimum_degree(whole: Adjacency) -> tuple[np.ndarray, Adjacency, np.ndarray]:
    """Eliminate independent sets of nodes of nearly the smallest degree, a set a round (Liu 1985).

    "Nearly" is a tolerance of a fifth of the smallest degree and one more. It ends where a round finds few nodes.

    Returns
    -------
    as `eliminate_low_degree`
    """
    graph = whole
    random = np.random.default_rng(20240608)  # breaks ties: along a chain, order would free one end only
    kept, eliminated = np.arange(graph.size), []
    while len(kept):
        degree = graph.degree
        ceiling = 1.2 * degree.min() + 1.0
        chosen = independent_set(graph, degree + random.random(len(kept)), degree <= ceiling)
        if not chosen.any() or (chosen.sum() < SMALL_ROUND * len(kept) and degree[chosen].min() > 2):
            break
        eliminated.append(kept[chosen])
        graph = Adjacency(*without_set(*graph, chosen))
        kept = kept[~chosen]
    first = np.concatenate(eliminated) if eliminated else np.zeros(0, dtype=np.int64)
    return first, Adjacency.of(graph.matrix()), kept


def independent_set(graph: Adjacency, key: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Mark candidates whose key is below that of every neighbouring candidate; no two are adjacent."""
    keys = np.where(candidate, key, np.inf)
    lowest = np.full(graph.size, np.inf)
    filled = np.flatnonzero(graph.degree)
    if len(filled):
        lowest[filled] = np.minimum.reduceat(keys[graph.indices], graph.indptr[filled])
    return candidate & (keys < lowest)


def nested_dissection(graph: Adjacency) -> np.ndarray:
    """Order a graph by METIS nested dissection, hubs last; the result is a permutation, shape (m,)."""
    graph, rest, hubs = without_hubs(graph)
    if not len(graph.indices):
        return np.concatenate([rest, hubs])
    import pymetis

    permutation, _ = pymetis.nested_dissection(pymetis.CSRAdjacency(graph.indptr, graph.indices.astype(np.int64)))
    return np.concatenate([rest[np.asarray(permutation, dtype=np.int64)], hubs])


def without_hubs(graph: Adjacency) -> tuple[Adjacency, np.ndarray, np.ndarray]:
    """The graph without its hubs, the nodes of it, and the hubs by their degree."""
    degree = graph.degree
    hub = degree > HUB * np.median(degree) if len(degree) else np.zeros(0, np.bool_)
    rest, hubs = np.flatnonzero(~hub), np.flatnonzero(hub)
    without = graph.between(rest)
    if len(without.indices) > (1.0 - HUB_SHARE) * len(graph.indices):
        return graph, np.arange(graph.size), np.zeros(0, np.int64)
    return without, rest, hubs[np.argsort(degree[hubs], kind="stable")]
