"""``ar1(row):ar1(col)``: separable autoregression over a complete grid, R = σ² C_row ⊗ C_col.

Cullis & Gleeson (1991, *Biometrics* 47:1449). The inverse of an AR1 correlation matrix over m positions is

    C⁻¹ = (E + (1 + r²) I_inner − r N)/(1 − r²),

E and I_inner the diagonal at the two ends and between them, N that joins neighbours; so R⁻¹ has 3 × 3
coefficients. Cells of the grid without a record are filled: they follow the records, in grid order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.errors import DataError, choose, some
from remlblup.structure.chain import chain_multiply
from remlblup.structure.residual.field_pattern import axis_entries, grid_pattern
from remlblup.structure.residual.scaled import Scaled

KINDS = ("ar1", "id")


class Field(Scaled):
    """R(σ², r) = σ² C_1 ⊗ C_2 (or one dimension alone) over all cells of the grid the records span.

    Parameters
    ----------
    row, column : (n,) int arrays, 0 … m − 1
        Position of each record; `column` None for a field of one dimension.
    kinds : "ar1" or "id" for each dimension
    labels : names of the dimensions

    Raises
    ------
    DataError
        If two records share a cell, or an "ar1" dimension has a single position.
    """

    def __init__(
        self,
        row: Index,
        column: Index | None,
        kinds: Sequence[str] = ("ar1", "ar1"),
        labels: Sequence[str] = ("row", "column"),
    ):
        for kind in kinds:
            choose("kind of a dimension of a field", kind, KINDS)
        axes = [np.asarray(axis, np.int64) for axis in (row, column) if axis is not None]
        self.kinds = tuple(kinds)[: len(axes)]
        self.labels = tuple(labels)[: len(axes)]
        self.extent = tuple(int(axis.max()) + 1 for axis in axes)
        for kind, label, m in zip(self.kinds, self.labels, self.extent, strict=True):
            if kind == "ar1" and m < 2:
                raise DataError(f"'ar1({label})' needs two or more positions of '{label}'.")
        cell = np.ravel_multi_index(axes, self.extent)
        cells = int(np.prod(self.extent))
        taken = np.bincount(cell, minlength=cells)
        if taken.max() > 1:
            raise DataError(
                f"more than one record in cells {some(map(tuple, self.repeated(row, column).tolist()))} of "
                f"{' × '.join(self.labels)}: a cell of a field holds one record."
            )
        # Grid order -> (records, then empty cells in grid order).
        self.place = np.empty(cells, np.int64)
        self.place[cell] = np.arange(len(cell))
        self.place[taken == 0] = np.arange(len(cell), cells)
        self.n_filled = cells - len(cell)
        self.pattern = grid_pattern([axis_entries(*z) for z in zip(self.kinds, self.extent, strict=True)], self.place)

    @staticmethod
    def repeated(row: Index, column: Index | None) -> Index:
        """The cells with more than one record, (k, 1 or 2) positions."""
        axes = [np.asarray(axis) for axis in (row, column) if axis is not None]
        cells, times = np.unique(np.column_stack(axes), axis=0, return_counts=True)
        return cells[times > 1]

    @property
    def keyword(self) -> str:  # type: ignore[override]
        return ":".join(self.kinds)

    @property
    def shape_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(
            f"correlation({label})" for kind, label in zip(self.kinds, self.labels, strict=True) if kind == "ar1"
        )

    def _axes(self, r: Array) -> list[tuple[int, float | None]]:
        """Extent and correlation of each dimension; None for "id"."""
        values = iter(r)
        return [
            (m, float(next(values)) if kind == "ar1" else None) for m, kind in zip(self.extent, self.kinds, strict=True)
        ]

    def _product(self, factors: Sequence[Array]) -> Array:
        return np.asarray(factors[0] if len(factors) == 1 else np.kron(factors[0], factors[1]))

    def shape_coefficients(self, r: Array) -> Array:
        return self._product([axis_coefficients(c) for _, c in self._axes(r)])

    def shape_jacobian(self, r: Array) -> Array:
        axes = self._axes(r)
        return np.array(
            [
                self._product([axis_slopes(c) if i == j else axis_coefficients(c) for j, (_, c) in enumerate(axes)])
                for i, (_, own) in enumerate(axes)
                if own is not None
            ]
        ).reshape(len(r), self.pattern.n_coefficients)

    def _repeats(self, r: Array) -> list[tuple[int, float, float]]:
        """Of each "ar1" dimension: the number of neighbours in the grid, and its correlation and 1 − r²."""
        cells = self.pattern.n
        return [(cells // m * (m - 1), c, (1.0 - c) * (1.0 + c)) for m, c in self._axes(r) if c is not None]

    def shape_logdet(self, r: Array) -> float:
        return float(sum(k * (np.log1p(c) + np.log1p(-c)) for k, c, _ in self._repeats(r)))

    def shape_gradient(self, r: Array) -> Array:
        return np.array([-2.0 * k * c / q for k, c, q in self._repeats(r)])

    def shape_information(self, r: Array) -> Array:
        """½ tr(C⁻¹Ċ C⁻¹Ċ) of one dimension as in a chain; of two, ½ tr(C_1⁻¹Ċ_1) tr(C_2⁻¹Ċ_2)."""
        s = self.shape_gradient(r)
        out = 0.5 * np.outer(s, s) / self.pattern.n
        np.fill_diagonal(out, [k * (1.0 + c * c) / q**2 for k, c, q in self._repeats(r)])
        return out

    def shape_multiply(self, r: Array, v: Array) -> Array:
        grid = v[self.place].reshape(*self.extent, v.shape[1])
        for axis, (m, c) in enumerate(self._axes(r)):
            if c is not None:
                front = np.moveaxis(grid, axis, 0)
                product = chain_multiply(np.full(m - 1, c), front.reshape(m, -1))
                grid = np.moveaxis(product.reshape(front.shape), 0, axis)
        out = np.empty(v.shape)
        out[self.place] = grid.reshape(v.shape)
        return out

    def shape_derivatives(self, r: Array) -> Array:
        n = self.size - self.n_filled
        cells = np.empty(n, np.int64)  # grid position of each record
        cells[self.place[self.place < n]] = np.flatnonzero(self.place < n)
        at = np.unravel_index(cells, self.extent)
        lags = [np.abs(p[:, None] - p) for p in at]
        axes = [c for _, c in self._axes(r)]
        values = [
            (lag == 0).astype(float) if c is None else np.power(c, lag) for lag, c in zip(lags, axes, strict=True)
        ]
        out = []
        for own, (lag, c) in enumerate(zip(lags, axes, strict=True)):
            if c is not None:
                slope = lag * np.power(c, np.maximum(lag - 1, 0))
                out.append(np.prod([slope if j == own else v for j, v in enumerate(values)], axis=0))
        return np.array(out).reshape(len(r), n, n)

    def shape_start(self) -> Array:
        return np.full(len(self.shape_names), 0.5)


def axis_coefficients(r: float | None) -> Array:
    """(1, 1 + r², −r)/(1 − r²): ends, inner positions and neighbours of C⁻¹; (1,) for "id"."""
    if r is None:
        return np.ones(1)
    return np.array([1.0, 1.0 + r * r, -r]) / ((1.0 - r) * (1.0 + r))


def axis_slopes(r: float | None) -> Array:
    """∂/∂r of `axis_coefficients`."""
    if r is None:
        return np.zeros(1)
    return np.array([2.0 * r, 4.0 * r, -(1.0 + r * r)]) / ((1.0 - r) * (1.0 + r)) ** 2
