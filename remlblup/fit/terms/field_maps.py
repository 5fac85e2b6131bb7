"""The records of a fit on their field: which cell each stands in, and what is mapped there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array, Index, rectangular
from remlblup.errors import DataError, ModelError, OptionError, choose, some
from remlblup.model.field import axis, check_cells, check_extent
from remlblup.model.frame import require_columns
from remlblup.model.grouping import UNITS, factorize
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.field import Field
from remlblup.structure.residual.sections import Sections

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved
    from remlblup.model.design import RandomDesign

Given = str | Sequence | np.ndarray | pd.Series


@dataclass(frozen=True)
class Part:
    """The residual structure of one section, with its parameters and the records it is over."""

    label: str
    structure: ResidualStructure
    phi: Array
    records: Index


@dataclass(frozen=True)
class FieldMap:
    """One field: the rows and columns of its records.

    Attributes
    ----------
    label : the trial, empty where there is one field
    names : names of the two dimensions; the second empty for a field of one dimension
    ticks : names of the positions along each dimension
    records : (m,) its records among the n of the model
    row, column : (m,) their positions, 0, 1, …
    part : the residual structure it belongs to; None for positions given by the user
    """

    label: str
    names: tuple[str, str]
    ticks: tuple[list[str], list[str]]
    records: Index
    row: Index
    column: Index
    part: Part | None = None

    @property
    def extent(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self.ticks[0]), len(self.ticks[1])

    def grid(self, values: Array) -> Array:
        """`values` (n,) of all records in the cells of this field (rows, columns), NaN where there is no record."""
        out = np.full(self.extent, np.nan)
        out[self.row, self.column] = values[self.records]
        return out


# -- what is mapped --------------------------------------------------------------------------


def correlated(fit: Solved) -> Array:
    """ê (n,), the residual of the structure in ``residual=``; of a field its spatial part."""
    return np.asarray(fit._solution.residual[: fit.n_obs])


def units_term(fit: Solved) -> RandomDesign | None:
    """The independent effect of every record, from ``+ units`` or ``(1 | units)``, if the model has one."""
    found = (d for d in fit.specification.random if d.term is not None and d.term.group.factors == (UNITS,))
    return next((d for d in found if d.t == 1), None)


def independent(fit: Solved) -> Array | None:
    """The effect of each record in the units term, (n,); None without one."""
    design = units_term(fit)
    if design is None:
        return None
    blocks = fit._equations.level_effects(fit._solution)
    place = next(k for k, d in enumerate(fit.specification.random) if d is design)
    return np.asarray(design.columns[0] @ blocks[place][0])


def whole(fit: Solved) -> Array:
    """The residual with its independent part, ê + û of the units, (n,)."""
    units = independent(fit)
    return correlated(fit) if units is None else correlated(fit) + units


def units_variance(fit: Solved) -> float:
    """Variance of the units term; 0 without one."""
    design = units_term(fit)
    return 0.0 if design is None else float(fit.covariance(design.name).to_numpy()[0, 0])


# -- where -----------------------------------------------------------------------------------


def residual_parts(fit: Solved) -> list[Part]:
    """The sections of R, each with its own parameters; one where there are none."""
    spec = fit.specification
    residual, phi = spec.residual, fit.theta[spec.parameters.slices[len(spec.random)]]
    if not isinstance(residual, Sections):
        return [Part("", residual, phi, np.arange(spec.n))]
    parts = zip(residual.labels, residual.parts, residual.slices, residual.places, strict=True)
    return [Part(label, part, phi[own], place[: len(place) - part.n_filled]) for label, part, own, place in parts]


def field_maps(
    fit: Solved, row: Given | None = None, col: Given | None = None, by: Given | None = None, trial: object = None
) -> list[FieldMap]:
    """The fields of the model, or those that the columns given make; one of them if `trial` names it.

    Raises
    ------
    ModelError
        If there is neither a field in the model nor columns.
    OptionError, DataError
        If a trial or column does not exist, or two records share a cell.
    """
    if (row is None) != (col is None):
        raise OptionError("give both row= and col=, the columns with the positions of the records.")
    if by is not None and row is None:
        raise OptionError("by= tells the fields of row= and col= apart: give those too.")
    maps = fields_of(fit) if row is None or col is None else maps_given(fit, row, col, by)
    if trial is None:
        return maps
    labels = [m.label for m in maps]
    if labels == [""]:
        raise OptionError(f"trial={trial!r}: this model has one field only; leave trial= out.")
    choose("trial", str(trial), labels)
    return [maps[labels.index(str(trial))]]


def fields_of(fit: Solved) -> list[FieldMap]:
    """One map for each field of the residual structure."""
    maps = [field_map(fit, part) for part in residual_parts(fit) if isinstance(part.structure, Field)]
    if not maps:
        raise ModelError(
            f"this model has no field: its residual is '{fit.specification.residual_text}'. Give the columns with the"
            " positions, as in row='row', col='col', or fit the model with residual='ar1(row):ar1(col)'."
        )
    return maps


def field_map(fit: Solved, part: Part) -> FieldMap:
    """The map of a `Field`, whose cells are numbered row by row."""
    field = part.structure
    assert isinstance(field, Field)
    cell_of = np.argsort(field.place)[: len(part.records)]
    positions = list(np.unravel_index(cell_of, field.extent))
    frame = fit.specification.records
    assert frame is not None
    rows = frame.frame.iloc[part.records]
    ticks = [line_names(rows[n], place, m) for n, place, m in zip(field.labels, positions, field.extent, strict=True)]
    if len(positions) == 1:
        positions, ticks = [*positions, np.zeros(len(part.records), np.int64)], [*ticks, [""]]
    names = (*field.labels, "")
    return FieldMap(
        part.label, (names[0], names[1]), (ticks[0], ticks[1]), part.records, positions[0], positions[1], part
    )


def maps_given(fit: Solved, row: Given, col: Given, by: Given | None) -> list[FieldMap]:
    """Maps of the columns the user names, one for each level of `by`."""
    columns = {what: column(fit, value, what) for what, value in (("row", row), ("col", col))}
    names = tuple(str(c.name) for c in columns.values())
    if by is None:
        levels, codes = [""], np.zeros(fit.n_obs, np.int64)
    else:
        codes, found = factorize(column(fit, by, "by"))
        levels = [str(level) for level in found]
    frame = pd.concat(list(columns.values()), axis=1, keys=names)
    maps = []
    for k, level in enumerate(levels):
        records = np.flatnonzero(codes == k)
        part = frame.iloc[records]
        positions = [axis(part, name) for name in names]
        try:
            check_cells(part, names, positions)
        except DataError as error:
            advice = str(error).split(" Correct the positions;")[0]
            raise DataError(f"{advice} Name the column that tells several fields apart, by='trial'.") from None
        check_extent(names, positions)
        ticks = [line_names(part[n], place, int(place.max()) + 1) for n, place in zip(names, positions, strict=True)]
        maps.append(FieldMap(level, (names[0], names[1]), (ticks[0], ticks[1]), records, positions[0], positions[1]))
    return maps


def column(fit: Solved, value: Given, what: str) -> pd.Series:
    """A column of the records by its name, or an array of n values; complete.

    Raises
    ------
    DataError
        If there is no such column, or it has missing values.
    OptionError
        If the array does not have a value for each record.
    """
    records = fit.specification.records
    if isinstance(value, str):
        if records is None:
            raise OptionError(f"{what}={value!r}: this model was made from matrices; give the positions as an array.")
        require_columns(records.frame, [value], f"{what}=", "the records of this fit")
        out = records.frame[value]
    else:
        values = rectangular(value)
        if values.shape != (fit.n_obs,):
            raise OptionError(f"{what}= takes a column's name or {fit.n_obs} values, one for each record used.")
        out = pd.Series(values, index=fit.specification.index, name=what)
    if out.isna().any():
        raise DataError(f"'{out.name}' is missing in row(s) {some(out.index[out.isna()])}: {what}= needs a value each.")
    return out


def line_names(values: pd.Series, position: Index, extent: int) -> list[str]:
    """Names of the positions 0 … extent − 1: numbers go on over empty lines, categories are named where seen."""
    numbers = pd.to_numeric(values.astype(object), errors="coerce")
    if numbers.notna().all():
        first = int(numbers.iloc[0]) - int(position[0])
        return [str(first + k) for k in range(extent)]
    names = [""] * extent
    for place, value in zip(position, values, strict=True):
        names[place] = str(value)
    return names
