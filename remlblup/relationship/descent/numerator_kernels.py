"""Compiled loops over large pedigrees. Imported only when one is needed, for numba is slow to load.

Every kernel takes parents as int32 arrays `sire` and `dam` of shape (n,), −1 for unknown, with parents before
their offspring.
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import njit

#: What the walk over ancestors reads and writes of an animal, side by side in memory.
NODE = np.dtype(
    [("sire", "i4"), ("dam", "i4"), ("mark", "i4"), ("unused", "i4"), ("x", "f8"), ("total", "f8")], align=True
)


@njit(cache=True)
def _walk(node, start, low, stamp, stack, path, filled):
    """Append the unmarked ancestors of `start` from `low` on, and itself, to `path`, parents before offspring."""
    stack[0] = start
    height = 1
    while height > 0:
        animal = stack[height - 1]
        if node[animal].mark == stamp:
            height -= 1
            continue
        father, mother = node[animal].sire, node[animal].dam
        waiting = False
        if father >= low and node[father].mark != stamp:
            stack[height] = father
            height += 1
            waiting = True
        if mother >= low and node[mother].mark != stamp:
            stack[height] = mother
            height += 1
            waiting = True
        if not waiting:
            node[animal].mark = stamp
            node[animal].x = 0.0
            path[filled] = animal
            filled += 1
            height -= 1
    return filled


@njit(cache=True)
def _descend(node, start, low, stamp, stack):
    """x of `start` from that of its marked ancestors, marking the others on the way: half of each parent's."""
    stack[0] = start
    height = 1
    while height > 0:
        animal = stack[height - 1]
        if node[animal].mark == stamp:
            height -= 1
            continue
        father, mother = node[animal].sire, node[animal].dam
        waiting = False
        value = 0.0
        if father >= low:
            if node[father].mark == stamp:
                value += node[father].x
            else:
                stack[height] = father
                height += 1
                waiting = True
        if mother >= low:
            if node[mother].mark == stamp:
                value += node[mother].x
            else:
                stack[height] = mother
                height += 1
                waiting = True
        if not waiting:
            node[animal].mark = stamp
            node[animal].x = 0.5 * value
            height -= 1
    return node[start].x


@njit(cache=True)
def _column(node, own, path, size, gamma, fixed):
    """Overwrite x by T D T' x on a path that holds all ancestors of its animals, metafounders first."""
    g = gamma.shape[0]
    for k in range(size - 1, -1, -1):
        animal = path[k]
        half = 0.5 * node[animal].x
        for parent in (node[animal].sire, node[animal].dam):
            if parent >= 0:
                node[parent].x += half
    if g > 0:
        founders = np.empty(g)
        for k in range(g):
            founders[k] = node[k].x
        for k in range(g):
            node[k].x = (gamma[k] * founders).sum()
    for k in range(g, size):
        animal = path[k]
        variance, above = own[animal], 0.0
        for parent in (node[animal].sire, node[animal].dam):
            if parent >= 0:
                above += 0.5 * node[parent].x
                if not fixed:
                    variance -= 0.25 * node[parent].total
        node[animal].x = variance * node[animal].x + above


@njit(cache=True)
def parental_kinship(node, own, pivots, start, offspring, mates, position, left, gamma, fixed):
    """½ a(sire, dam) of animals with both parents known, by the columns of A that belong to the pivot parents.

    `node` holds the animals that are parents (position[i] of animal i, −1 for the others), `pivots` those of
    one sex in ascending order; the children of `pivots[q]` are `offspring[start[q]:start[q + 1]]`, their other
    parents `mates` likewise. Column T D T' e_p of A is formed over the ancestors of p and of its mates only
    (Colleau 2002, Genet Sel Evol 34:409; Sargolzaei, Iwaisaki & Colleau 2005, J Anim Breed Genet 122:325).
    An ancestor's own pivot parent is older, and so done before. The first len(gamma) nodes are metafounders
    with relationships `gamma`; `left` (or nothing) is the heterozygosity left after selfing. The Mendelian
    variance of a node is `own` if `fixed`, else `own` less a quarter of its parents' `total` = 1 + F.

    Returns values of shape (n,).
    """
    n, g = node.shape[0], gamma.shape[0]
    result = np.zeros(position.shape[0])
    path = np.empty(n, np.int32)
    stack = np.empty(2 * n + 2, np.int32)
    for q in range(pivots.shape[0]):
        pivot, stamp, size = pivots[q], q + 1, 0
        for k in range(g):
            size = _walk(node, k, 0, stamp, stack, path, size)
        size = _walk(node, pivot, 0, stamp, stack, path, size)
        # An animal older than every ancestor of the pivot is unrelated to it: no need to walk below `low`.
        low = path[:size].min()
        node[pivot].x = 1.0
        _column(node, own, path, size, gamma, fixed)
        for k in range(start[q], start[q + 1]):
            child, mate = offspring[k], mates[k]
            kinship = 0.5 * _descend(node, mate, low, stamp, stack) if mate >= low else 0.0
            result[child] = kinship
            place = position[child]
            if place >= 0 and not fixed:
                if left.shape[0] > 0:
                    own[place] = 1.0 + (1.0 - left[child]) * (1.0 - kinship)
                node[place].total = own[place] + kinship
    return result


