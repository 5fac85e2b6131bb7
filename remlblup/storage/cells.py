"""Text in CSV files that a spreadsheet would run as a formula, written so that it does not."""

from __future__ import annotations

import csv
import re

import pandas as pd

_STARTS = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def harmless(text: str) -> str:
    """The text, behind an apostrophe if it begins as formulas do and is not a number; see `original`."""
    return f"'{text}" if _STARTS.match(text) and not _NUMBER.fullmatch(text) else text


def original(text: str) -> str:
    """Inverse of `harmless`."""
    return text[1:] if _MARKED.match(text) else text


def harmless_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with every text in it, its names and the labels of its rows harmless."""
    out = frame.set_axis([_cell(c) for c in frame.columns], axis=1)
    for name in out.columns[[not _numeric(t) for t in frame.dtypes]]:
        out[name] = out[name].astype(object).map(_cell)
    if not _numeric(frame.index.dtype):
        out.index = pd.Index([_cell(v) for v in frame.index], name=frame.index.name)
    return out


def _cell(value: object) -> object:
    return harmless(value) if isinstance(value, str) else value


def _numeric(dtype: object) -> bool:
    return getattr(dtype, "kind", "O") in "biufmM"


def csv_text(frame: pd.DataFrame, escape: bool, index: bool = False) -> str:
    """A frame as CSV, harmless in a spreadsheet if `escape`."""
    out = harmless_frame(frame) if escape else frame
    text = out.to_csv(index=index, lineterminator="\n")
    return out.to_csv(index=index, lineterminator="\n", quoting=csv.QUOTE_ALL) if "\r" in text else text
