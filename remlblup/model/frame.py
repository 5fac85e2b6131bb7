"""The user's data as a pandas DataFrame, its columns checked and its missing rows set aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from remlblup.errors import DataError, choose, some


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


def to_pandas(data: object) -> pd.DataFrame:
    """A pandas DataFrame of `data`: pandas, a mapping of columns, or any frame narwhals knows."""
    if isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, dict):
        try:
            frame = pd.DataFrame(data)
        except ValueError as error:
            raise DataError(f"the columns in data= do not fit together: {error}") from None
    else:
        import narwhals as nw

        try:
            table = nw.from_native(data, eager_only=True)  # type: ignore[call-overload]
            # Column by column: a polars frame gives its pandas form only where pyarrow is installed.
            frame = pd.DataFrame({name: table[name].to_numpy() for name in table.columns})
        except TypeError:
            raise DataError(
                f"data= must be a DataFrame (pandas, polars, pyarrow) or a mapping of columns, not {type(data).__name__}."
            ) from None
    if frame.columns.duplicated().any():
        raise DataError(f"column names occur twice in the data: {some(frame.columns[frame.columns.duplicated()])}.")
    return frame


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
    if complex_columns := [c for c in used if frame[c].dtype.kind == "c"]:
        raise DataError(
            f"the column {some(complex_columns)} is complex: use its real and imaginary parts as two columns."
        )
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
