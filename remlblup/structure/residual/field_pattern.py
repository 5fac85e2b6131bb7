"""Where the coefficients of the inverse of a separable field stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Index
from remlblup.structure.residual.pattern import Pattern


@dataclass(frozen=True)
class AxisEntries:
    """Entries of C⁻¹ of one dimension, both triangles: the entry at (row, column) is coefficient[.]."""

    extent: int
    rows: Index
    columns: Index
    coefficient: Index
    n_coefficients: int


def axis_entries(kind: str, m: int) -> AxisEntries:
    """Of "ar1": coefficient 0 at the two ends, 1 between them, 2 beside the diagonal; of "id" coefficient 0."""
    every = np.arange(m)
    if kind == "id":
        return AxisEntries(m, every, every, np.zeros(m, np.int64), 1)
    inner = np.ones(m, np.int64)
    inner[[0, -1]] = 0
    left, right = every[:-1], every[1:]
    return AxisEntries(
        m,
        np.concatenate([every, right, left]),
        np.concatenate([every, left, right]),
        np.concatenate([inner, np.full(2 * (m - 1), 2)]),
        3,
    )


def grid_pattern(axes: list[AxisEntries], place: Index) -> Pattern:
    """The Kronecker product of one or two dimensions, cell k of the grid standing at place[k]."""
    first = axes[0]
    rows, columns, coefficient, n_coefficients = first.rows, first.columns, first.coefficient, first.n_coefficients
    for axis in axes[1:]:
        rows = np.add.outer(rows * axis.extent, axis.rows).ravel()
        columns = np.add.outer(columns * axis.extent, axis.columns).ravel()
        coefficient = np.add.outer(coefficient * axis.n_coefficients, axis.coefficient).ravel()
        n_coefficients *= axis.n_coefficients
    lower = rows >= columns
    a, b = place[rows[lower]], place[columns[lower]]
    return Pattern(len(place), np.maximum(a, b), np.minimum(a, b), coefficient[lower], np.ones(len(a)), n_coefficients)
