"""Solves with the supernodal factor, panel by panel: forward up the tree, backward down.

As in the factorisation, subtrees are worked on side by side and the top of the tree by itself. What a subtree takes
from the rows outside it, which are those below its root, stands behind the n rows of X until the top comes by.
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import kernel
from remlblup.linalg.sparse.blas import (
    gemm_nn,
    gemm_nt,
    solve_lower,
    solve_lower_transposed,
    solve_right_lower,
    solve_right_lower_transposed,
)

WIDE = 128
"""Columns of a supernode from which its triangle is solved with by BLAS."""

BLOCK = 64
"""Of these so many at a time: dtrsm of a few right-hand sides is slower than the products in its place."""


@kernel
def forward_solve(begin, end, top, sn, plan, panels, dependent, permutation, B, X, place):
    """X ← L⁻¹ B, in permuted order, for the columns of some supernodes; dependent equations give zero.

    A supernode whose rows are zero, as those are that come before the first entry of a unit column, is passed over.

    Parameters
    ----------
    begin, end, top : as in `multifrontal.factorize`
    permutation : (n,) the row of B of each row of X
    B, X : (n, k) and (n + rows below the roots of all subtrees, k)
    place : (n,) workspace: where a row outside the subtree stands behind the others
    """
    first, rows_at, rows, panel_at = sn.first, sn.rows_at, sn.rows, sn.panel_at
    gather_rows(begin, end, top, first, plan, permutation, B, X)
    last = len(permutation) if top else first[end]
    if not top:
        open_outer(end - 1, sn, len(permutation) + plan.outer_at[end - 1], X, place)
    k, s = X.shape[1], begin
    while s < end:
        if top and plan.enter[s] > 0:
            s = plan.enter[s]
            add_outer(s - 1, sn, len(permutation) + plan.outer_at[s - 1], X)
            continue
        if not np.any(X[first[s] : first[s + 1]]):
            s += 1
            continue
        height, width = rows_at[s + 1] - rows_at[s], first[s + 1] - first[s]
        start = width if width >= WIDE else 0
        if width >= WIDE:
            solve_triangle(first[s], width, height, panel_at[s], panels, dependent, X, False)
        for j in range(width):
            column, at = first[s] + j, panel_at[s] + j * height
            if width < WIDE:
                inverse = 0.0 if dependent[column] else 1.0 / panels[at + j]
                for c in range(k):
                    X[column, c] *= inverse
            factor = X[column, 0]
            for i in range(max(j + 1, start), height):
                row = rows[rows_at[s] + i]
                if row >= last:
                    row = place[row]
                if k == 1:
                    X[row, 0] -= panels[at + i] * factor
                else:
                    for c in range(k):
                        X[row, c] -= panels[at + i] * X[column, c]
        s += 1


@kernel
def backward_solve(begin, end, top, sn, plan, panels, dependent, permutation, X, solution):
    """X ← L⁻ᵀ X for the columns of some supernodes, and there as rows of the solution."""
    first, rows_at, rows, panel_at = sn.first, sn.rows_at, sn.rows, sn.panel_at
    k, s = X.shape[1], end - 1
    while s >= begin:
        if top and plan.leave[s] > 0:
            s = plan.leave[s] - 2
            continue
        height, width = rows_at[s + 1] - rows_at[s], first[s + 1] - first[s]
        start = width if width >= WIDE else 0
        for j in range(width - 1, -1, -1):
            column, at = first[s] + j, panel_at[s] + j * height
            if k == 1:
                total = X[column, 0]
                for i in range(max(j + 1, start), height):
                    total -= panels[at + i] * X[rows[rows_at[s] + i], 0]
                X[column, 0] = total
            else:
                for i in range(max(j + 1, start), height):
                    value, row = panels[at + i], rows[rows_at[s] + i]
                    for c in range(k):
                        X[column, c] -= value * X[row, c]
            if width < WIDE:
                inverse = 0.0 if dependent[column] else 1.0 / panels[at + j]
                for c in range(k):
                    X[column, c] *= inverse
        if width >= WIDE:
            solve_triangle(first[s], width, height, panel_at[s], panels, dependent, X, True)
        for j in range(first[s], first[s + 1]):
            for c in range(k):
                solution[permutation[j], c] = X[j, c]
        s -= 1


@kernel
def gather_rows(begin, end, top, first, plan, permutation, B, X):
    """The rows of B that belong to the columns of some supernodes."""
    s = begin
    while s < end:
        if top and plan.enter[s] > 0:
            s = plan.enter[s]
            continue
        for j in range(first[s], first[s + 1]):
            for c in range(X.shape[1]):
                X[j, c] = B[permutation[j], c]
        s += 1


@kernel
def open_outer(root, sn, at, X, place):
    """Set to zero what is taken from the rows below a root, from row `at` of X on."""
    rows = sn.rows[sn.rows_at[root] + sn.first[root + 1] - sn.first[root] : sn.rows_at[root + 1]]
    for i in range(len(rows)):
        place[rows[i]] = at + i
        for c in range(X.shape[1]):
            X[at + i, c] = 0.0


@kernel
def add_outer(root, sn, at, X):
    """What a subtree has taken from the rows below its root."""
    rows = sn.rows[sn.rows_at[root] + sn.first[root + 1] - sn.first[root] : sn.rows_at[root + 1]]
    for i in range(len(rows)):
        for c in range(X.shape[1]):
            X[rows[i], c] += X[at + i, c]


@kernel
def solve_triangle(first, width, height, at, panels, dependent, X, transposed):
    """The columns of a supernode among themselves; the column of a dependent one is that of an identity."""
    k = X.shape[1]
    for j in range(first, first + width):
        if dependent[j]:
            for c in range(k):
                X[j, c] = 0.0
    panel, start = panels.ctypes.data + 8 * at, X.ctypes.data + 8 * first * k
    # By columns, as BLAS reads them, these rows of X are X' (k, width).
    if k == 1 and transposed:
        solve_lower_transposed(width, panel, height, start, k)
    elif k == 1:
        solve_lower(width, panel, height, start, k)
    elif transposed:
        divide_backward(k, width, panel, height, start)
    else:
        divide_forward(k, width, panel, height, start)


@kernel
def divide_forward(k, n, a, lda, x):
    """X (k, n) ← X A⁻ᵀ with A (n, n) lower triangular."""
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        own = x + 8 * k * first
        solve_right_lower_transposed(k, last - first, a + 8 * (first * lda + first), lda, own, k)
        if last < n:
            below = a + 8 * (first * lda + last)
            gemm_nt(k, n - last, last - first, -1.0, own, k, below, lda, 1.0, x + 8 * k * last, k)


@kernel
def divide_backward(k, n, a, lda, x):
    """X (k, n) ← X A⁻¹ with A (n, n) lower triangular."""
    for first in range((n - 1) // BLOCK * BLOCK, -1, -BLOCK):
        last = min(first + BLOCK, n)
        own = x + 8 * k * first
        if last < n:
            below = a + 8 * (first * lda + last)
            gemm_nn(k, last - first, n - last, -1.0, x + 8 * k * last, k, below, lda, 1.0, own, k)
        solve_right_lower(k, last - first, a + 8 * (first * lda + first), lda, own, k)
