"""Compiled loops over large pedigrees. Imported only when one is needed, for numba is slow to load.

Every kernel takes parents as int32 arrays `sire` and `dam` of shape (n,), −1 for unknown, with parents before
their offspring.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def _ancestors_first(start, low, sire, dam, mark, stamp, path, filled, stack):
    """Append `start` and its unmarked ancestors numbered >= `low` to `path`, parents before offspring."""
    if start < low or mark[start] == stamp:
        return filled
    stack[0] = start
    height = 1
    while height > 0:
        animal = stack[height - 1]
        if mark[animal] == stamp:
            height -= 1
            continue
        father, mother = sire[animal], dam[animal]
        waiting = False
        if father >= low and mark[father] != stamp:
            stack[height] = father
            height += 1
            waiting = True
        if mother >= low and mark[mother] != stamp:
            stack[height] = mother
            height += 1
            waiting = True
        if not waiting:
            mark[animal] = stamp
            path[filled] = animal
            filled += 1
            height -= 1
    return filled


@njit(cache=True)
def inbreeding_by_column(pivot, mate, offspring, start):
    """Inbreeding coefficients from the columns of A that belong to the pivot parents.

    `offspring[start[p]:start[p + 1]]` are the children of pivot parent p whose other parent is known. For
    each p, column a = T D T' e_p is formed over the ancestors of p and of its mates only (Colleau 2002,
    Genet Sel Evol 34:409, eq. 3-5; Sargolzaei, Iwaisaki & Colleau 2005, J Anim Breed Genet 122:325), and
    every child of p with mate m gets F = a_m / 2.

    Returns F, shape (n,).
    """
    n = pivot.shape[0]
    F = np.zeros(n)
    traced = np.zeros(n)  # D T' e_p: non-zero for p and its ancestors only
    column = np.zeros(n)
    above = np.full(n, -1, np.int32)
    seen = np.full(n, -1, np.int32)
    line = np.empty(n, np.int32)
    path = np.empty(n, np.int32)
    stack = np.empty(2 * n + 2, np.int32)
    for p in range(n):
        if start[p] == start[p + 1]:
            continue
        size = _ancestors_first(p, 0, pivot, mate, above, p, line, 0, stack)
        traced[p] = 1.0
        low = p
        for k in range(size - 1, -1, -1):
            animal = line[k]
            low = min(low, animal)
            half = 0.5 * traced[animal]
            variance = 1.0
            for parent in (pivot[animal], mate[animal]):
                if parent >= 0:
                    traced[parent] += half
                    variance -= 0.25 * (1.0 + F[parent])
            traced[animal] *= variance
        # An animal older than every ancestor of p is unrelated to p: the walk need not go below `low`.
        filled = 0
        for k in range(start[p], start[p + 1]):
            filled = _ancestors_first(mate[offspring[k]], low, pivot, mate, seen, p, path, filled, stack)
        for k in range(filled):
            animal = path[k]
            value = traced[animal]
            for parent in (pivot[animal], mate[animal]):
                if parent >= low:
                    value += 0.5 * column[parent]
            column[animal] = value
        for k in range(start[p], start[p + 1]):
            partner = mate[offspring[k]]
            F[offspring[k]] = 0.5 * column[partner] if partner >= low else 0.0
        for k in range(size):
            traced[line[k]] = 0.0
    return F


@njit(cache=True)
def multiply_in_place(sire, dam, variance, V):
    """Overwrite V, shape (n, m), by A V = T D T' V: one pass up the pedigree and one pass down."""
    n, m = V.shape
    for i in range(n - 1, -1, -1):
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                for j in range(m):
                    V[parent, j] += 0.5 * V[i, j]
    for i in range(n):
        for j in range(m):
            V[i, j] *= variance[i]
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                for j in range(m):
                    V[i, j] += 0.5 * V[parent, j]
