"""Supernodes: runs of columns of L that share one pattern of rows, stored as dense panels.

A fundamental supernode is a run of columns, each the parent of the one before, whose patterns differ
only by the diagonal (Liu, Ng & Peyton 1993). *Relaxed amalgamation* (Ashcraft & Grimes 1989) joins a
supernode with its parent where that stores few zeros: larger dense blocks are worth some of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from remlblup.linalg.compiler import njit

# A merger may make a supernode of up to this many columns … with this share of stored zeros.
RELAXED = np.array([[4.0, 0.8], [16.0, 0.2], [48.0, 0.05]])


ALIGNED = 256
"""Columns that any tile of a panel lies within, see `panels` and `large_fronts`."""

WIDE = 2**18
"""Elements from which a panel is cleared by itself, some columns at a time."""


class Supernodes(NamedTuple):
    """The panels of L and how they hang together, in postorder.

    Attributes
    ----------
    first : (s + 1,) first column of each supernode
    rows_at : (s + 1,) where the rows of each panel start in `rows`
    rows : its columns themselves, then the rows below, ascending
    panel_at : (s + 1,) where each panel starts in the array of values, (height × width) column-major
    parent : (s,) parent supernode, -1 for a root
    relative : as `rows`: position of each row below in the parent's rows; unused for the columns
    n_children : (s,)
    """

    first: np.ndarray
    rows_at: np.ndarray
    rows: np.ndarray
    panel_at: np.ndarray
    parent: np.ndarray
    relative: np.ndarray
    n_children: np.ndarray

    @property
    def size(self) -> int:
        """Number of supernodes."""
        return len(self.parent)


class Entries(NamedTuple):
    """Entries of a symmetric matrix on the pattern of L, by supernodes.

    Attributes
    ----------
    starts : (s + 1,) where the entries in the columns of each supernode start in the other two
    order : number of each entry in the matrix
    places : where it stands in the panel of its supernode
    """

    starts: np.ndarray
    order: np.ndarray
    places: np.ndarray


def outline_supernodes(parent: np.ndarray, counts: np.ndarray) -> Supernodes:
    """Supernodes of L from its postordered elimination tree and column counts, which tell the numbers of their rows:
    enough to predict memory. The rows are to come."""
    first = amalgamate(parent, counts, fundamental_supernodes(parent, counts), RELAXED)
    last, width = first[1:] - 1, np.diff(first)
    height = width + counts[last] - 1
    rows_at = np.concatenate([np.zeros(1, np.int64), np.cumsum(height)])
    panel_at = np.concatenate([np.zeros(1, np.int64), np.cumsum(height * width)])
    supernode_of = np.repeat(np.arange(len(last), dtype=np.int32), width)
    up = parent[last]
    sn_parent = np.where(up >= 0, supernode_of[up], -1).astype(np.int32)
    none = np.zeros(0, np.int32)
    return Supernodes(first, rows_at, none, panel_at, sn_parent, none, number_of_children(sn_parent))


def number_of_children(parent: np.ndarray) -> np.ndarray:
    """Number of children of every supernode."""
    return np.bincount(parent[parent >= 0], minlength=len(parent)).astype(np.int32)


def with_rows(sn: Supernodes, indptr: np.ndarray, indices: np.ndarray) -> Supernodes:
    """The same, and their rows, for the permuted upper triangle of C (`symbolic.permuted_upper`)."""
    supernode_of = np.repeat(np.arange(sn.size, dtype=np.int32), np.diff(sn.first))
    return sn._replace(rows=panel_rows(indptr, indices, supernode_of, sn.parent, sn.first, sn.rows_at))


def with_relative_rows(sn: Supernodes) -> Supernodes:
    """The same, and where their rows stand among their parents'."""
    return sn._replace(relative=relative_rows(sn.first, sn.rows_at, sn.rows, sn.parent))


@njit("int64[::1](int32[::1], int64[::1])", cache=True)
def fundamental_supernodes(parent, counts):
    """First columns of the fundamental supernodes, and a closing n."""
    n = len(parent)
    starts = np.empty(n + 1, np.int64)
    count = 0
    for j in range(n):
        if j == 0 or parent[j - 1] != j or counts[j - 1] != counts[j] + 1:
            starts[count] = j
            count += 1
    starts[count] = n
    return starts[: count + 1].copy()


@njit("int64[::1](int32[::1], int64[::1], int64[::1], float64[:, ::1])", cache=True)
def amalgamate(parent, counts, first, relaxed):
    """Merge supernodes with their parents, children first, while the zeros stored stay few.

    Only the child that ends right before its parent's first column can merge: the columns stay a run.
    """
    s = len(first) - 1
    start = first[:-1].copy()  # first column of the (merged) supernode that ends with supernode k
    zeros = np.zeros(s)
    gone = np.zeros(s, np.bool_)
    previous = np.arange(-1, s - 1)  # the supernode that ends where this one starts
    for k in range(s):
        while True:
            child = previous[k]
            if child < 0 or parent[start[k] - 1] < start[k] or parent[start[k] - 1] >= first[k + 1]:
                break
            width = float(first[k + 1] - start[k])
            child_width = float(start[k] - start[child])
            below = float(counts[first[k + 1] - 1] - 1)
            child_below = float(counts[start[k] - 1] - 1)
            extra = child_width * (width + below - child_below)
            both = width + child_width
            total = both * (both + 1.0) / 2.0 + both * below
            share = (zeros[child] + zeros[k] + extra) / total
            allowed = zeros[child] + zeros[k] + extra == 0.0
            for r in range(len(relaxed)):
                if both <= relaxed[r, 0]:
                    allowed = allowed or share <= relaxed[r, 1]
            allowed = allowed or share <= relaxed[len(relaxed) - 1, 1]
            if not allowed:
                break
            zeros[k] += zeros[child] + extra
            start[k] = start[child]
            previous[k] = previous[child]
            gone[child] = True
    out = np.empty(s + 1, np.int64)
    count = 0
    for k in range(s):
        if not gone[k]:
            out[count] = start[k]
            count += 1
    out[count] = first[s]
    return out[: count + 1].copy()


