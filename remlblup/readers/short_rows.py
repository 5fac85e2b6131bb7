"""Rows of a text file with fewer cells than its first line has names, which pandas fills up without a word."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from remlblup.errors import DataError, RemlBlupWarning, count, warn
from remlblup.readers.separators import BLANKS, OPENERS


def tell_short_rows(path: Path, frame: pd.DataFrame, separator: str) -> None:
    """Warn of short rows, with their lines; where blanks set the cells apart nobody knows which are missing.

    Raises
    ------
    DataError
        For short rows between blanks.
    """
    if frame.empty or not frame.iloc[:, -1].isna().any():  # a short row has none in the last column
        return
    width = frame.shape[1] + (0 if isinstance(frame.index, pd.RangeIndex) else frame.index.nlevels)
    short = [(line, cells) for line, cells in rows(path, separator) if cells < width]
    if not short:
        return
    lines = ", ".join(f"{line} ({count(cells, 'cell')})" for line, cells in short[:6])
    lines += f" and {len(short) - 6:,} more" if len(short) > 6 else ""
    what = f"{count(len(short), 'line', 'is', 'are')} shorter than the first line of {path}, which has {width} cells"
    if separator == BLANKS:
        raise DataError(
            f"{what}: line {lines}. With blanks between the cells nobody can tell which are missing. Write NA for them."
        )
    warn(
        f"{what}: line {lines}. Cells at the end are taken as missing. Write all separators, or correct the lines.",
        RemlBlupWarning,
    )


def rows(path: Path, separator: str) -> Iterator[tuple[int, int]]:
    """The line at which each row begins, from 1, and how many cells it has; the first line and empty ones left out."""
    with OPENERS.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8-sig", newline="") as file:
        if separator == BLANKS:
            for line, text in enumerate(file, start=1):
                if line > 1 and text.strip():
                    yield line, len(re.findall(r'(?:"[^"]*"|\S)+', text))
            return
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
        begins = 1
        for row in reader:
            if begins > 1 and (len(row) > 1 or "".join(row).strip()):
                yield begins, len(row)
            begins = reader.line_num + 1
