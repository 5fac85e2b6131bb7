"""Tables as users see them: every column printed, and above them what a reader must know.

pandas leaves out columns that do not fit the width of the terminal, and knows no heading of a table. These are data
frames in everything else.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


class Shown(pd.DataFrame):
    """A data frame that prints all its columns, below its `note` if it has one."""

    _metadata = ["note"]  # noqa: RUF012  as pandas asks for it
    note: str = ""

    @property
    def _constructor(self) -> Any:
        return Shown

    def __repr__(self) -> str:
        with pd.option_context("display.max_columns", None):
            text = super().__repr__()
        return f"{self.note}\n{text}" if self.note else text

    def _repr_html_(self) -> str | None:
        text = super()._repr_html_()  # type: ignore[misc]
        return f"<p><b>{html.escape(self.note)}</b></p>\n{text}" if self.note and text else text


# The type that pandas takes text for.
TEXT: Any = pd.Series(["text"]).dtype
# Rows up to which text is handed to Arrow at once: beyond, the time is in the text and not in pandas' looking at it.
FEW_ROWS = 10_000 if isinstance(TEXT, pd.StringDtype) and TEXT.storage == "pyarrow" else 0


def text(values: Sequence[Any] | np.ndarray) -> Any:
    """What pandas would make of a column of objects (n,), of a short one of text without its looking at each."""
    return values if len(values) > FEW_ROWS or set(map(type, values)) != {str} else of_arrow(values)


def text_at(values: np.ndarray, places: np.ndarray) -> Any:
    """The same of the values at these places (n,): of a long column text is made of the values alone."""
    if not FEW_ROWS or len(places) <= FEW_ROWS or set(map(type, values)) != {str}:
        return text(values[places])
    return of_arrow(values).take(places)


def of_arrow(values: Sequence[Any] | np.ndarray) -> Any:
    """Text as pandas holds it."""
    import pyarrow

    return TEXT.__from_arrow__(pyarrow.array(values, type=pyarrow.large_string()))


def table_of(columns: Sequence[Any], names: pd.Index) -> Shown:
    """A table of its columns (n,), which are its own from now on."""
    out = Shown(dict(enumerate(columns)), index=pd.RangeIndex(len(columns[0])), copy=False)
    out.columns = names.view()
    return out


def noted(table: Shown, note: str) -> Shown:
    """A new table with what is printed above it."""
    if note:
        table.note = note
    return table


def shown(table: pd.DataFrame, note: str = "") -> pd.DataFrame:
    """The table as a `Shown` one."""
    out = Shown(table)
    out.attrs = dict(table.attrs)
    out.note = note
    return out
