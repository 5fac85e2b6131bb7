"""Solves with the supernodal factor, panel by panel: forward up the tree, backward down."""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import kernel
from remlblup.linalg.sparse.blas import (
    solve_lower,
    solve_lower_transposed,
    solve_right_lower,
    solve_right_lower_transposed,
)

WIDE = 128
"""Columns of a supernode from which its triangle is solved with by BLAS."""


@kernel
def forward_solve(first, rows_at, rows, panel_at, panels, dependent, X):
    """X (n, k) ← L⁻¹ X, in permuted order; dependent equations give zero.

    A supernode whose rows are zero, as those are that come before the first entry of a unit column, is passed over.
    """
    k = X.shape[1]
    for s in range(len(first) - 1):
        if not np.any(X[first[s] : first[s + 1]]):
            continue
        height, width = rows_at[s + 1] - rows_at[s], first[s + 1] - first[s]
        start = 0
        if width >= WIDE:
            start = width
            solve_triangle(first[s], width, height, panel_at[s], panels, dependent, X, False)
        for j in range(width):
            column = first[s] + j
            at = panel_at[s] + j * height
            if width < WIDE:
                inverse = 0.0 if dependent[column] else 1.0 / panels[at + j]
                for c in range(k):
                    X[column, c] *= inverse
            for i in range(max(j + 1, start), height):
                value = panels[at + i]
                row = rows[rows_at[s] + i]
                for c in range(k):
                    X[row, c] -= value * X[column, c]


@kernel
def backward_solve(first, rows_at, rows, panel_at, panels, dependent, X):
    """X (n, k) ← L⁻ᵀ X, in permuted order."""
    k = X.shape[1]
    for s in range(len(first) - 2, -1, -1):
        height, width = rows_at[s + 1] - rows_at[s], first[s + 1] - first[s]
        start = width if width >= WIDE else 0
        for j in range(width - 1, -1, -1):
            column = first[s] + j
            at = panel_at[s] + j * height
            for i in range(max(j + 1, start), height):
                value = panels[at + i]
                row = rows[rows_at[s] + i]
                for c in range(k):
                    X[column, c] -= value * X[row, c]
            if width < WIDE:
                inverse = 0.0 if dependent[column] else 1.0 / panels[at + j]
                for c in range(k):
                    X[column, c] *= inverse
        if width >= WIDE:
            solve_triangle(first[s], width, height, panel_at[s], panels, dependent, X, True)


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
        solve_right_lower(k, width, panel, height, start, k)
    else:
        solve_right_lower_transposed(k, width, panel, height, start, k)
