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

import numpy as np

SMALLEST = 100
"""A clique of fewer nodes is not worth a search."""

SHARE = 0.25
"""A clique is set apart if it holds this share of the entries of C; the rest is small beside it, or not much larger."""

ATTEMPTS, ROUNDS = 8, 30
"""Nodes tried as members of a clique, and rounds in which other nodes are dropped from around one."""


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
