"""Fronts large enough for all threads together: the steps of a panel cut into tiles.

The tiles are the same for any number of threads, and each element is summed inside one tile: so are the digits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from remlblup.linalg.sparse import inverse_multifrontal, multifrontal
from remlblup.linalg.sparse.inverse_multifrontal import invert_diagonal, multiply_rows, scale_rows
from remlblup.linalg.sparse.multifrontal import form_update_columns
from remlblup.linalg.sparse.panels import TILE, divide_rows, factorize_tile, update_columns
from remlblup.linalg.sparse.schedule import LARGE_BLOCK, Plan
from remlblup.linalg.sparse.supernodes import Entries, Supernodes
from remlblup.linalg.threads import side_by_side

ROWS = 256
"""Rows of a tile."""


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
    multifrontal.extend_add(s, update, -1, sn, plan, pending, panels, opened, arena)
    return -1


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


def over_tiles(run: Callable[[int, int], None], start: int, stop: int, size: int) -> None:
    """Run a step over start … stop, tile by tile."""
    side_by_side(run, [(left, min(left + size, stop)) for left in range(start, stop, size)])


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

        over_tiles(divide, stop, height, ROWS)
        over_tiles(update, stop, width, TILE)
    return -1


def form_update_matrix(panel: np.ndarray, height: int, width: int, update: int, keep: float) -> None:
    """As `multifrontal.form_update_matrix`."""
    over_tiles(
        lambda left, right: form_update_columns(panel, height, width, update, keep, left, right),
        0,
        height - width,
        TILE,
    )


def invert_front(
    panel: np.ndarray, height: int, width: int, front: int, dependent: np.ndarray, product: np.ndarray
) -> None:
    """As `inverse_multifrontal.invert_front`."""
    for start in range((width - 1) // LARGE_BLOCK * LARGE_BLOCK, -1, -LARGE_BLOCK):
        stop = min(start + LARGE_BLOCK, width)

        def scale(row: int, last: int, start: int = start, stop: int = stop) -> None:
            scale_rows(panel, height, start, stop, row, last, product)

        def multiply(row: int, last: int, start: int = start, stop: int = stop) -> None:
            multiply_rows(front, height, start, stop, row, last, product)

        over_tiles(scale, stop, height, ROWS)
        over_tiles(multiply, stop, height, ROWS)
        invert_diagonal(panel, height, start, stop, front, dependent, product)
