"""The lines of a file, looked through with errors that say where and what was expected."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from remlblup.errors import ReaderError
from remlblup.readers.tables import existing

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?"
_NUMBERS = re.compile(rf"\s*(?:{NUMBER}\s*)+")
#: A file of results is a few hundred lines, one of solutions at most some millions.
LARGEST = 2**30


class Number(NamedTuple):
    """A number and half a unit of its last digit."""

    value: float
    rounding: float


def number(text: str) -> Number:
    """A number as Fortran, C or R prints it."""
    mantissa, _, exponent = re.sub("[dD]", "e", text.strip().lower()).partition("e")
    power = int(exponent or 0) - len(mantissa.partition(".")[2])
    return Number(float(f"{mantissa}e{exponent or 0}"), 0.5 * 10.0 ** max(power, -300))


def is_number(text: str) -> bool:
    """Whether a text is a number that is finite."""
    return re.fullmatch(NUMBER, text.strip()) is not None and bool(np.isfinite(number(text).value))


class Lines:
    """The lines of a file.

    Attributes
    ----------
    path : name of the file, for messages
    lines : without their ends
    whole : whether the last line has an end: without, it may be cut off
    """

    def __init__(self, path: str, text: str):
        self.path = path
        self.whole = text.endswith("\n")
        self.lines = text.split("\n")
        if self.whole:
            self.lines.pop()
        self.lines = [line.rstrip("\r") for line in self.lines]

    @classmethod
    def of(cls, path: str | os.PathLike) -> Lines:
        """Read a file; text that is no UTF-8 is read byte by byte, as names may stand in it."""
        file = existing(path)
        if (size := file.stat().st_size) > LARGEST:
            raise ReaderError(f"{file} has {size:,} bytes: this is no output of a program.", str(file))
        raw = Path(file).read_bytes()
        if b"\0" in raw:
            line = raw[: raw.index(b"\0")].count(b"\n") + 1
            raise ReaderError(f"{file}, line {line}: expected text, found a zero byte.", str(file), line, "text")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        return cls(str(file), text)

    def __len__(self) -> int:
        return len(self.lines)

    def fail(self, at: int, expected: str) -> NoReturn:
        """Raise: at this line (from 0) something else was expected."""
        if at < len(self.lines):
            found = f"found {self.lines[at].strip()[:60]!r}"
        else:
            at, found = len(self.lines), "the file ends"
        raise ReaderError(f"{self.path}, line {at + 1}: expected {expected}, {found}.", self.path, at + 1, expected)

    def take(self, at: int, expected: str) -> str:
        """A line from which numbers are read: it must be there, and end."""
        if at >= len(self.lines):
            self.fail(at, expected)
        if at == len(self.lines) - 1 and not self.whole:
            self.fail(at, f"{expected} and the end of the line (if the file is not cut off, add it)")
        return self.lines[at]

    def find(self, pattern: str, expected: str, start: int = 0, stop: int | None = None) -> tuple[int, re.Match]:
        """The first line from `start` on that matches."""
        found = self.search(pattern, start, stop)
        if found is None:
            self.fail(len(self.lines) if stop is None else stop, expected)
        self.take(found[0], expected)
        return found

    def search(self, pattern: str, start: int = 0, stop: int | None = None) -> tuple[int, re.Match] | None:
        """The first line that matches, None without."""
        compiled = re.compile(pattern)
        for at in range(start, len(self.lines) if stop is None else stop):
            if (match := compiled.search(self.lines[at])) is not None:
                return at, match
        return None

    def all(self, pattern: str, start: int = 0, stop: int | None = None) -> list[tuple[int, re.Match]]:
        """Every line that matches."""
        compiled = re.compile(pattern)
        places = range(start, len(self.lines) if stop is None else stop)
        return [(at, match) for at in places if (match := compiled.search(self.lines[at])) is not None]

    def number(self, at: int, text: str, expected: str = "a number") -> Number:
        """A number of a line."""
        if not is_number(text):
            self.fail(at, f"{expected} in place of {text.strip()!r}")
        return number(text)

    def numbers(self, at: int) -> list[Number]:
        """The numbers of a line that holds nothing else, [] for another line; widths may leave no blanks between."""
        line = self.lines[at] if at < len(self.lines) else ""
        if not _NUMBERS.fullmatch(line):
            return []
        return [number(text) for text in re.findall(NUMBER, line)]

    def square(self, at: int, expected: str, size: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
        """A symmetric matrix that begins at this line, its rows wrapped or not: values, roundings, the line behind."""
        found: list[Number] = []
        end = at
        while end < len(self.lines) and (row := self.numbers(end)):
            self.take(end, expected)
            found += row
            end += 1
        order = round(len(found) ** 0.5)
        if not found or order**2 != len(found) or (size is not None and order != size):
            wanted = "" if size is None else f", {size} x {size} numbers"
            self.fail(end, f"{expected}{wanted} (a square matrix; so far {len(found)} numbers)")
        values = np.array([n.value for n in found]).reshape(order, order)
        roundings = np.array([n.rounding for n in found]).reshape(order, order)
        if np.any(np.abs(values - values.T) > 2.0 * (roundings + roundings.T)):
            self.fail(at, f"{expected}, a symmetric matrix")
        return values, roundings, end
