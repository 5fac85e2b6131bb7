"""The user's data as a pandas DataFrame, its columns checked and its missing rows set aside."""

from __future__ import annotations

import datetime as dt
import decimal
import numbers
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import DataError, RemlBlupWarning, some, warn
from remlblup.linalg.magnitude import require_magnitude, within_reach
from remlblup.linalg.well_formed import array_of
from remlblup.readers.tables import is_path, read_table


@dataclass(frozen=True)
class Records:
    """The rows that can be used.

    Attributes
    ----------
    rows : DataFrame of the complete rows, index kept; of several responses a row per record and trait
    dropped : mapping of column to the number of rows where it is missing
    n_dropped : rows set aside in all
    used : columns of the data the model reads
    weights : the weights column among them, if any
    cells : of several responses the number of missing values in the rows used
    given : the rows used as the user gave them, where `rows` differ; see `original`
    unknown_parents : mapping of column to the number of rows used whose parent is unknown there and adds nothing
    doubtful : columns among those used with a level that is a word for a missing value, or levels apart by blanks
    values : columns of numbers in the place of those of `rows`, or beside them: another response
    """

    rows: pd.DataFrame
    dropped: dict[str, int]
    n_dropped: int
    used: tuple[str, ...]
    weights: str | None = None
    cells: dict[str, int] = field(default_factory=dict)
    given: pd.DataFrame | None = None
    unknown_parents: dict[str, int] = field(default_factory=dict)
    doubtful: tuple[str, ...] = ()
    values: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as the model reads them."""
        return self.rows.assign(**self.values) if self.values else self.rows

    @cached_property
    def original(self) -> pd.DataFrame:
        """The rows used, as the user gave them: what a saved fit keeps."""
        if self.given is None:
            return self.frame
        return self.given.assign(**self.values) if self.values else self.given


def to_pandas(data: Any) -> pd.DataFrame:
    """A pandas DataFrame of `data`, its columns in types that the arithmetic knows; see `as_frame`."""
    return in_memory_order(as_frame(data))


def as_frame(data: Any) -> pd.DataFrame:
    """A pandas DataFrame of `data` as it is.

    Parameters
    ----------
    data : DataFrame (pandas, polars, pyarrow and what narwhals knows), mapping of columns, list of rows as mappings,
        structured array, or the name of a file
    """
    if is_path(data):
        frame = read_table(data)
        for note in frame.attrs.get("notes", ()):
            warn(note, RemlBlupWarning)
    elif isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, Mapping) and not sp.issparse(data):  # a dok is a mapping too
        frame = _constructed(dict(data))
    elif isinstance(data, np.ndarray) and data.dtype.names:
        frame = pd.DataFrame.from_records(data)
    elif isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        frame = _constructed(data)
    else:
        frame = _of_other(data)
    return with_text_names(frame)


def in_memory_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Sparse columns, numbers with their bytes in another machine's order, and floats that pandas has no index of."""
    foreign = list(map(is_foreign, frame.dtypes.tolist()))
    if not any(foreign):
        return frame
    others = frame.columns[foreign]
    frame = frame.copy(deep=False)
    for name in others:
        values = np.asarray(frame[name])
        kind = values.dtype.newbyteorder("=")
        frame[name] = values.astype(np.float64 if kind in (np.float16, np.longdouble) else kind)
    return frame


def is_foreign(dtype: Any) -> bool:
    """Whether a column is of one of these types."""
    if isinstance(dtype, np.dtype):
        return not dtype.isnative or dtype in (np.float16, np.longdouble)
    return isinstance(dtype, pd.SparseDtype)


