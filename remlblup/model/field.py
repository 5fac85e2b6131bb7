"""Positions of the records in a field: whole numbers from a column, each cell once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from remlblup.arrays import Index
from remlblup.errors import DataError, some
from remlblup.model.positions import positions

# A field larger than this many cells, and this many times its records, is a mistake in the positions.
MANY_CELLS = 200_000
CELLS_PER_RECORD = 50


def axis(frame: pd.DataFrame, name: str) -> Index:
    """Positions 0, 1, 2, … of the records along one dimension; a number left out is an empty line of cells."""
    values = positions(frame[name], name, ranked=True)
    bad = values != np.floor(values)
    if bad.any():
        raise DataError(
            f"the positions '{name}' are not whole numbers in row(s) {some(frame.index[bad])}: number the lines of the"
            " field; for uneven distances along one line use 'exp(x | subject)'."
        )
    return (values - values.min()).astype(np.int64)


def check_cells(frame: pd.DataFrame, labels: Sequence[str], positions: Sequence[Index]) -> None:
    """Refuse two records in one cell, naming rows and cell."""
    cells = pd.DataFrame(dict(enumerate(positions)))
    twice = cells.duplicated(keep=False).to_numpy()
    if not twice.any():
        return
    at = np.flatnonzero(twice)
    first = np.flatnonzero((cells == cells.iloc[at[0]]).all(axis=1))
    place = ", ".join(f"{label} {frame[label].iloc[at[0]]}" for label in labels)
    count = len(cells[twice].drop_duplicates())
    raise DataError(
        f"the rows {some(frame.index[first])} share the cell {place}; {count} cell(s) of the field hold more than one"
        " record. Correct the positions; for several fields write '… | trial' with the factor that tells them apart."
    )


def check_extent(labels: Sequence[str], positions: Sequence[Index]) -> None:
    """Refuse positions that make a field of mostly empty cells."""
    extent = [int(place.max()) + 1 for place in positions]
    cells, n = float(np.prod([float(m) for m in extent])), len(positions[0])
    if cells > MANY_CELLS and cells > CELLS_PER_RECORD * n:
        raise DataError(
            f"the field of {' x '.join(f'{m:,} {label}' for m, label in zip(extent, labels, strict=True))} has"
            f" {cells:,.0f} cells for {n:,} records: check the positions, or write '… | trial' for one field per trial."
        )
