"""The lower triangle of W'DW for a sparse W of many columns and a diagonal D, column by column.

Column j is the sum of d_i w_ij w_i over the records i that have an element there, cut to the rows from j on: what
stands behind w_ij in a row of W whose columns ascend. A column is summed over the records in their order, whichever
thread works on it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.linalg.compiler import njit
from remlblup.linalg.threads import n_threads, side_by_side

# How the rows of a column are put in order: few by insertion; those of a column with an element in one of so many rows
# at the least by looking at all of them.
FEW, FULL = 32, 16


def lower_product(W: sp.csr_array, transposed: sp.csr_array, weights: Array) -> tuple[np.ndarray, np.ndarray, Array]:
    """Column pointers, rows and values of the lower triangle of W'DW, for W and W' (CSR) and D's diagonal (n,).

    The columns of a row of W ascend.
    """
    m = W.shape[1]
    shared = W.indptr, W.indices, transposed.indptr, transposed.indices, np.empty(W.nnz, np.int32)
    find_elements(*shared, np.empty(m, np.int64))
    cuts = np.searchsorted(transposed.indptr, np.linspace(0, W.nnz, n_threads() + 1)[1:-1]).tolist()
    tasks, starts = list(pairwise([0, *cuts, m])), np.zeros(m + 1, np.int64)
    side_by_side(lambda begin, end: count_entries(begin, end, *shared, starts), tasks)
    np.cumsum(starts, out=starts)
    rows, values = np.empty(starts[-1], np.int32), np.empty(starts[-1])
    weights = np.require(weights, np.float64, ["C", "W"])  # compiled once
    side_by_side(lambda begin, end: add_entries(begin, end, *shared, W.data, weights, starts, rows, values), tasks)
    return starts, rows, values


@njit(cache=True, nogil=True)
def find_elements(of_record, columns, of_column, records, places, free):
    """Where the elements of the rows of W' stand among those of W.

    Parameters
    ----------
    of_record, columns : (n + 1,) and (nnz,) the rows of W
    of_column, records : (m + 1,) and (nnz,) the rows of W'
    places : (nnz,) what is found
    free : (m,) workspace
    """
    free[:] = of_column[:-1]
    for f in range(len(columns)):
        j = columns[f]
        places[free[j]] = f
        free[j] += 1


@njit(cache=True, nogil=True)
def count_entries(begin, end, of_record, columns, of_column, records, places, starts):
    """Entries of some columns of W'W from the diagonal on; that of column j into `starts` (m + 1,) at j + 1."""
    seen = np.full(len(starts) - 1, -1, np.int32)
    for j in range(begin, end):
        count = 0
        for e in range(of_column[j], of_column[j + 1]):
            for f in range(places[e], of_record[records[e] + 1]):
                if seen[columns[f]] != j:
                    seen[columns[f]] = j
                    count += 1
        starts[j + 1] = count


@njit(cache=True, nogil=True)
def add_entries(begin, end, of_record, columns, of_column, records, places, data, weights, starts, rows, values):
    """Rows (ascending) and values of the same columns of W'DW; `starts` (m + 1,) says where each begins."""
    m = len(starts) - 1
    seen, total = np.full(m, -1, np.int32), np.empty(m)
    for j in range(begin, end):
        first = last = starts[j]
        for e in range(of_column[j], of_column[j + 1]):
            weighted = data[places[e]] * weights[records[e]]
            for f in range(places[e], of_record[records[e] + 1]):
                k = columns[f]
                if seen[k] != j:
                    seen[k], total[k] = j, 0.0
                    rows[last] = k
                    last += 1
                total[k] += weighted * data[f]
        put_in_order(rows, first, last, j, seen)
        for at in range(first, last):
            values[at] = total[rows[at]]


@njit(cache=True, nogil=True)
def put_in_order(rows, first, last, j, seen):
    """Sort the rows of column j, those that were `seen` in it."""
    if last - first <= FEW:
        for at in range(first + 1, last):
            row, to = rows[at], at
            while to > first and rows[to - 1] > row:
                rows[to] = rows[to - 1]
                to -= 1
            rows[to] = row
    elif (last - first) * FULL < len(seen) - j:
        rows[first:last].sort()
    else:
        at = first
        for row in range(j, len(seen)):
            if seen[row] == j:
                rows[at] = row
                at += 1
