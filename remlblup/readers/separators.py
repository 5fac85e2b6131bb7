"""What sets the columns of a text file apart."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remlblup.errors import DataError, OptionError, some

BLANKS = r"\s+"
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def separator_of(sep: str) -> str:
    r"""A separator that a user names: one character of ASCII, ``\t`` for tabs, or ``\s+`` for blanks.

    Raises
    ------
    OptionError
        If it is none that columns can be set apart by.
    """
    if not isinstance(sep, str) or not sep:
        raise OptionError("--sep must not be empty." if sep == "" else f"--sep must be a text, not {sep!r}.")
    separator = sep.replace("\\t", "\t")
    if separator == BLANKS:
        return separator
    if len(separator) > 1:  # pandas would take it for a regular expression, and quotes for text
        blanks = " Blanks after it do no harm." if len(separator.strip()) == 1 else ""
        raise OptionError(
            rf"--sep {sep!r} has {len(separator)} characters: the columns are set apart by one (\t for a tab), or by"
            rf" blanks, '\s+'.{blanks}"
        )
    if separator in '"\r\n\0' or not separator.isascii():
        raise OptionError(
            rf"--sep {sep!r} cannot set columns apart: give one character of ASCII (\t for a tab) that is no quotation"
            r" mark"
            " and no end of a line."
        )
    return separator


def guess_separator(path: Path) -> str:
    """The separator that cuts the first lines into the same number (> 1) of fields; a comma if none does."""
    opener = OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        lines = [line for _, line in zip(range(50), file, strict=False) if line.strip()]
    best, most = ",", 1
    for candidate in ("\t", ",", ";", "|"):
        counts = {len(row) for row in csv.reader(lines, delimiter=candidate)}
        if len(counts) == 1 and max(counts) > most:
            best, most = candidate, max(counts)
    blanks = {len(line.split()) for line in lines}
    return BLANKS if most == 1 and len(blanks) <= 2 and min(blanks, default=1) > 1 else best


def check_one_column(path: Path, separator: str, name: object) -> None:
    """Refuse a separator that finds one column where another finds several."""
    other = guess_separator(path)
    if other == separator or len(re.split(re.escape(other) if other != BLANKS else other, str(name))) == 1:
        return
    looks = {BLANKS: "blanks", "\t": "tabs"}.get(other, repr(other))
    raise DataError(
        f"{path} has one column where {separator!r} is the separator, {some([name])}: it looks like one with {looks}"
        " between its columns. Leave --sep out."
    )
