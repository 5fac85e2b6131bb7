"""The user's data as a pandas DataFrame, its columns checked and its missing rows set aside."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, RemlBlupWarning, choose, some
from remlblup.model.columns import check_kinds, of_narwhals, plain
from remlblup.readers.tables import is_path, read_table


@dataclass(frozen=True)
class Records:
    """The rows that can be used.

    Attributes
    ----------
    frame : DataFrame of the complete rows, index kept; of several responses a row per record and trait
    dropped : mapping of column to the number of rows where it is missing
    n_dropped : rows set aside in all
    used : columns of the data the model reads
    weights : the weights column among them, if any
    cells : of several responses the number of missing values in the rows used
    source : the rows used as the user gave them, where `frame` differs; see `original`
    unknown_parents : mapping of column to the number of rows used whose parent is unknown there and adds nothing
    """

    frame: pd.DataFrame
    dropped: dict[str, int]
    n_dropped: int
    used: tuple[str, ...]
    weights: str | None = None
    cells: dict[str, int] = field(default_factory=dict)
    source: pd.DataFrame | None = None
    unknown_parents: dict[str, int] = field(default_factory=dict)

    @property
    def original(self) -> pd.DataFrame:
        """The rows used, as the user gave them: what a saved fit keeps."""
        return self.frame if self.source is None else self.source


def to_pandas(data: Any) -> pd.DataFrame:
    """A pandas DataFrame of `data`, its columns as `plain` has them.

    Parameters
    ----------
    data : DataFrame (pandas, polars, pyarrow and what narwhals knows), mapping of columns, list of rows as mappings,
        structured array, or the name of a file
    """
    if is_path(data):
        frame = read_table(data)
        for note in frame.attrs.get("notes", ()):
            warnings.warn(note, RemlBlupWarning, stacklevel=2)
    elif isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, Mapping):
        frame = _constructed(dict(data))
    elif isinstance(data, np.ndarray) and data.dtype.names:
        frame = pd.DataFrame.from_records(data)
    elif isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        frame = _constructed(data)
    else:
        frame = _of_other(data)
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError(
            f"the columns of the data have names in {frame.columns.nlevels} levels, such as {some(frame.columns, 2)}: give them"
            " one name each, such as data.columns = ['_'.join(c) for c in data.columns]."
        )
    if frame.columns.duplicated().any():
        raise DataError(f"column names occur twice in the data: {some(frame.columns[frame.columns.duplicated()])}.")
    changed = {name: new for name in frame.columns if (new := plain(frame[name])) is not frame[name]}
    changed = {name: new for name, new in changed.items() if new.dtype != frame[name].dtype}
    if changed:
        frame = frame.copy(deep=False)
        for name, column in changed.items():
            frame[name] = column
    return frame


def _constructed(data: Any) -> pd.DataFrame:
    try:
        return pd.DataFrame(data)
    except ValueError as error:
        raise DataError(f"the columns in data= do not fit together: {error}") from None


def _of_other(data: Any) -> pd.DataFrame:
    """A frame of another library, through narwhals or as an Arrow stream."""
    import narwhals as nw

    try:
        table = nw.from_native(_of_arrow_stream(data), eager_only=True)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        if hasattr(data, "collect") and hasattr(data, "collect_schema"):
            raise DataError("data= has not been computed yet: give data.collect().") from None
        raise DataError(
            "data= must be a DataFrame (pandas, polars, pyarrow), a mapping of columns or the name of a file, not"
            f" {type(data).__name__}."
        ) from None
    # Column by column: a polars frame gives its pandas form only where pyarrow is installed.
    return pd.DataFrame({name: of_narwhals(table[name]) for name in table.columns})


def _of_arrow_stream(data: Any) -> Any:
    """A pyarrow table of what narwhals does not know but Arrow does: batches of records, results of a query."""
    if hasattr(data, "columns") and hasattr(data, "__getitem__") and type(data).__name__ != "RecordBatch":
        return data
    if hasattr(data, "__arrow_c_stream__") or type(data).__name__ == "RecordBatch":
        import pyarrow as pa

        return pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else pa.table(data)
    return data


def require_columns(frame: pd.DataFrame, columns: Iterable[str], role: str, what: str = "the data") -> None:
    """Raise `DataError` naming the columns that the data do not have."""
    absent = [c for c in columns if c not in frame.columns]
    if absent:
        own = [c for c in frame.columns if c != "units"]  # a name the model itself adds
        raise DataError(f"{role} needs {some(absent)}: not a column of {what}. Columns: {some(own, 20)}.")


def complete_records(frame: pd.DataFrame, columns: Iterable[str], missing: str, weights: str | None = None, *,
                     optional: Iterable[str] = (), responses: Mapping[str, Sequence[str]] | None = None) -> Records:  # fmt: skip
    """Set aside the rows where a needed column is missing, or refuse them (``missing="error"``).

    Parameters
    ----------
    columns : columns that must hold a value
    missing : "drop" or "error"
    optional : further columns the model reads, in which a value may be missing
    responses : of several responses the columns of each: one of them must have a value

    Raises
    ------
    DataError
        If there are missing values and `missing` is "error", or if no row is left.
    """
    choose("missing", missing, ("drop", "error"))
    responses = responses or {}
    needed = list(dict.fromkeys(columns))
    used = list(dict.fromkeys([*needed, *optional, *(c for own in responses.values() for c in own)]))
    if len(frame) == 0:
        raise DataError("the data have no rows.")
    check_kinds(frame, used)
    absent = frame[needed].isna()
    empty = pd.DataFrame({name: frame[list(own)].isna().any(axis=1) for name, own in responses.items()})
    if responses:
        absent["all of " + ", ".join(responses)] = empty.all(axis=1)
    rows = absent.any(axis=1).to_numpy()
    cells = {str(name): int(k) for name, k in empty[~rows].sum().items() if k} if responses else {}
    dropped = {str(c): int(k) for c, k in absent.sum().items() if k}
    if not dropped:
        return Records(frame, {}, 0, tuple(used), weights, cells)
    counts = ", ".join(f"{c} ({k})" for c, k in dropped.items())
    if missing == "error":
        raise DataError(
            f"missing values in {counts}; first rows concerned: {some(frame.index[rows])}."
            " Remove or fill them, or use missing='drop'."
        )
    if rows.all():
        raise DataError(f"no rows are left after dropping missing values in {counts}.")
    return Records(frame.loc[~rows], dropped, int(rows.sum()), tuple(used), weights, cells)


def numeric_column(frame: pd.DataFrame, column: str, role: str) -> np.ndarray:
    """The column as float64; refuses text, complex and infinite values, naming rows."""
    return numeric_values(frame[column], f"{role} '{column}'")


def numeric_values(values: object, what: str) -> np.ndarray:
    """One-dimensional finite float64 values of a series or array (see `numeric_column`)."""
    series = values if isinstance(values, pd.Series) else pd.Series(np.asarray(values))
    if series.dtype.kind == "c":
        raise DataError(f"the {what} is complex: fit its real and imaginary parts as two responses.")
    if series.dtype.kind not in "iufb":
        first = series.iloc[0]
        # Decimal, nullable and object columns of plain numbers are welcome; text is not.
        if isinstance(first, (str, bytes)) or isinstance(series.dtype, pd.CategoricalDtype):
            raise DataError(
                f"the {what} holds text (first value {first!r}): it must be numeric. Convert it, e.g. pandas.to_numeric."
            )
        if series.dtype.kind in "mM":
            raise DataError(f"the {what} holds dates: convert it to a number first.")
    try:
        array = np.ascontiguousarray(series.to_numpy(), dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"the {what} is not numeric (dtype {series.dtype}): convert it first.") from None
    bad = ~np.isfinite(array)
    if bad.any():
        raise DataError(
            f"the {what} is infinite or not a number in row(s) {some(series.index[bad])}: correct or remove them."
        )
    return array
