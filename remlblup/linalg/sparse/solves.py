"""Solves with the supernodal factor, panel by panel: forward up the tree, backward down."""

from __future__ import annotations

from remlblup.linalg.compiler import kernel


@kernel
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


@kernel
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