@njit(cache=True, nogil=True)
def up_in_place(sire, dam, V):
    """Overwrite V, shape (n, m), by T' V: every animal hands half of its row to each parent."""
    n, m = V.shape
    for i in range(n - 1, -1, -1):
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                for j in range(m):
                    V[parent, j] += 0.5 * V[i, j]


@njit(cache=True, nogil=True)
def down_in_place(sire, dam, V):
    """Overwrite V, shape (n, m), by T V: every animal receives half of each parent's row."""
    n, m = V.shape
    for i in range(n):
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                for j in range(m):
                    V[i, j] += 0.5 * V[parent, j]


@njit(cache=True)
def _by_later_parent(sire, dam):
    """Animals of two different parents by the later of these, each parent's in ascending order: starts, numbers."""
    n = len(sire)
    start = np.zeros(n + 1, np.int64)
    for i in range(n):
        if min(sire[i], dam[i]) >= 0 and sire[i] != dam[i]:
            start[max(sire[i], dam[i]) + 1] += 1
    for k in range(n):
        start[k + 1] += start[k]
    end = start[:-1].copy()
    animals = np.empty(start[n], np.int32)
    for i in range(n):
        if min(sire[i], dam[i]) >= 0 and sire[i] != dam[i]:
            later = max(sire[i], dam[i])
            animals[end[later]] = i
            end[later] += 1
    return start, animals


@njit(cache=True)
def lower_precision(sire, dam, weight):
    """Lower triangle of Σ_i weight_i (1, −½, −½)(1, −½, −½)' over every animal and its parents, by columns.

    Row r holds the animal itself, its parents, and the earlier of two mates whose later one it is. Rows are filled in
    ascending order, so that those of a column come sorted, and what meets an entry again finds it at the column's end.

    Returns
    -------
    indptr, indices, data : the diagonal first in its column
    """
    n = len(sire)
    start, offspring = _by_later_parent(sire, dam)
    diagonal = weight.copy()
    for i in range(n):
        if sire[i] >= 0 and sire[i] == dam[i]:
            diagonal[sire[i]] += weight[i]
            continue
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                diagonal[parent] += 0.25 * weight[i]
    indptr, last = np.zeros(n + 1, np.int64), np.full(n, -1, np.int32)
    for r in range(n):
        indptr[r + 1] += 1
        for parent in (sire[r], dam[r]):
            if parent >= 0 and last[parent] != r:
                last[parent] = r
                indptr[parent + 1] += 1
        for k in range(start[r], start[r + 1]):
            mate = min(sire[offspring[k]], dam[offspring[k]])
            if last[mate] != r:
                last[mate] = r
                indptr[mate + 1] += 1
    for j in range(n):
        indptr[j + 1] += indptr[j]
    end = indptr[:-1].copy()
    indices, data = np.empty(indptr[n], np.int32), np.empty(indptr[n])
    for r in range(n):
        indices[end[r]], data[end[r]] = r, diagonal[r]
        end[r] += 1
        for parent in (sire[r], dam[r]):
            if parent >= 0:
                _add_to_column(parent, r, -0.5 * weight[r], end, indices, data)
        for k in range(start[r], start[r + 1]):
            i = offspring[k]
            _add_to_column(min(sire[i], dam[i]), r, 0.25 * weight[i], end, indices, data)
    return indptr, indices, data


@njit(cache=True)
def _add_to_column(column, row, value, end, indices, data):
    """Add to the entry of a row that is no earlier than the last one of the column, whose end moves if it is later."""
    at = end[column] - 1
    if indices[at] == row:
        data[at] += value
    else:
        indices[at + 1], data[at + 1] = row, value
        end[column] += 1


@njit(cache=True, nogil=True)
def deviations_in_place(sire, dam, V):
    """Overwrite V, shape (n, m), by T⁻¹ V: every animal less half of each parent's row."""
    n, m = V.shape
    for i in range(n - 1, -1, -1):
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                for j in range(m):
                    V[i, j] -= 0.5 * V[parent, j]


@njit(cache=True, nogil=True)
def from_offspring_in_place(sire, dam, V):
    """Overwrite V, shape (n, m), by T⁻ᵀ V: half of every animal's own row is taken from each parent's."""
    n, m = V.shape
    for i in range(n):
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                for j in range(m):
                    V[parent, j] -= 0.5 * V[i, j]
