"""Supernodal multifrontal Cholesky, and the solves with its factor.

Duff & Reid 1983; Liu 1992. Supernodes come in postorder. The *front* of supernode s has
the rows of its panel; its columns are eliminated, and the *update matrix* U = −L_b L_b' over the rows
below is added into the parent (*extend-add*) as soon as it is complete, so that only the update
matrices of one path of the tree are open at a time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from remlblup.linalg.blas import (
    gemm_nt,
    solve_right_lower_transposed,
    syrk_lower,
)

# Columns factorised at a time inside a panel, and the work below which plain loops beat a BLAS call.
BLOCK = 32
SMALL = 2000


@njit(cache=True, nogil=True)
def factorize(begin, end, top, enter, pending_at, pending, first, rows_at, panel_at, parent, relative, n_children,
              update_at, panels, reference, dependent, tolerance, arena, work, letters):  # fmt: skip
    """Overwrite the panels of C by those of L; returns the column where a pivot is negative, or -1.

    Parameters
    ----------
    begin, end, top : the supernodes of one subtree, whose root leaves its update matrix in `pending`; or all of
        them with `top` set, when those inside subtrees are passed over (see `linalg.schedule`)
    enter, pending_at : where subtrees start, and the places of their roots in `pending`
    panels : values of C scattered onto the panels
    reference : (n,) magnitude of the diagonal of C; a pivot within `tolerance` of it
        is zero and its equation `dependent`
    arena : workspace for the update matrices that are open, at `update_at`
    work : workspace for the update matrix of a supernode without children
    """
    ints, reals = np.empty(8, np.int32), np.empty(2, np.float64)
    opened = np.zeros(end - begin, np.bool_)
    base = np.int64(0) if top else update_at[end - 1]
    following = begin
    while following < end:
        s = following
        following += 1
        if top and enter[s] > 0:
            following = enter[s]
            s = enter[s] - 1
            width = first[s + 1] - first[s]
            below = rows_at[s + 1] - rows_at[s] - width
            if below > 0:
                hand_up(s, width, below, pending[pending_at[s] : pending_at[s + 1]], first, rows_at, panel_at, parent,
                        relative, update_at, panels, opened, arena, begin, base)  # fmt: skip
            continue
        width = first[s + 1] - first[s]
        height = rows_at[s + 1] - rows_at[s]
        below = height - width
        panel = panels[panel_at[s] : panel_at[s + 1]]
        failed = eliminate(panel, height, width, reference, dependent, first[s], tolerance, letters, ints, reals)
        if failed >= 0:
            return failed
        if below == 0:
            continue
        has_children = n_children[s] > 0
        update = (
            arena[update_at[s] - base : update_at[s] - base + below * below] if has_children else work[: below * below]
        )
        if not top and s == end - 1:
            update_matrix(panel, height, width, below, update, has_children, letters, ints, reals)
            pending[pending_at[s] : pending_at[s + 1]] = update
            continue
        if not has_children and below * below * width < SMALL:
            p = parent[s]
            p_width = first[p + 1] - first[p]
            p_height = rows_at[p + 1] - rows_at[p]
            p_below = p_height - p_width
            p_update = arena[update_at[p] - base : update_at[p] - base + p_below * p_below]
            if not opened[p - begin]:
                opened[p - begin] = True
                p_update[:] = 0.0
            subtract_product(panel, height, width, below, relative[rows_at[s] + width : rows_at[s + 1]],
                             panels[panel_at[p] : panel_at[p + 1]], p_height, p_width, p_update, p_below)  # fmt: skip
            continue
        update_matrix(panel, height, width, below, update, has_children, letters, ints, reals)
        if has_children and not opened[parent[s] - begin]:
            # The parent's update matrix opens where this one stands: step aside.
            work[: below * below] = update
            update = work[: below * below]
        hand_up(s, width, below, update, first, rows_at, panel_at, parent, relative, update_at, panels, opened, arena,
                begin, base)  # fmt: skip
    return -1


@njit(cache=True, nogil=True)
def hand_up(s, width, below, update, first, rows_at, panel_at, parent, relative, update_at, panels, opened, arena, begin,
            base):  # fmt: skip
    """Add the update matrix of s into its parent, whose own is set to zero before its first child's comes."""
    p = parent[s]
    p_width = first[p + 1] - first[p]
    p_height = rows_at[p + 1] - rows_at[p]
    p_below = p_height - p_width
    p_update = arena[update_at[p] - base : update_at[p] - base + p_below * p_below]
    if not opened[p - begin]:
        opened[p - begin] = True
        p_update[:] = 0.0
    extend_add(update, below, relative[rows_at[s] + width : rows_at[s + 1]], panels[panel_at[p] : panel_at[p + 1]],
               p_height, p_width, p_update, p_below)  # fmt: skip


