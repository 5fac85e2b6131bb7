"""A large dense block of C, such as the genotyped animals of single-step: found, ordered last, and counted as one.

In the graph of C it is a *clique*: every two of its nodes are neighbours, which is g²/2 edges for g nodes. None of them
matters to the order of the others:

- Some perfect order of any filled graph ends with any given clique (Rose 1970), so that to put the clique last costs no
  fill, and the others are ordered on the graph without the edges inside it.
- Whatever the order, the elimination of the first node of the clique joins all the others. So the edges from that node
  alone, a *star*, stand for the whole clique: the filled graph is the same.

So the analysis of C takes time by its entries outside the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from remlblup.linalg.contract import columns_of

SMALLEST = 100
"""A clique of fewer nodes is not worth a search."""

SHARE = 0.25
"""A clique is set apart if it holds this share of the entries of C; the rest is small beside it, or not much larger."""

ATTEMPTS, ROUNDS = 8, 30
"""Nodes tried as members of a clique, and rounds in which other nodes are dropped from around one."""


class Graph(NamedTuple):
    """The graph of C.

    Attributes
    ----------
    rows, columns : (nnz,) ends of the edges, each once, but for those inside a clique
    clique : (n,) number of the clique of each node, −1 for none
    """

    rows: np.ndarray
    columns: np.ndarray
    clique: np.ndarray


def compact_graph(indptr: np.ndarray, indices: np.ndarray, n: int, groups: np.ndarray | None = None) -> Graph:
    """The graph of C, a large clique of it set apart, and those of the same groups (the other traits) with it."""
    rows, columns = off_diagonal_entries(indptr, indices)
    number = np.full(n, -1, np.int32)
    traits = 1 if groups is None else max(1, round(n / (int(groups.max()) + 1)))
    for k in range(traits):
        members = find_clique(rows, columns, n, SHARE / (traits - k))
        if k and groups is not None:
            first = np.unique(groups[number == 0])
            members = members[np.isin(groups[members], first) & (number[members] < 0)]
        if not len(members):
            break
        number[members] = k
        kept = outside(rows, columns, number)
        rows, columns = rows[kept], columns[kept]
    return Graph(rows, columns, number)


def numbered_graph(indptr: np.ndarray, indices: np.ndarray, n: int, cliques: Sequence[np.ndarray]) -> Graph:
    """The graph of C, of which the cliques are known."""
    number = np.full(n, -1, np.int32)
    for k, members in enumerate(cliques):
        number[members] = k
    rows, columns = off_diagonal_entries(indptr, indices)
    kept = outside(rows, columns, number)
    return Graph(rows[kept], columns[kept], number)


def off_diagonal_entries(indptr: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column numbers of the entries below the diagonal."""
    columns, rows = columns_of(indptr).astype(np.int32), indices.astype(np.int32, copy=False)
    below = rows != columns
    return rows[below], columns[below]


def find_clique(rows: np.ndarray, columns: np.ndarray, n: int, share: float = SHARE) -> np.ndarray:
    """A clique of a graph of n nodes that holds a good share of the edges.

    Found by the core of the graph in which every node has `SMALLEST` neighbours (Seidman 1983) and, there, the
    neighbours of a node of lowest degree; those that are not all neighbours of each other are dropped.

    Parameters
    ----------
    rows, columns : (nnz,) ends of the edges, each once
    share : of the edges

    Returns
    -------
    (g,) nodes, ascending; none if there is no such clique
    """
    none = np.zeros(0, np.int64)
    least = max(SMALLEST, int(np.sqrt(2.0 * share * len(rows))))
    core, rows, columns = core_of(rows, columns, n, least - 1)
    for _ in range(ATTEMPTS):
        if core.sum() < least or len(rows) < least * (least - 1) // 2:
            return none
        degree = degrees(rows, columns, n)
        v = int(np.argmin(np.where(core, degree, n + 1)))
        around = np.zeros(n, np.bool_)
        around[rows[columns == v]] = around[columns[rows == v]] = around[v] = True
        members = complete_part(around, rows, columns, least)
        if members.any():
            return np.flatnonzero(members)
        core[v] = False
        both = core[rows] & core[columns]
        core, rows, columns = core_of(rows[both], columns[both], n, least - 1)
    return none


def degrees(rows: np.ndarray, columns: np.ndarray, n: int) -> np.ndarray:
    """Number of neighbours of every node."""
    return np.bincount(rows, minlength=n) + np.bincount(columns, minlength=n)


def core_of(rows: np.ndarray, columns: np.ndarray, n: int, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mark the nodes that are left when those of fewer than `least` neighbours go, again and again; their edges."""
    while True:
        core = degrees(rows, columns, n) >= least
        both = core[rows] & core[columns]
        if both.all():
            return core, rows, columns
        rows, columns = rows[both], columns[both]


def complete_part(around: np.ndarray, rows: np.ndarray, columns: np.ndarray, least: int) -> np.ndarray:
    """Of the nodes marked, some that are all neighbours of each other: at least so many, or none."""
    members = around.copy()
    for _ in range(ROUNDS):
        both = members[rows] & members[columns]
        rows, columns = rows[both], columns[both]
        count = int(members.sum())
        inside = degrees(rows, columns, len(members))
        lacking = members & (inside < count - 1)
        if count < least:
            break
        if not lacking.any():
            return members
        members[lacking & (inside <= inside[lacking].min())] = False
    return np.zeros_like(around)


def outside(rows: np.ndarray, columns: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Mark the edges that are not inside a clique; `number` (n,) is the clique of each node, −1 for none."""
    return (number[rows] < 0) | (number[rows] != number[columns])


def star(number: np.ndarray, place_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges that fill in as the cliques would: from the first of each to be eliminated to its other nodes.

    Parameters
    ----------
    number : (n,) clique of each node, −1 for none
    place_of : (n,) place of each node in the order of elimination

    Returns
    -------
    first, others : places
    """
    places = np.sort(place_of[number >= 0])
    by_place = number[np.argsort(place_of)[places]]
    first = np.full(int(number.max(initial=-1)) + 1, -1)
    first[by_place[::-1]] = places[::-1]
    centre = first[by_place]
    return centre[places != centre], places[places != centre]
