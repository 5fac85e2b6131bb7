"""Where the values of a variable lie on a line: the one place that says so, or refuses.

Numbers are their own positions, as text and as categories too; dates and spans of time count in days; the levels of an
ordered categorical are 0, 1, 2, …, those without records included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import DataError, some
from remlblup.linalg.magnitude import require_magnitude
from remlblup.model.columns import Columns
from remlblup.model.scanner import unquoted
from remlblup.model.wilkinson import required_columns

DAY = pd.Timedelta(days=1)


def positions(column: pd.Series, name: str, ranked: bool) -> Array:
    """(n,) positions of the values of a column.

    Parameters
    ----------
    ranked : whether the order of levels will do, without distances

    Raises
    ------
    DataError
        If the values have no order, or no distances where an order will not do.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy().astype(np.int64)
        if ranked and column.cat.ordered:
            return codes.astype(float)
        levels = pd.Series(column.cat.categories)
        used = np.unique(codes)
        return positions(levels.iloc[used], name, ranked)[np.searchsorted(used, codes)]
    match column.dtype.kind:
        case "M":
            since: Any = column - pd.Timestamp(0, tz=getattr(column.dtype, "tz", None))
            values = since / DAY
        case "m":
            lengths: Any = column
            values = lengths / DAY
        case _:
            values = pd.to_numeric(column, errors="coerce")
    x: Array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isnan(x).any():
        raise DataError(without_positions(column[np.isnan(x)], name, ranked))
    if np.isinf(x).any():
        raise DataError(f"the positions '{name}' are infinite in row(s) {some(column.index[np.isinf(x)])}.")
    require_magnitude(x, f"the positions '{name}'", DataError, column.index)
    return x


def main_variable(effects: str, data: Columns | pd.DataFrame) -> str:
    """The first column of the data that effects are made of, as `t` of ``0 + C(t)``."""
    name, data = unquoted(effects), Columns.of(data)
    if name in data or not name:
        return name
    return next(iter(required_columns(effects, "the effects", data.names)), effects)


def kind_of(name: str, frame: pd.DataFrame) -> str:
    """The type of a column, "O" for what is none."""
    return frame[name].dtype.kind if name in frame.columns else "O"


def without_positions(values: pd.Series, name: str, ranked: bool) -> str:
    """What is wrong with values that lie nowhere, and what to do."""
    text = f"'{name}' holds text: the positions '{name}' are not numbers ({some(dict.fromkeys(values))})."
    if not ranked:
        return f"{text} Distances need a numeric variable (or dates)."
    return (
        f"{text} Sorted as text 'week10' comes before 'week2': give numeric values, or a pandas Categorical with all"
        f" its levels in their order, pd.Categorical(data['{name}'], categories=[…], ordered=True)."
    )
