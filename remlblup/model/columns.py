"""One kind of column for each kind of value, whatever the frame it comes from.

Numbers, booleans, text, categories and dates end as NumPy or plain pandas has them; what a model can make nothing of
is left as it is, and refused by `check_kinds` where a model uses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, some

_CONTAINERS = {list: "lists", dict: "mappings", set: "sets", np.ndarray: "arrays", pd.Series: "series"}


def plain(column: pd.Series) -> pd.Series:
    """The column in the kind that its values have: no nullable, Arrow, sparse or decimal types."""
    dtype = column.dtype
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        column = _of_arrow(pa.chunked_array(pa.array(column)), column)
    elif isinstance(dtype, pd.SparseDtype):
        column = _like(column, np.asarray(column))
    elif isinstance(dtype, pd.StringDtype) and dtype.na_value is pd.NA:
        column = _like(column, column.to_numpy(dtype=object, na_value=None))
    elif pd.api.types.is_extension_array_dtype(dtype) and dtype.kind in "biuf":
        column = _of_nullable(column)
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "decimal":
        column = _like(column, column.to_numpy(dtype=np.float64, na_value=np.nan))
    return column


def _like(column: pd.Series, values: Any) -> pd.Series:
    return pd.Series(values, index=column.index, name=column.name)


def _of_nullable(column: pd.Series) -> pd.Series:
    """Int64, Float64 and boolean; a missing number is NaN, a missing truth None."""
    missing = bool(column.isna().any())
    if column.dtype.kind == "b":
        return _like(column, column.to_numpy(dtype=object, na_value=None) if missing else column.to_numpy(dtype=bool))
    wide = missing or column.dtype.kind == "f"
    return _like(column, column.to_numpy(dtype=np.float64, na_value=np.nan) if wide else column.to_numpy())


def _of_arrow(values: Any, column: pd.Series) -> pd.Series:
    """As pyarrow turns its own columns; the codes of a text without an order are no categories, only an encoding."""
    out = pd.Series(values.to_pandas()).set_axis(column.index).rename(column.name)
    if isinstance(out.dtype, pd.CategoricalDtype) and not out.cat.ordered:
        return out.astype(out.cat.categories.dtype)
    return out


def of_narwhals(series: Any) -> pd.Series:
    """A column of polars, pyarrow and their kind; an enumeration keeps its order."""
    import narwhals as nw

    values = series.to_numpy()
    if isinstance(series.dtype, nw.Enum):
        categories = [*series.dtype.categories]
        return pd.Series(pd.Categorical(values.tolist(), categories=categories, ordered=True))
    if values.ndim != 1:
        values = pd.Series(list(values), dtype=object)
    return plain(pd.Series(values))


def check_kinds(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raise `DataError` for columns of values that are neither numbers nor labels.

    Raises
    ------
    DataError
        For complex numbers, intervals, and cells that hold several values.
    """
    columns = list(columns)
    if complex_columns := [c for c in columns if frame[c].dtype.kind == "c"]:
        raise DataError(
            f"the column {some(complex_columns)} is complex: use its real and imaginary parts as two columns."
        )
    for name in columns:
        column = frame[name]
        if isinstance(column.dtype, pd.IntervalDtype):
            raise DataError(
                f"the column {name!r} holds intervals: make them categories, astype('category'), or numbers, such as their"
                " midpoints."
            )
        if column.dtype == object:
            held = next((v for v in column if isinstance(v, tuple(_CONTAINERS))), None)
            if held is not None:
                kind = next(word for what, word in _CONTAINERS.items() if isinstance(held, what))
                raise DataError(
                    f"the column {name!r} holds {kind}, such as {str(held)[:60]}: give each of their elements a column of its own."
                )
