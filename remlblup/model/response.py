"""The response of a model, one or several; several are stacked to one record per trait of a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from remlblup.errors import DataError, FormulaError, some
from remlblup.model.columns import Columns
from remlblup.model.evaluation import numbers
from remlblup.model.expression import Expression, column, read
from remlblup.model.frame import numeric_values
from remlblup.model.grouping import UNITS
from remlblup.model.scanner import call, unquoted

# The factor that several responses give to the model.
TRAIT = "trait"


def response_columns(response: str, data: pd.DataFrame | Columns) -> list[str]:
    """The data columns of a response."""
    return list(response_expression(response, data).columns)


def response_expression(response: str, frame: pd.DataFrame | Columns) -> Expression:
    """A column, or arithmetic on columns, ``log(y)``, ``post - pre``, ``y^2``;
    the algebra of formulas has no part in it."""
    name = unquoted(response)
    if name != response.strip() or name in (frame if isinstance(frame, Columns) else frame.columns):
        return column(name)
    try:
        return read(name[1:-1] if name.startswith("{") and name.endswith("}") else name)
    except FormulaError as error:
        raise FormulaError(f"the response: {error}") from None


def response_values(response: str, data: pd.DataFrame | Columns) -> np.ndarray:
    """y as float64, one column."""
    data = Columns.of(data)
    expression = response_expression(response, data)
    if expression.bare is not None:
        return numeric_values(data[expression.bare].series, f"response '{expression.bare}'")
    if not expression.columns:
        raise FormulaError(f"the response '{response}' names no column of the data.")
    return numbers(expression, data.frame, f"response '{response}'")


def offset_values(offset: Sequence[str], rows: pd.DataFrame) -> np.ndarray | None:
    """The sum of the offsets in each row; None without."""
    if not offset:
        return None
    return np.sum([numbers(read(text), rows, f"offset '{text}'") for text in offset], axis=0)


def check_no_trait(data: Columns, response: str) -> None:
    """Several responses make the factor `trait` themselves."""
    if TRAIT in data:
        parts = call(response)
        inside = parts[1] if parts else response
        raise DataError(
            f"the data have a column '{TRAIT}', the name that several responses ('{response}') give to the factor of"
            f" {inside}. Rename that column; or, if the data are in long form already, write one response."
        )


def stack(responses: Mapping[str, Sequence[str]], rows: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """y, rows and record number of all (record, trait) cells that hold a value: record 1 trait 1, record 1 trait 2, …

    The rows have the columns of the record and the factor `trait` with the responses as
    categories in the order given; their index is (row, trait).
    """
    y = np.full((len(rows), len(responses)), np.nan)
    for k, (name, needed) in enumerate(responses.items()):
        present = rows[list(needed)].notna().all(axis=1).to_numpy()
        if not present.any():
            raise DataError(f"the response '{name}' has no value in the records that can be used.")
        y[present, k] = response_values(name, rows.loc[present])
    record, trait = np.nonzero(~np.isnan(y))
    return y[record, trait], long_frame(rows, list(responses), record, trait), record


def long_frame(rows: pd.DataFrame, responses: Sequence[str], record: np.ndarray, trait: np.ndarray) -> pd.DataFrame:
    """Rows of the cells (record, trait), with the factor `trait` and the index (row, trait)."""
    factor = pd.Categorical.from_codes(trait, categories=pd.Index(list(responses), dtype=object), ordered=True)
    frame = rows.iloc[record]
    index = rows.index
    levels = [index.get_level_values(k)[record] for k in range(index.nlevels)]
    names = list(index.names) if index.nlevels > 1 else [index.name or "row"]
    frame.index = pd.MultiIndex.from_arrays([*levels, np.asarray(factor.astype(object))], names=[*names, TRAIT])
    return frame.assign(**{TRAIT: factor})


def with_units(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the column `units`, their labels or numbers, unless the data have one."""
    if UNITS in rows.columns:
        return rows
    index = rows.index
    plain = index.nlevels == 1 and index.is_unique and not index.hasnans
    return rows.assign(**{UNITS: np.asarray(index) if plain else np.arange(len(rows))})


def check_varies(y: np.ndarray, rows: pd.DataFrame | None, responses: Sequence[str], response: str) -> None:
    """Refuse a response that is constant."""
    if responses and rows is not None:
        codes = rows[TRAIT].cat.codes.to_numpy()
        constant = [r for k, r in enumerate(responses) if np.ptp(y[codes == k]) == 0.0]
    else:
        constant = [response] if not np.count_nonzero(y != y[0]) else []
    if constant:
        value = "" if responses else f" ({y[0]:g})"
        raise DataError(f"the response {some(constant)} is constant{value}: there is no variance to divide.")
