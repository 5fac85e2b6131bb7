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
def inbreeding_by_columns(pivot, mate, pivots, batch_end, offspring, start):
    """Inbreeding coefficients from the columns of A that belong to the pivot parents, some at a time.

    `pivots` holds the pivot parents by generation; batch k ends before `batch_end[k]` and stays within one
    generation, so that the inbreeding its columns rest on is known. The children of `pivots[q]` whose other
    parent is known are `offspring[start[q]:start[q + 1]]`. For each pivot p, column T D T' e_p of A is formed
    over the ancestors of the batch and of its mates only (Colleau 2002, Genet Sel Evol 34:409; Sargolzaei,
    Iwaisaki & Colleau 2005, J Anim Breed Genet 122:325), and a child of p by mate m gets F = a_m / 2.

    Returns F, shape (n,).
    """
    n = pivot.shape[0]
    F = np.zeros(n)
    width = 1
    first = 0
    for end in batch_end:
        width = max(width, end - first)
        first = end
    table = np.empty((n, width))  # row k: the animal path[k]; untouched rows cost no memory
    mark = np.full(n, -1, np.int32)
    row = np.empty(n, np.int32)
    path = np.empty(n, np.int32)
    stack = np.empty(2 * n + 2, np.int32)
    first = 0
    for batch in range(batch_end.shape[0]):
        end = batch_end[batch]
        size = 0
        for q in range(first, end):
            size = _ancestors_first(pivots[q], 0, pivot, mate, mark, batch, path, size, stack)
        # An animal older than every ancestor of the batch is unrelated to it: no need to walk below `low`.
        low = path[:size].min()
        filled = size
        for k in range(start[first], start[end]):
            filled = _ancestors_first(mate[offspring[k]], low, pivot, mate, mark, batch, path, filled, stack)
        for k in range(filled):
            row[path[k]] = k
            table[k, :] = 0.0
        for q in range(first, end):
            table[row[pivots[q]], q - first] = 1.0
        _column_of_A(pivot, mate, F, row, path, size, filled, low, table)
        for q in range(first, end):
            for k in range(start[q], start[q + 1]):
                partner = mate[offspring[k]]
                if partner >= low:
                    F[offspring[k]] = 0.5 * table[row[partner], q - first]
        first = end
    return F


@njit(cache=True)
def _column_of_A(pivot, mate, F, row, path, size, filled, low, table):
    """Overwrite unit vectors by T D T' times them: up over path[:size], then down over path[:filled]."""
    width = table.shape[1]
    for k in range(size - 1, -1, -1):
        animal = path[k]
        variance = 1.0
        for parent in (pivot[animal], mate[animal]):
            if parent >= 0:
                variance -= 0.25 * (1.0 + F[parent])
                above = row[parent]
                for b in range(width):
                    table[above, b] += 0.5 * table[k, b]
        for b in range(width):
            table[k, b] *= variance
    for k in range(filled):
        animal = path[k]
        father, mother = pivot[animal], mate[animal]
        own = table[k]
        if father >= low and mother >= low:
            one, other = table[row[father]], table[row[mother]]
            for b in range(width):
                own[b] += 0.5 * (one[b] + other[b])
        elif father >= low or mother >= low:
            one = table[row[father]] if father >= low else table[row[mother]]
            for b in range(width):
                own[b] += 0.5 * one[b]


@njit(cache=True, nogil=True)
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