def with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns named by text, each name once: formulas are text."""
    if frame.columns.nlevels > 1:
        raise DataError("the columns of data= have names of several levels: give them one name each first.")
    text = isinstance(frame.columns.dtype, pd.StringDtype) and not frame.columns.hasnans
    if not text and not all(isinstance(name, str) for name in frame.columns.tolist()):
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if not frame.columns.is_unique:
        raise DataError(f"column names occur twice in the data: {some(frame.columns[frame.columns.duplicated()])}.")
    return frame


def _constructed(data: Any) -> pd.DataFrame:
    """A frame of a mapping of columns or of rows."""
    try:
        return pd.DataFrame(data)
    except (ValueError, TypeError) as error:
        if not isinstance(data, dict):
            raise DataError(f"the rows in data= do not fit together: {error}") from None
        sizes = {str(name): np.shape(values)[:1] for name, values in data.items()}
        shown = ", ".join(f"{name} {f'{s[0]:,} values' if s else 'one value'}" for name, s in list(sizes.items())[:8])
        raise DataError(
            f"the columns in data= do not fit together ({shown}): give each the same number of values."
        ) from None


def _of_other(data: Any) -> pd.DataFrame:
    """A frame of another library, through narwhals or as an Arrow stream."""
    import narwhals as nw

    try:
        table = nw.from_native(_of_arrow_stream(data), eager_only=True)
    except (TypeError, ValueError):
        if hasattr(data, "collect") and hasattr(data, "collect_schema"):
            raise DataError("data= has not been computed yet: give data.collect().") from None
        raise DataError(
            "data= must be a DataFrame (pandas, polars, pyarrow), a mapping of columns or the name of a file, not"
            f" {type(data).__name__}."
        ) from None
    # Column by column: a polars frame gives its pandas form only where pyarrow is installed.
    return pd.DataFrame({name: of_narwhals(table[name]) for name in table.columns})


def of_narwhals(series: Any) -> pd.Series:
    """A column of polars, pyarrow and their kind; an enumeration keeps its order."""
    import narwhals as nw

    values = series.to_numpy()
    if isinstance(series.dtype, nw.Enum):
        return pd.Series(pd.Categorical(values.tolist(), categories=[*series.dtype.categories], ordered=True))
    return pd.Series(values if values.ndim == 1 else list(values))


def _of_arrow_stream(data: Any) -> Any:
    """A pyarrow table of what narwhals does not know but Arrow does: batches of records, results of a query."""
    if hasattr(data, "columns") and hasattr(data, "__getitem__") and type(data).__name__ != "RecordBatch":
        return data
    if hasattr(data, "__arrow_c_stream__") or type(data).__name__ == "RecordBatch":
        try:
            import pyarrow as pa
        except ImportError:
            return data

        return pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else pa.table(data)
    return data


def require_columns(
    data: pd.DataFrame | Collection[str], columns: Iterable[str], role: str, what: str = "the data"
) -> None:
    """Raise `DataError` naming the columns that the data, or a collection of names, do not have."""
    names = data.columns if isinstance(data, pd.DataFrame) else data
    absent = [c for c in columns if c not in names]
    if absent:
        own = [c for c in names if c != "units"]  # a name the model itself adds
        raise DataError(f"{role} needs {some(absent)}: not a column of {what}. Columns: {some(own, 20)}.")


def check_cells(column: pd.Series) -> None:
    """Refuse a column whose cells hold several values each."""
    if isinstance(column.dtype, pd.IntervalDtype):
        raise DataError(
            f"the column '{column.name}' holds intervals: make them categories, astype('category'), or numbers, such as"
            " their midpoints."
        )
    if column.dtype.kind == "O" and not isinstance(column.dtype, (pd.CategoricalDtype, pd.StringDtype)):
        if pd.api.types.infer_dtype(column, skipna=True) == "string":
            return
        several = (list, tuple, set, dict, np.ndarray, pd.Series)
        first = next((v for v in column.to_numpy(dtype=object) if isinstance(v, several)), None)
        if first is not None:
            raise DataError(
                f"the cells of the column '{column.name}' hold {type(first).__name__}s, several values each: give them"
                " columns or rows of their own."
            )


def numeric_column(frame: pd.DataFrame, column: str, role: str) -> np.ndarray:
    """The column as float64; refuses text, complex and infinite values, naming rows."""
    return numeric_values(frame[column], f"{role} '{column}'")


def numeric_values(values: object, what: str) -> np.ndarray:
    """One-dimensional finite float64 values of a series or array (see `numeric_column`)."""
    if isinstance(values, pd.Series):
        series = values
    elif (given := array_of(values, f"the {what}", DataError)).ndim > 1:
        raise DataError(f"the {what} must be one column of numbers; its shape is {given.shape}.")
    elif given.dtype.kind in "biuf" and within_reach(plainly := np.array(given, dtype=np.float64, ndmin=1)):
        return plainly
    else:
        series = pd.Series(np.ravel(given))
    array = as_numbers(series, what)
    if within_reach(array):
        return array
    bad = ~np.isfinite(array)
    if bad.any():
        raise DataError(
            f"the {what} is infinite or not a number in row(s) {some(series.index[bad])}: correct or remove them."
        )
    require_magnitude(array, f"the {what}", DataError, series.index)
    return array


def as_numbers(series: pd.Series, what: str) -> np.ndarray:
    """The series as float64; decimal, nullable and object columns of plain numbers are welcome, nothing else is."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return np.array(series.to_numpy(), dtype=np.float64)
    if series.dtype.kind == "c":
        raise DataError(f"the {what} is complex: fit its real and imaginary parts as two responses.")
    check_no_dates(series, what)
    if isinstance(series.dtype, pd.CategoricalDtype) or holds_text(series):
        raise DataError(text_instead(series, what))
    try:
        return np.ascontiguousarray(plain(series).to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        raise DataError(
            f"the {what} is not numeric (it holds {type(series.iloc[0]).__name__}): make it a column of numbers first."
        ) from None


def text_instead(series: pd.Series, what: str) -> str:
    """Which cells of a column are text where numbers must be."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return (
            f"the {what} holds text or categories (first value {some([series.iloc[0]])}): it must be numeric."
            " Convert it, e.g. pandas.to_numeric."
        )
    cells = series.astype(object)
    wrong = cells[pd.to_numeric(cells, errors="coerce").isna().to_numpy() & cells.notna().to_numpy()]
    if 0 < len(wrong) < len(cells):
        first = f"{some(wrong.map(str).unique(), 4)} in row(s) {some(wrong.index, 6)}"
        return (
            f"the {what} holds text among its numbers: {first}: it must be numeric. "
            "Correct these cells or make them missing."
        )
    return (
        f"the {what} holds text (first value {some([cells.iloc[0]])}): it must be numeric. Convert it, e.g. "
        "pandas.to_numeric."
    )


def holds_text(series: pd.Series) -> bool:
    """Whether a cell is text; also of a column of categories."""
    if isinstance(series.dtype, pd.StringDtype):
        return True
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = pd.Series(series.cat.categories)
    if series.dtype.kind not in "OTUS" and not pd.api.types.is_string_dtype(series.dtype):
        return False
    return any(isinstance(value, (str, bytes)) for value in series.to_numpy(dtype=object))


def check_no_dates(series: pd.Series, what: str, factor: str = "") -> None:
    """Refuse dates and lengths of time where numbers must be, and say how to make numbers of them."""
    if isinstance(series.dtype, pd.CategoricalDtype | pd.StringDtype):  # a factor, whatever its levels are called
        return
    kind = series.dtype.kind
    first = (
        next((v for v in series.to_numpy(dtype=object) if v is not None and v is not pd.NaT), None)
        if kind == "O"
        else None
    )
    name = f"data[{series.name!r}]"
    meant = f"; or write {factor} where a factor is meant" if factor else ""
    if kind == "m" or isinstance(first, dt.timedelta):
        raise DataError(
            f"the {what} holds lengths of time: make them numbers, as with {name}.dt.total_seconds(){meant}."
        )
    if kind == "M" or isinstance(first, (dt.date, pd.Period, np.datetime64)):
        stamps = (
            f"{name}.dt.to_timestamp()" if isinstance(series.dtype, pd.PeriodDtype) else f"pandas.to_datetime({name})"
        )
        raise DataError(
            f"the {what} holds dates: make them numbers first, as the days since the first one,"
            f" ({stamps} - {stamps}.min()).dt.days{meant}."
        )
    if isinstance(first, dt.time):
        raise DataError(f"the {what} holds times of the day: make them numbers first, as hours{meant}.")


def plain(series: pd.Series) -> pd.Series:
    """The column in a type of numpy's: nullable, sparse and Arrow columns, and objects that are all numbers."""
    dtype = series.dtype
    if isinstance(dtype, pd.SparseDtype):
        held: Any = series.sparse
        return held.to_dense()
    if isinstance(dtype, pd.CategoricalDtype) or (isinstance(dtype, np.dtype) and dtype.kind != "O"):
        return series
    if isinstance(dtype, pd.StringDtype):
        return series if dtype == "str" else series.astype(object)
    values = series.to_numpy(dtype=object)
    known = values[~pd.isna(values)]
    truth = all(isinstance(v, (bool, np.bool_)) for v in known)
    if truth or not all(isinstance(v, (numbers.Real, decimal.Decimal)) for v in known):
        if isinstance(dtype, np.dtype):
            return series
        kind = bool if truth and len(known) == len(values) > 0 else object
        return pd.Series(values.astype(kind), index=series.index, name=series.name)
    whole = len(known) == len(values) and all(isinstance(v, numbers.Integral) and abs(int(v)) < 2**63 for v in known)
    array = np.array([float("nan") if pd.isna(v) else v for v in values], dtype=np.int64 if whole else np.float64)
    return pd.Series(array, index=series.index, name=series.name)
