"""Text tables and how numbers are written in them."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

WIDTH = 100


@dataclass(frozen=True)
class Table:
    """A table of text cells that prints itself.

    Attributes
    ----------
    title : printed above
    header : names of the columns
    rows : cells; a row of a single cell is a heading of the rows below it
    left : number of columns, from the first, that hold words and are aligned left; `words` adds others
    note : printed below
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    words: tuple[str, ...] = field(default=())
    note: str = ""

    @property
    def width(self) -> int:
        """Characters of the longest line."""
        return max(len(line) for line in self.text().splitlines())

    def is_text(self, k: int) -> bool:
        """Whether column k holds words."""
        return k < self.left or self.header[k] in self.words

    def text(self) -> str:
        """Aligned columns, two blanks apart."""
        whole = [r for r in (self.header, *self.rows) if len(r) == len(self.header)]
        widths = [max(len(r[k]) for r in whole) for k in range(len(self.header))]

        def line(cells: Sequence[str]) -> str:
            if len(cells) < len(widths):
                return cells[0]
            fitted = [
                c.ljust(w) if self.is_text(k) else c.rjust(w)
                for k, (c, w) in enumerate(zip(cells, widths, strict=True))
            ]
            return "  ".join(fitted).rstrip()

        head = [underlined(self.title, "-")] if self.title else []
        lines = [*head, line(self.header), *map(line, self.rows)]
        return "\n".join(lines + ([self.note] if self.note else []))

    def html(self) -> str:
        """The same cells as an HTML table with a caption."""
        number = ["" if self.is_text(k) else ' class="n"' for k in range(len(self.header))]

        def cells(row: Sequence[str], tag: str) -> str:
            if len(row) < len(number):
                return f'<tr><{tag} colspan="{len(number)}">{html.escape(row[0])}</{tag}></tr>'
            joined = (f"<{tag}{n}>{html.escape(c.strip())}</{tag}>" for c, n in zip(row, number, strict=True))
            return "<tr>" + "".join(joined) + "</tr>"

        body = "\n".join(cells(row, "td") for row in self.rows)
        note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return (
            f'<div class="scroll"><table>{caption}\n'
            f"<thead>{cells(self.header, 'th')}</thead>\n<tbody>{body}</tbody></table></div>{note}"
        )


# -- words -----------------------------------------------------------------------------------


def under_headings(table: Table) -> Table:
    """The first column as headings, each above its rows: for names that are too long for a column."""
    rows: list[tuple[str, ...]] = []
    for first, second, *others in table.rows:
        rows += [(first,)] if first else []
        rows.append((f"  {second}", *others))
    return Table(table.title, ("  " + table.header[1], *table.header[2:]), tuple(rows), 1, table.words, table.note)


def described(facts: Iterable[tuple[str, str]]) -> str:
    """Names and texts in two columns, folded at 100 characters."""
    lines = []
    for name, text in facts:
        folded = textwrap.wrap(text, WIDTH - 14, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [f"{name:<13} {folded[0]}", *(" " * 14 + more for more in folded[1:])]
    return "\n".join(lines)


def underlined(title: str, mark: str) -> str:
    return f"{title}\n{mark * len(title)}"


# -- numbers ---------------------------------------------------------------------------------


def aligned(first: Iterable[float], error: Iterable[float], *others: Iterable[float]) -> list[list[str]]:
    """Estimates, standard errors and further columns with the same decimals in a row, points under each other.

    A row has the decimals that give the larger of the two five significant digits and the standard
    error four; where rows differ by one decimal only, all have the smaller number of them.
    """
    columns = [np.asarray(list(c), dtype=float) for c in (first, error, *others)]
    places = [decimals(a, b) for a, b in zip(columns[0], columns[1], strict=True)]
    known = [d for d in places if d is not None]
    if known and max(known) - min(known) == 1:
        places = [None if d is None else min(known) for d in places]
    return [padded([written(v, d) for v, d in zip(c, places, strict=True)]) for c in columns]


def decimals(estimate: float, error: float) -> int | None:
    """Decimals for an estimate and its standard error; None for zeros and where only an exponent is readable."""
    has_error = math.isfinite(error) and error > 0.0
    sizes = [abs(v) for v in (estimate, error) if math.isfinite(v) and v != 0.0]
    if not sizes:
        return None
    largest = exponent(max(sizes))
    if largest > 7 or largest < -4:
        return None
    return int(np.clip(max(4 - largest, 3 - exponent(error) if has_error else 0), 0, 10))


def exponent(value: float) -> int:
    return math.floor(math.log10(value))


def written(value: float, places: int | None) -> str:
    """A number with so many decimals; blank for NaN, a plain 0 for zero."""
    if math.isnan(value):
        return ""
    if value == 0.0:
        return "0"
    return f"{value:.4e}" if places is None else f"{value:.{places}f}"


def padded(cells: list[str]) -> list[str]:
    """Blanks behind the numbers, so that a column aligned right has its decimal points in one line."""
    behind = [len(c) - c.index(".") if "." in c else 0 for c in cells]
    most = max(behind, default=0)
    return [c + " " * (most - b) if c else "" for c, b in zip(cells, behind, strict=True)]


def fixed_point(value: float, places: int) -> str:
    return "" if math.isnan(value) else f"{value:.{places}f}"


def p_value(value: float) -> str:
    """Four decimals; below them ``<0.0001``."""
    if math.isnan(value):
        return ""
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def frame_table(frame: pd.DataFrame, title: str) -> Table:
    """Any small data frame as a table, numbers with six significant digits."""
    numeric = [frame[c].dtype.kind in "iuf" for c in frame]
    first = next((k for k, n in enumerate(numeric) if n), len(numeric))
    words = tuple(str(c) for c, n in zip(frame.columns, numeric, strict=True) if not n)

    def cell(value: object) -> str:
        return ("" if math.isnan(value) else f"{value:.6g}") if isinstance(value, float) else str(value)

    rows = tuple(tuple(cell(v) for v in row) for row in frame.itertuples(index=False))
    return Table(title, tuple(map(str, frame.columns)), rows, first, words)
