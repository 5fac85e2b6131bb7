"""Tables as users see them: every column printed, and above them what a reader must know.

pandas leaves out columns that do not fit the width of the terminal, and knows no heading of a table. These are data
frames in everything else.
"""

from __future__ import annotations

import html
from typing import Any

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


def shown(table: pd.DataFrame, note: str = "") -> pd.DataFrame:
    """The table as a `Shown` one."""
    out = Shown(table)
    out.attrs = dict(table.attrs)
    out.note = note
    return out
