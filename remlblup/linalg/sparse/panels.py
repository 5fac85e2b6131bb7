"""Cholesky factorisation of one panel: dense, column-major, by blocks of columns.

A pivot not above 1e-12 (`factor.DEPENDENT_PIVOT`) of the original diagonal of its equation, |c_jj| in C, is zero and
marks the equation as *dependent*: the column becomes that of an identity matrix, and the row plays no part. (Of a
positive semidefinite C elimination only lowers the diagonal, so that the original is also the largest it has been.)
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import kernel, njit
from remlblup.linalg.sparse.blas import gemm_nt, solve_right_lower_transposed
from remlblup.linalg.sparse.supernodes import ALIGNED, WIDE

TILE = 128
"""Columns that are complete before those to their right are updated."""

BLOCK = 32
"""Columns factorised at a time inside a tile."""

NARROW = 8
"""Blocks of fewer columns, or with fewer rows below, do without BLAS."""


@kernel
def factorize_panel(panel, height, width, reference, dependent, column, tolerance):
    """Cholesky of a panel (height × width); -1, or the column where a pivot is negative.

    Parameters
    ----------
    reference, dependent, tolerance : as in `multifrontal.factorize`
    column : number of the panel's first column
    """
    for start in range(0, width, TILE):
        stop = min(start + TILE, width)
        failed = factorize_tile(panel, height, start, stop, height, reference, dependent, column, tolerance)
        if failed >= 0:
            return failed
        for left in range(stop, width, TILE):
            update_columns(panel, height, start, stop, left, min(left + TILE, width), left, height)
    return -1


@kernel
def factorize_tile(panel, height, first, last, last_row, reference, dependent, column, tolerance):
    """Columns first … last, complete already but for what they do to each other, for the rows up to last_row."""
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        plain = stop - start < NARROW or last_row - stop < NARROW
        failed = factorize_block(
            panel, height, start, stop, last_row if plain else stop, reference, dependent, column, tolerance
        )
        if failed >= 0:
            return failed
        if not plain:
            divide_rows(panel, height, start, stop, stop, last_row, dependent, column)
        if stop < last:
            update_columns(panel, height, start, stop, stop, last, stop, last_row)
    return -1


@kernel
def factorize_block(panel, height, start, stop, last_row, reference, dependent, column, tolerance):
    """Columns start … stop one by one, each updated by those before it, for the rows up to last_row."""
    for j in range(start, stop):
        own = panel[j * height : j * height + last_row]
        for k in range(start, j):
            other = panel[k * height : k * height + last_row]
            factor = other[j]
            if factor != 0.0:
                for i in range(j, last_row):
                    own[i] -= factor * other[i]
        pivot = own[j]
        if abs(pivot) <= tolerance * reference[column + j]:
            if is_indefinite(panel, height, j, stop, reference, column, tolerance):
                return column + j
            mark_dependent(panel, height, j, dependent, column)
            continue
        if not pivot > 0.0:
            return column + j
        root = np.sqrt(pivot)
        inverse = 1.0 / root
        own[j] = root
        for i in range(j + 1, last_row):
            own[i] *= inverse
    return -1


@njit(cache=True, nogil=True, inline="always")
def mark_dependent(panel, height, j, dependent, column):
    """The equation of a zero pivot is left out: its row inside the panel is zero, its column that of an identity."""
    dependent[column + j] = True
    for k in range(j):
        panel[k * height + j] = 0.0
    for i in range(j, height):
        panel[j * height + i] = 0.0
    panel[j * height + j] = 1.0


@kernel
def is_indefinite(panel, height, j, stop, reference, column, tolerance):
    """Whether the zero pivot of column j stands beside nonzeros, which no positive semidefinite matrix has."""
    own = panel[j * height : (j + 1) * height]
    for i in range(j + 1, height):
        if reference[column + j] == 0.0 and own[i] != 0.0:
            return True
    for i in range(j + 1, stop):
        if own[i] ** 2 > 1e4 * tolerance * reference[column + i] * reference[column + j]:
            return True
    return False


@kernel
def divide_rows(panel, height, start, stop, row, last_row, dependent, column):
    """Rows row … last_row of the columns start … stop, times the inverse transpose of their diagonal block."""
    address = panel.ctypes.data
    for first in range(start, stop, BLOCK):  # dtrsm of many columns runs at half the rate of its parts
        last = min(first + BLOCK, stop)
        corner, target = address + 8 * (first * height + first), address + 8 * (first * height + row)
        solve_right_lower_transposed(last_row - row, last - first, corner, height, target, height)
        for j in range(first, last):
            if dependent[column + j]:
                for i in range(row, last_row):
                    panel[j * height + i] = 0.0
        if last < stop:
            update_columns(panel, height, first, last, last, stop, row, last_row)


@kernel
def update_columns(panel, height, start, stop, left, right, row, last_row):
    """Rows row … last_row of the columns left … right less what the columns start … stop contribute."""
    address = panel.ctypes.data + 8 * start * height
    gemm_nt(last_row - row, right - left, stop - start, -1.0, address + 8 * row, height, address + 8 * left, height,
            1.0, panel.ctypes.data + 8 * (left * height + row), height)  # fmt: skip


@kernel
def clear_columns(panel, height, left, right):
    """Some columns of a wide panel, of which nothing above the blocks on the diagonal is ever looked at."""
    for j in range(left, right):
        for at in range(j * height + j // ALIGNED * ALIGNED, (j + 1) * height):
            panel[at] = 0.0


@kernel
def load_matrix(begin, end, values, entries, panel_at, panels):
    """Values of C into the panels of some supernodes, of which those that are wide have been cleared."""
    for s in range(begin, end):
        panel = panels[panel_at[s] : panel_at[s + 1]]
        if len(panel) < WIDE:
            for at in range(len(panel)):
                panel[at] = 0.0
        for k in range(entries.starts[s], entries.starts[s + 1]):
            panel[entries.places[k]] = values[entries.order[k]]


@kernel
def log_determinant(panels, diagonal, dependent):
    """Σ log L_jj over the independent equations; compensated summation (Neumaier 1974)."""
    total, lost = 0.0, 0.0
    for j in range(len(diagonal)):
        if not dependent[j]:
            value = np.log(panels[diagonal[j]])
            new = total + value
            lost += (total - new) + value if abs(total) >= abs(value) else (value - new) + total
            total = new
    return total + lost