@njit(cache=True, nogil=True)
def subtract_product(panel, height, width, below, at, p_panel, p_height, p_width, p_update, p_below):
    """`update_matrix` and `extend_add` in one, for a small supernode without children."""
    for k in range(width):
        column = panel[k * height + width : (k + 1) * height]
        for j in range(below):
            factor = column[j]
            if factor == 0.0:
                continue
            if at[j] < p_width:
                target = p_panel[at[j] * p_height : (at[j] + 1) * p_height]
                for i in range(j, below):
                    target[at[i]] -= factor * column[i]
            else:
                target = p_update[(at[j] - p_width) * p_below : (at[j] - p_width + 1) * p_below]
                for i in range(j, below):
                    target[at[i] - p_width] -= factor * column[i]


@njit(cache=True, nogil=True)
def eliminate(panel, height, width, reference, dependent, column, tolerance, letters, ints, reals):
    """Cholesky of the panel (height × width, column-major) by blocks of columns; -1, or the failing column."""
    address = panel.ctypes.data
    for start in range(0, width, BLOCK):
        stop = min(start + BLOCK, width)
        size = stop - start
        failed = eliminate_columns(panel, height, start, stop, reference, dependent, column, tolerance,
                                   stop if height - stop > 8 else height)  # fmt: skip
        if failed >= 0:
            return failed
        rest = height - stop
        corner = address + 8 * (start * height + start)
        if rest > 8:
            beneath = address + 8 * (start * height + stop)
            solve_right_lower_transposed(rest, size, corner, height, beneath, height, letters, ints, reals)
            clear_dependent(panel, height, start, stop, dependent, column)
        if stop < width:
            if rest <= 8:
                update_columns(panel, height, start, stop, width)
            else:
                beneath = address + 8 * (start * height + stop)
                gemm_nt(rest, width - stop, size, -1.0, beneath, height, beneath, height, 1.0,
                        address + 8 * (stop * height + stop), height, letters, ints, reals)  # fmt: skip
    return -1


@njit(cache=True, nogil=True)
def eliminate_columns(panel, height, start, stop, reference, dependent, column, tolerance, last_row):
    """Columns start … stop, each updated by those before it in the block, for the rows up to last_row."""
    for j in range(start, stop):
        at = j * height
        for k in range(start, j):
            other = k * height
            factor = panel[other + j]
            if factor != 0.0:
                for i in range(j, last_row):
                    panel[at + i] -= factor * panel[other + i]
        pivot = panel[at + j]
        if abs(pivot) <= tolerance * reference[column + j]:
            if reference[column + j] == 0.0 and np.any(panel[at + j + 1 : at + height] != 0.0):
                return column + j  # a zero diagonal beside nonzeros: indefinite, not dependent
            for i in range(j + 1, stop):
                if panel[at + i] ** 2 > 1e4 * tolerance * reference[column + i] * reference[column + j]:
                    return column + j  # a zero pivot beside nonzeros, likewise
            dependent[column + j] = True
            for k in range(j):  # the row of a dependent equation plays no part inside the supernode either
                panel[k * height + j] = 0.0
            for i in range(j, height):
                panel[at + i] = 0.0
            panel[at + j] = 1.0
            continue
        if not pivot > 0.0:
            return column + j
        root = np.sqrt(pivot)
        panel[at + j] = root
        inverse = 1.0 / root
        for i in range(j + 1, last_row):
            panel[at + i] *= inverse
    return -1


