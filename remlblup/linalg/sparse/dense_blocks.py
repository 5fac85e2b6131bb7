"""Dense blocks of C, added to the panels of L from where they stand: no entry of them is listed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.linalg.compiler import njit
from remlblup.linalg.contract import DenseBlock
from remlblup.linalg.sparse.supernodes import Supernodes
from remlblup.linalg.threads import side_by_side

COLUMNS = 500
"""Columns of a block added by one task."""


@dataclass(frozen=True, eq=False)
class PlacedBlock:
    """A dense block in the order of elimination.

    Attributes
    ----------
    values : (g, g)
    order : (g,) rows of `values` as they are eliminated
    places : (g,) their places in the elimination, ascending
    supernodes : (g,) supernode of each place
    """

    values: np.ndarray
    order: np.ndarray
    places: np.ndarray
    supernodes: np.ndarray

    @classmethod
    def of(cls, block: DenseBlock, place_of: np.ndarray, sn: Supernodes) -> PlacedBlock:
        places = place_of[block.at]
        order = np.argsort(places)
        places = places[order]
        supernodes = np.searchsorted(sn.first, places, side="right") - 1
        return cls(np.ascontiguousarray(block.values), order, places, supernodes)

    def add(self, coefficient: float, sn: Supernodes, panels: np.ndarray) -> None:
        """Add the block times a coefficient to the panels of C."""

        def columns(start: int) -> None:
            stop = min(start + COLUMNS, len(self.order))
            add_columns(start, stop, self.values, coefficient, self.order, self.places, self.supernodes, sn, panels)

        side_by_side(columns, [(start,) for start in range(0, len(self.order), COLUMNS)])


@njit(cache=True, nogil=True)
def add_columns(start, stop, values, coefficient, order, places, supernodes, sn, panels):
    """Columns start … stop of a block: the rows of its panels are walked once for each."""
    for a in range(start, stop):
        s, own = supernodes[a], values[order[a]]
        row = sn.rows_at[s] + places[a] - sn.first[s]
        column = sn.panel_at[s] + (places[a] - sn.first[s]) * (sn.rows_at[s + 1] - sn.rows_at[s]) - sn.rows_at[s]
        for b in range(a, len(order)):
            while sn.rows[row] != places[b]:
                row += 1
            panels[column + row] += coefficient * own[order[b]]
