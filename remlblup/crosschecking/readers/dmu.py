"""DMU: ``PAROUT`` with the estimates, ``PAROUT_STD`` with their standard errors; the listing is refused by name.

``PAROUT`` is in the form of DMU's ``$PRIOR`` (the guide of DMU 6, "(Co)-variances"): number of the random factor, row,
column, value, the residual one after the last factor. ``PAROUT_STD`` numbers the same parameters: how many, then each
with its estimate and standard error, then each pair with the correlation and covariance of the estimates.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from remlblup.crosschecking.readers.text import Lines, Number
from remlblup.crosschecking.results import COMPONENTS, NUMBERED, Results, component, matrix_components, table

_REAL = r"[-+]?\d*\.\d+(?:[EeDd][-+]?\d+)?"
PAROUT = rf"^\s*\d+\s+\d+\s+\d+\s+{_REAL}\s*$"
PAROUT_STD = rf"^\s*\d+\s+\d+\s+{_REAL}\s+{_REAL}\s*$"
LISTING = r"^\s*FINAL PARAMETERS ESTIMATED|\bDMU(?:AI|1|4|5)\b"


def read_listing(lines: Lines) -> NoReturn:
    """The listing (``.lst``), whose form is documented nowhere."""
    lines.fail(0, "PAROUT, and perhaps PAROUT_STD, of the same run: the listing of DMU has no documented form")


def read_parout(lines: Lines) -> Results:
    """``PAROUT``: the last matrix is the residual's. The file has no end: a matrix too few cannot be seen."""
    entries: dict[int, dict[tuple[int, int], Number]] = {}
    for at in range(len(lines)):
        fields = lines.take(at, "matrix, row, column, value").split()
        if not fields:
            continue
        if len(fields) != 4 or not all(f.isdigit() for f in fields[:3]):
            lines.fail(at, "matrix, row, column, value")
        i, j = sorted((int(fields[1]) - 1, int(fields[2]) - 1), reverse=True)
        if j < 0 or i > 200:
            lines.fail(at, "rows and columns from 1")
        entries.setdefault(int(fields[0]), {})[i, j] = lines.number(at, fields[3])
    if sorted(entries) != list(range(1, len(entries) + 1)) or len(entries) < 2:
        lines.fail(len(lines), "matrices numbered from 1: of each random factor and of the residual")
    rows: list[tuple] = []
    for number, cells in sorted(entries.items()):
        size = 1 + max(i for i, _ in cells)
        if len(cells) != size * (size + 1) // 2:
            lines.fail(len(lines), f"{size * (size + 1) // 2} entries of matrix {number}")
        values, roundings = np.zeros((size, size)), np.zeros((size, size))
        for (i, j), n in cells.items():
            values[i, j] = values[j, i] = n.value
            roundings[i, j] = roundings[j, i] = n.rounding
        rows += matrix_components("residual" if number == len(entries) else f"effect {number}", values, roundings)
    return Results("DMU", None, lines.path, components=table(rows, COMPONENTS))


def read_parout_std(lines: Lines) -> Results:
    """``PAROUT_STD``: estimates and their standard errors, by number; the covariances must accord with them."""
    places = [at for at in range(len(lines)) if lines.lines[at].strip()]
    first = lines.take(places[0], "the number of parameters").split()
    if len(first) != 1 or not first[0].isdigit() or first[0] == "0":
        lines.fail(places[0], "the number of parameters")
    size = int(first[0])
    values, errors = [], []
    for k, at in enumerate(_lines(lines, places, 1, size, "its estimate and standard error"), 1):
        fields = lines.take(at, "a parameter").split()
        if len(fields) != 3 or fields[0] != str(k):
            lines.fail(at, f"parameter {k}, its estimate and standard error")
        values.append(lines.number(at, fields[1], "an estimate"))
        errors.append(lines.number(at, fields[2], "a standard error"))
    pairs = [(i, j) for i in range(size) for j in range(i + 1)]
    for (i, j), at in zip(pairs, _lines(lines, places, 1 + size, len(pairs), "correlation, covariance"), strict=True):
        _check_pair(lines, at, i, j, errors)
    if len(places) > 1 + size + len(pairs):
        lines.fail(places[1 + size + len(pairs)], "the end of the file")
    rows = [
        component(f"parameter {k}", value.value, value.rounding, error.value, kind=NUMBERED)
        for k, (value, error) in enumerate(zip(values, errors, strict=True), 1)
    ]
    return Results("DMU", None, lines.path, components=table(rows, COMPONENTS))


def _lines(lines: Lines, places: list[int], first: int, count: int, what: str) -> list[int]:
    """Numbers of `count` lines that hold something."""
    found = places[first : first + count]
    if len(found) < count:
        lines.fail(len(lines), f"{count} lines with {what}, {len(found)} found")
    return found


def _check_pair(lines: Lines, at: int, i: int, j: int, errors: list[Number]) -> None:
    """A covariance of two estimates is their correlation times the standard errors."""
    fields = lines.take(at, "two parameters, correlation, covariance").split()
    if len(fields) != 4 or {fields[0], fields[1]} != {str(i + 1), str(j + 1)}:
        lines.fail(at, f"parameters {i + 1} and {j + 1}, correlation, covariance")
    r, covariance = lines.number(at, fields[2], "a correlation"), lines.number(at, fields[3], "a covariance")
    a, b = errors[i], errors[j]
    allowed = abs(a.value * b.value) * r.rounding + abs(r.value) * (a.value * b.rounding + b.value * a.rounding)
    if abs(r.value * a.value * b.value - covariance.value) > 2.0 * (allowed + covariance.rounding):
        lines.fail(at, "a covariance that is the correlation times the standard errors")