@njit("int32[::1](int64[::1], int32[::1], int32[::1], int32[::1], int64[::1], int64[::1])", cache=True)
def panel_rows(indptr, indices, supernode_of, parent, first, rows_at):
    """Rows of each panel: its columns, then those below, ascending.

    Row i of L has entries in the supernodes on the paths from those of the entries of row i of C up to its own: the
    walk of `symbolic.column_counts` from supernode to supernode.
    """
    rows = np.empty(rows_at[-1], np.int32)
    end, seen = rows_at[:-1].copy(), np.full(len(parent), -1, np.int32)
    for i in range(len(supernode_of)):
        own = supernode_of[i]
        rows[rows_at[own] + i - first[own]] = i
        if i == first[own]:
            end[own] += first[own + 1] - first[own]
        for p in range(indptr[i], indptr[i + 1]):
            s = supernode_of[indices[p]]
            while s != own and seen[s] != i:
                seen[s] = i
                rows[end[s]] = i
                end[s] += 1
                s = parent[s]
    return rows


@njit("int32[::1](int64[::1], int64[::1], int32[::1], int32[::1])", cache=True)
def relative_rows(first, rows_at, rows, parent):
    """Where each row below a supernode stands among the rows of its parent."""
    relative = np.zeros(len(rows), np.int32)
    for s in range(len(parent)):
        if parent[s] < 0:
            continue
        at, end = rows_at[parent[s]], rows_at[parent[s] + 1]
        position = at
        for p in range(rows_at[s] + first[s + 1] - first[s], rows_at[s + 1]):
            step = 1
            while position + step < end and rows[position + step] <= rows[p]:  # gallop, then bisect
                position += step
                step *= 2
            while step > 0:
                if position + step < end and rows[position + step] <= rows[p]:
                    position += step
                step //= 2
            relative[p] = position - at
    return relative


@njit("int64[::1](int32[::1], int64[::1])", cache=True)
def stack_places(parent, size):
    """Places in a stack for blocks of which only those on one path of the tree are in use at a time.

    Each stands behind its parent's; siblings share a place, for in postorder (and in its reverse) one
    subtree is done with before the next begins. The first child even stands where its parent will: in
    postorder the parent's block opens only after it, in reverse the parent's is done with before it. So a
    chain needs no more than its largest block. The last element is the total needed.
    """
    n = len(parent)
    place = np.zeros(n + 1, np.int64)
    first_child = np.full(n, -1, np.int64)
    for s in range(n - 1, -1, -1):
        if parent[s] >= 0:
            first_child[parent[s]] = s
    for s in range(n - 1, -1, -1):
        if parent[s] >= 0:
            place[s] = place[parent[s]]
            if first_child[parent[s]] != s:
                place[s] += size[parent[s]]
        place[n] = max(place[n], place[s] + size[s])
    return place


@njit(cache=True, nogil=True)
def found_among(rows, low, high, row):
    """Where a row stands in rows[low : high + 1], which ascend and hold it: a binary search."""
    while low < high:
        middle = (low + high) // 2
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def places_in_panels(supernode_of, first, rows_at, rows, place_of, one, other, owners, places):
    """Supernode of the entries of C at rows one[i] and columns other[i], and their place in its panel.

    place_of : (n,) place of each row of C in the elimination
    """
    for i in range(len(one)):
        a, b = place_of[one[i]], place_of[other[i]]
        late, early = max(a, b), min(a, b)
        s = supernode_of[early]
        start, width = rows_at[s], first[s + 1] - first[s]
        if late < first[s + 1]:  # one of the columns, which come first
            low = start + late - first[s]
        else:
            low = found_among(rows, start + width, rows_at[s + 1] - 1, late)
        owners[i], places[i] = s, (early - first[s]) * (rows_at[s + 1] - start) + low - start


def by_supernode(size: int, owners: np.ndarray, places: np.ndarray) -> Entries:
    """Entries whose supernodes, and places in the panels of these, are known."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(owners, minlength=size))])
    numbers = np.empty(len(owners), np.int32 if len(owners) < 2**31 else np.int64)
    order = counting_sort(owners, starts[:-1].copy(), numbers)
    return Entries(starts, order, places[order])


@njit(cache=True, nogil=True)
def counting_sort(key, end, order):
    """Numbers of the elements by rising keys, equal ones as they come; each key's start moves to its end."""
    for i in range(len(key)):
        order[end[key[i]]] = i
        end[key[i]] += 1
    return order