@njit(cache=True, nogil=True)
def clear_dependent(panel, height, start, stop, dependent, column):
    """Rows below a dependent column are zero."""
    for j in range(start, stop):
        if dependent[column + j]:
            for i in range(stop, height):
                panel[j * height + i] = 0.0


@njit(cache=True, nogil=True)
def update_columns(panel, height, start, stop, width):
    """The columns after `stop` less what the block start … stop contributes (few rows)."""
    for j in range(stop, width):
        for k in range(start, stop):
            factor = panel[k * height + j]
            for i in range(j, height):
                panel[j * height + i] -= factor * panel[k * height + i]


@njit(cache=True, nogil=True)
def update_matrix(panel, height, width, below, update, opened, letters, ints, reals):
    """Lower triangle of U ← U − L_b L_b' (U starts at zero unless children have been added)."""
    if below * below * width < SMALL:
        for j in range(below):
            at = j * below
            if not opened:
                for i in range(j, below):
                    update[at + i] = 0.0
            for k in range(width):
                other = k * height + width
                factor = panel[other + j]
                if factor != 0.0:
                    for i in range(j, below):
                        update[at + i] -= factor * panel[other + i]
        return
    syrk_lower(below, width, -1.0, panel.ctypes.data + 8 * width, height, 1.0 if opened else 0.0,
               update.ctypes.data, below, letters, ints, reals)  # fmt: skip


@njit(cache=True, nogil=True)
def extend_add(update, below, relative, panel, height, width, parent_update, parent_below):
    """Add the lower triangle of a child's update matrix into its parent's panel and update matrix."""
    for j in range(below):
        column = relative[j]
        source = j * below
        if column < width:
            target = column * height
            for i in range(j, below):
                panel[target + relative[i]] += update[source + i]
        else:
            target = (column - width) * parent_below - width
            for i in range(j, below):
                parent_update[target + relative[i]] += update[source + i]


@njit(cache=True, nogil=True)
def forward_solve(first, rows_at, rows, panel_at, panels, dependent, X):
    """X (n, k) ← L⁻¹ X, in permuted order; dependent equations give zero."""
    k = X.shape[1]
    for s in range(len(first) - 1):
        height = rows_at[s + 1] - rows_at[s]
        for j in range(first[s + 1] - first[s]):
            column = first[s] + j
            at = panel_at[s] + j * height
            inverse = 0.0 if dependent[column] else 1.0 / panels[at + j]
            for c in range(k):
                X[column, c] *= inverse
            for i in range(j + 1, height):
                value = panels[at + i]
                row = rows[rows_at[s] + i]
                for c in range(k):
                    X[row, c] -= value * X[column, c]


@njit(cache=True, nogil=True)
def backward_solve(first, rows_at, rows, panel_at, panels, dependent, X):
    """X (n, k) ← L⁻ᵀ X, in permuted order."""
    k = X.shape[1]
    for s in range(len(first) - 2, -1, -1):
        height = rows_at[s + 1] - rows_at[s]
        for j in range(first[s + 1] - first[s] - 1, -1, -1):
            column = first[s] + j
            at = panel_at[s] + j * height
            for i in range(j + 1, height):
                value = panels[at + i]
                row = rows[rows_at[s] + i]
                for c in range(k):
                    X[column, c] -= value * X[row, c]
            inverse = 0.0 if dependent[column] else 1.0 / panels[at + j]
            for c in range(k):
                X[column, c] *= inverse
