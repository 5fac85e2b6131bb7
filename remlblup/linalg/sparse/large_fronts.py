"""Fronts large enough for all threads together: the steps of a panel cut into tiles.

The tiles are the same for any number of threads, and each element is summed inside one tile: so are the digits.
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.sparse import inverse_multifrontal, multifrontal
from remlblup.linalg.sparse.inverse_multifrontal import (
    clear_dependent,
    complete_corner,
    invert_corner,
    multiply_rows,
    scale_rows,
)
from remlblup.linalg.sparse.multifrontal import form_update_columns
from remlblup.linalg.sparse.panels import divide_rows, factorize_tile, update_columns
from remlblup.linalg.sparse.schedule import LARGE_BLOCK, Plan
from remlblup.linalg.sparse.supernodes import Entries, Supernodes
from remlblup.linalg.threads import side_by_side

TILE, COLUMNS = 256, 128
"""Columns that are complete before those to their right are updated, and columns of a tile of these."""

ROWS = 640
"""The most rows of a tile: of a front of thousands of rows every column of a tile is in another page of memory."""


def factorize(
    s: int,
    sn: Supernodes,
    plan: Plan,
    pending: np.ndarray,
    panels: np.ndarray,
    reference: np.ndarray,
    dependent: np.ndarray,
    tolerance: float,
    opened: np.ndarray,
    arena: np.ndarray,
    work: np.ndarray,
) -> int:
    """One supernode of the top, as in `multifrontal.factorize`."""
    height, width = sn.rows_at[s + 1] - sn.rows_at[s], sn.first[s + 1] - sn.first[s]
    panel = panels[sn.panel_at[s] : sn.panel_at[s + 1]]
    failed = factorize_panel(panel, height, width, reference, dependent, sn.first[s], tolerance)
    if failed >= 0:
        return failed
    if sn.n_children[s] > 0:
        update = multifrontal.open_update_matrix(s, -1, sn, plan, pending, opened, arena)
        form_update_matrix(panel, height, width, update, 1.0)
        update = multifrontal.move_update(s, update, sn, opened, work)
    else:
        update = work.ctypes.data
        form_update_matrix(panel, height, width, update, 0.0)
    if sn.parent[s] >= 0:
        p_update = multifrontal.open_update_matrix(sn.parent[s], -1, sn, plan, pending, opened, arena)
        extend_add(s, update, sn, panels, p_update)
    return -1


def extend_add(s: int, update: int, sn: Supernodes, panels: np.ndarray, p_update: int) -> None:
    """As `multifrontal.extend_add`."""

    def add(left: int, right: int) -> None:
        multifrontal.add_columns(s, update, left, right, sn, panels, p_update)

    below = int(sn.rows_at[s + 1] - sn.rows_at[s] - (sn.first[s + 1] - sn.first[s]))
    side_by_side(add, tiles(0, below, COLUMNS), below**2)


def selected_inverse(
    s: int,
    sn: Supernodes,
    plan: Plan,
    pending: np.ndarray,
    panels: np.ndarray,
    dependent: np.ndarray,
    entries: Entries,
    values: np.ndarray,
    arena: np.ndarray,
    block: np.ndarray,
    product: np.ndarray,
) -> None:
    """One supernode of the top, as in `inverse_multifrontal.selected_inverse`."""
    height, width = sn.rows_at[s + 1] - sn.rows_at[s], sn.first[s + 1] - sn.first[s]
    front = inverse_multifrontal.inverse_front(s, -1, sn, plan, pending, arena, block)
    inverse_multifrontal.gather_front(s, -1, sn, plan, pending, arena, block, front)
    panel = panels[sn.panel_at[s] : sn.panel_at[s + 1]]
    invert_front(panel, height, width, front, dependent[sn.first[s] : sn.first[s + 1]], product)
    inverse_multifrontal.take_entries(s, front, entries, values)


def tiles(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    """The parts start … stop is cut into."""
    return [(left, min(left + size, stop)) for left in range(start, stop, size)]


def strips(start: int, stop: int) -> list[tuple[int, int]]:
    """Rows start … stop in an even number of tiles, for an odd one would leave the last to one thread of two."""
    pairs = -(-(stop - start) // (2 * ROWS))
    return tiles(start, stop, -(-(stop - start) // max(2 * pairs, 1)) or 1)


def factorize_panel(
    panel: np.ndarray,
    height: int,
    width: int,
    reference: np.ndarray,
    dependent: np.ndarray,
    column: int,
    tolerance: float,
) -> int:
    """As `panels.factorize_panel`."""
    for start in range(0, width, TILE):
        stop = min(start + TILE, width)
        failed = factorize_tile(panel, height, start, stop, stop, reference, dependent, column, tolerance)
        if failed >= 0:
            return failed

        def divide(row: int, last: int, start: int = start, stop: int = stop) -> None:
            divide_rows(panel, height, start, stop, row, last, dependent, column)

        def update(left: int, right: int, start: int = start, stop: int = stop) -> None:
            update_columns(panel, height, start, stop, left, right, left, height)

        side_by_side(divide, strips(stop, height))
        side_by_side(update, tiles(stop, width, COLUMNS))
    return -1


def form_update_matrix(panel: np.ndarray, height: int, width: int, update: int, keep: float) -> None:
    """As `multifrontal.form_update_matrix`."""

    def form(left: int, right: int) -> None:
        form_update_columns(panel, height, width, update, keep, left, right)

    side_by_side(form, tiles(0, height - width, COLUMNS))


def invert_front(
    panel: np.ndarray, height: int, width: int, front: int, dependent: np.ndarray, product: np.ndarray
) -> None:
    """As `inverse_multifrontal.invert_front`."""
    for start in range((width - 1) // LARGE_BLOCK * LARGE_BLOCK, -1, -LARGE_BLOCK):
        stop = min(start + LARGE_BLOCK, width)

        def scale(row: int, last: int, start: int = start, stop: int = stop) -> None:
            scale_rows(panel, height, start, stop, row, last, product)

        def multiply(row: int, last: int, start: int = start, stop: int = stop) -> None:
            if row == start:
                invert_corner(panel, height, start, stop, front, product)
            else:
                multiply_rows(front, height, start, stop, row, last, product)

        def complete(left: int, right: int, start: int = start, stop: int = stop) -> None:
            complete_corner(front, height, start, stop, left, right, product)

        side_by_side(scale, strips(stop, height))
        side_by_side(multiply, [(start, stop), *strips(stop, height)])
        if stop < height:
            side_by_side(complete, tiles(start, stop, COLUMNS))
        clear_dependent(front, height, start, stop, dependent)
