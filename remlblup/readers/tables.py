"""Files into data frames, pedigrees and relationship matrices."""

from __future__ import annotations

import csv
import lzma
import os
import re
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import (
    DataError,
    DependencyError,
    OptionError,
    PedigreeError,
    RelationshipError,
    RemlBlupError,
    some,
)
from remlblup.linalg.memory import within_memory
from remlblup.readers.separators import check_one_column, guess_separator, separator_of
from remlblup.readers.short_rows import tell_short_rows
from remlblup.relationship.coerce import looks_like_pedigree
from remlblup.relationship.genomic.genotypes import Genotypes
from remlblup.relationship.genomic.relationship import genomic_relationship
from remlblup.relationship.given.matrix import Relationship
from remlblup.relationship.labels import canonical
from remlblup.relationship.pedigree.pedigree import Pedigree

NUMBER = r"[-+]?[\d.]+(?:[eE][-+]?\d+)?"
EXPONENT = r"\s*\d(?:[.,]\d+)?[eE]\+?[1-9]\d\s*"
MISSING = [".", "*"]  # besides what pandas takes for missing
MOSTLY = 0.5  # share of numbers in a text column from which its text is reported
SPREADSHEETS = (".xlsx", ".xlsm")
GENOTYPES = (".bed", ".vcf", ".vcf.gz", ".bcf")


# -- reading ---------------------------------------------------------------------------------


def is_path(value: object) -> bool:
    """Whether a user gave the name of a file where a frame or a matrix may stand."""
    return isinstance(value, str | os.PathLike)


@within_memory
def read_table(path: str | os.PathLike, sep: str | None = None, *, numbers: bool = True) -> pd.DataFrame:
    """A data file as a data frame; columns of numbers become numbers, codes such as 007 stay text.

    CSV or TSV (also .gz, .bz2, .xz), parquet, feather, or the first sheet of an .xlsx.
    ``attrs["notes"]`` of the frame lists what the user should know about the reading.

    Raises
    ------
    DataError
        If the file is absent, empty, or cannot be read.
    """
    path = existing(path)
    if path.suffix.lower() in (".parquet", ".feather"):
        return _columnar(path)
    if path.suffix.lower() in SPREADSHEETS:
        frame = _read_sheet(path)
        return _typed(frame, False) if numbers else frame.apply(as_text)
    frame, separator = _read_csv(path, sep, dtype=str)
    if not isinstance(frame.index, pd.RangeIndex):  # row names without a header, as R writes them
        frame = frame.reset_index(drop=True)
    return _typed(frame, separator == ";") if numbers else frame


def existing(path: str | os.PathLike) -> Path:
    """The path, if there is a file of a kind that can be read."""
    path = Path(path)
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a name too long, a folder that may not be looked into
        raise DataError(f"'{str(path)[:80]}' cannot be read: {getattr(error, 'strerror', error)}.") from None
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a data file.")
    if not path.exists():
        swapped = " A formula stands in the place of the data." if "~" in path.name else ""
        raise DataError(f"there is no file '{path}'.{swapped}")
    if path.suffix.lower() in (".xls", ".xlsb", ".ods"):
        raise DataError(f"{path} is a spreadsheet: save it as .xlsx or CSV first.")
    if path.suffix.lower() == ".zip":
        raise DataError(f"{path} is an archive: unpack it first.")
    return path


def _columnar(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_feather(path)
    except ImportError:
        raise DependencyError(
            f"reading {path} needs pyarrow: pip install 'remlblup[parquet]', or save the data as CSV."
        ) from None
    except Exception as error:  # pyarrow's own, of many classes
        raise DataError(f"{path} cannot be read: {error}") from None


def _read_sheet(path: Path) -> pd.DataFrame:
    """The first sheet of a spreadsheet, its first line that is not empty as names, its cells as they are."""
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise DependencyError(
            f'reading {path} needs openpyxl: pip install "remlblup[excel]", or save the data as CSV.'
        ) from None
    try:
        with pd.ExcelFile(path, engine="openpyxl") as book:
            sheets = book.sheet_names
            cells = pd.read_excel(book, sheet_name=sheets[0], header=None, dtype=object, na_values=MISSING)
    except Exception as error:  # whatever a damaged archive of XML leads to
        raise DataError(f"{path} cannot be read as a spreadsheet ({error}): save it as CSV.") from None
    cells = cells.dropna(axis=0, how="all").dropna(axis=1, how="all")
    if cells.empty:
        raise DataError(f"{path} cannot be read as a table: its first sheet is empty.")
    names = cells.iloc[0]
    if names.isna().any():
        raise DataError(f"column {int(names.isna().to_numpy().argmax()) + 1} of {path} has no name in its first line.")
    _check_names(path, names.map(lambda v: str(v).strip()))
    frame = cells.iloc[1:].reset_index(drop=True).set_axis(names.map(lambda v: str(v).strip()).tolist(), axis=1)
    if len(sheets) > 1:
        frame.attrs["notes"] = [f"of {path} the first sheet, {sheets[0]!r}, is read, and not {some(sheets[1:])}"]
    return frame


def _check_names(path: Path, names: pd.Series) -> None:
    """Refuse names that occur twice, and numbers where names should stand."""
    known = names.dropna()  # the labels of rows may stand under no name
    twice = known[known.duplicated()]
    numbers = [bool(re.fullmatch(NUMBER, str(c))) for c in (twice if len(twice) else names)]
    if numbers and (any(numbers) if len(twice) else all(numbers)):
        raise DataError(
            f"the first line of {path} holds numbers, {some(known, 4)}: it must name the columns, as animal,sire,dam"
            " those of a pedigree, or the levels of a matrix. Put such a line above the data."
        )
    if len(twice):  # pandas would rename them without a word
        raise DataError(
            f"{path} has columns of the same name: {some(twice.unique())}. Rename them; if its first line is data, put"
            " a line of names above it."
        )


def as_text(column: pd.Series) -> pd.Series:
    """Cells of a spreadsheet as text, missing ones left."""
    return column.map(lambda v: v if isinstance(v, str) or pd.isna(v) else str(v))


def _read_csv(path: Path, sep: str | None, **options: Any) -> tuple[pd.DataFrame, str]:
    try:
        separator = guess_separator(path) if sep is None else separator_of(sep)
        common: dict[str, Any] = {"sep": separator, "skipinitialspace": True, "encoding": "utf-8-sig"}
        names = pd.read_csv(path, header=None, nrows=1, dtype=str, **common).iloc[0].str.strip()
        if sep is not None and len(names) == 1:
            check_one_column(path, separator, names.iloc[0])
        _check_names(path, names)
        frame = pd.read_csv(path, na_values=MISSING, **common, **options)
        tell_short_rows(path, frame, separator)
        if not isinstance(frame.index, pd.RangeIndex):
            print(
                f"note: the rows of {path} have more fields than its first line has names; "
                "the first ones are row names.",
                file=sys.stderr,
            )
    except UnicodeDecodeError:
        raise DataError(f"{path} is not in UTF-8: save it in this encoding (CSV UTF-8).") from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty: it must hold a line of names, and the data below it.") from None
    except (pd.errors.ParserError, re.error) as error:
        raise DataError(f"{path} cannot be read as a table: {_reason(str(error))}") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    return frame.rename(columns=lambda c: str(c).strip()), separator


def _reason(error: str) -> str:
    """Why pandas cannot read a file: which line has too many cells, or which quotation mark does not end."""
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error):
        expected, line, cells = found.groups()
        return (
            f"line {line} has {cells} cells, and those before it {expected}. Correct the line (text that holds the"
            " separator stands between quotation marks), or name another separator with --sep."
        )
    if found := re.search(r"EOF inside string starting at row (\d+)", error):
        return f"a quotation mark in line {int(found[1]) + 1} is never closed."
    return f"{error.strip().rstrip('.')}. Read it with pandas and give the frame."


def _typed(frame: pd.DataFrame, commas: bool) -> pd.DataFrame:
    """Numbers where a whole column holds numbers."""
    notes = list(frame.attrs.get("notes", ()))
    for name in frame.columns:
        column = frame[name]
        if not isinstance(column, pd.Series):  # a repeated name: left to the checks of the model
            continue
        if column.dtype == object:  # cells of a spreadsheet, which know what they are
            found = column.dropna()
            if not any(isinstance(v, str) for v in found):
                frame[name] = column.infer_objects() if len(found) else pd.to_numeric(column)
                continue
            column = frame[name] = as_text(column)
        text = column.dropna()
        if text.str.fullmatch(r"[-+]?0\d+|\d{16,}").any():  # codes: 007, and numbers no float can hold
            frame[name] = _stripped(column, notes)
            continue
        if commas and text.str.fullmatch(r"[-+]?\d*,\d+").any():
            column = column.str.replace(",", ".", regex=False)
        values = pd.to_numeric(column, errors="coerce")
        wrong = column.notna() & values.isna()
        if not wrong.any():
            frame[name] = values
            continue
        frame[name] = _stripped(column, notes)
        if wrong.mean() < 1.0 - MOSTLY:
            first = int(np.argmax(wrong.to_numpy()))
            notes.append(
                f"'{name}' is read as text because of {some(column[wrong].unique(), 3)} (first in line {first + 2})"
            )
    frame.attrs["notes"] = notes
    return frame


def _stripped(column: pd.Series, notes: list[str]) -> pd.Series:
    """Text without the blanks behind it; those in front are skipped while reading."""
    stripped = column.str.strip()
    changed = column[(stripped != column) & column.notna()]
    if len(changed) and stripped.nunique() < column.nunique():
        notes.append(f"'{column.name}': blanks behind {some(changed.unique(), 3)} are left out")
    return stripped if len(changed) else column


# -- relationships ---------------------------------------------------------------------------


def read_relationships(
    pedigrees: dict[str, str],
    matrices: dict[str, str],
    inverses: Iterable[str],
    hermaphrodites: bool = False,
    groups: Iterable[str] | None = None,
    genotypes: dict[str, str] | None = None,
    columns: str | None = None,
    formed: bool = True,
) -> dict[str, Any]:
    """NAME → pedigree or relationship; genomic matrices at once, or only by what asks for one (`formed`).

    Raises
    ------
    OptionError
        For a name given twice, or an inverse that names no matrix.
    RelationshipError, DataError
        If a file cannot be read as what it should be; the message starts with its name.
    """
    inverses = list(inverses)
    genotypes = genotypes or {}
    names = [*pedigrees, *matrices, *genotypes]
    if double := sorted({n for n in names if names.count(n) > 1}):
        raise OptionError(
            f"{some(double)} is given twice, as pedigree, relationship matrix or genotypes: use two names."
        )
    if groups and not pedigrees:
        raise OptionError("--groups names parents in a pedigree, and --pedigree gives none.")
    if unknown := [n for n in inverses if n not in matrices]:
        raise OptionError(f"--inverse names {some(unknown)}, which --relationship does not give.")
    if columns and not pedigrees:
        raise OptionError("--pedigree-columns names columns of a pedigree, and --pedigree gives none.")
    named: dict[str, Any] = _roles(columns)
    out: dict[str, Any] = {}
    for name, file in pedigrees.items():
        try:
            out[name] = Pedigree.from_frame(
                check_written_out(read_table(file, numbers=False)),
                **named,
                hermaphrodites=hermaphrodites,
                groups=groups,
            )
        except RelationshipError as error:
            raise type(error)(f"pedigree {name} ({file}): {error}") from None
    for name, file in matrices.items():
        try:
            out[name] = read_matrix(file, name in inverses)
        except RelationshipError as error:
            raise type(error)(f"relationship {name} ({file}): {error}") from None
    for name, file in genotypes.items():
        try:
            out[name] = genomic_relationship(read_genotypes(file), progress=False, formed=formed)
        except RemlBlupError as error:
            raise type(error)(f"genotypes {name} ({file}): {error}") from None
    return out


def check_written_out(pedigree: pd.DataFrame) -> pd.DataFrame:
    """Refuse labels that a spreadsheet or a program has written as ``8.40003E+17``."""
    for name, column in pedigree.items():
        found = column.dropna().astype(str)
        if (short := found[found.str.fullmatch(EXPONENT)]).size:
            raise PedigreeError(
                f"the column {name!r} holds numbers written with an exponent, {some(short.unique(), 3)}: their last"
                " digits are lost, and different animals read alike. Write the file anew with these numbers as text."
            )
    return pedigree


def _roles(columns: str | None) -> dict[str, str]:
    """``ID,SIRE,DAM`` as the arguments id, sire and dam."""
    if columns is None:
        return {}
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 3 or not all(names):
        raise OptionError(f"--pedigree-columns {columns!r} must name three columns: ID,SIRE,DAM.")
    return dict(zip(("id", "sire", "dam"), names, strict=True))


def read_genotypes(file: str) -> Genotypes:
    """By the suffix: PLINK .bed, .zarr, .vcf (.gz, .bcf), else text."""
    if str(file).rstrip("/").endswith(".zarr"):
        return Genotypes.from_zarr(file)
    path = existing(file)
    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith(".bed"):
        return Genotypes.from_bed(path)
    if suffixes.endswith(GENOTYPES):
        return Genotypes.from_vcf(path)
    return Genotypes.from_text(path)


def read_relationship(file: str | os.PathLike) -> pd.DataFrame | Relationship:
    """What a file holds: the rows of a pedigree, or a matrix as `read_matrix` reads it.

    Raises
    ------
    RelationshipError, DataError
        If it holds neither; the message names the file.
    """
    path = existing(file)
    if path.name.lower().endswith(GENOTYPES):
        raise RelationshipError(
            f"{path} holds genotypes, not a relationship made of them. Give rb.genomic_relationship(genotypes)."
        )
    table = read_table(path, numbers=False)
    try:
        return check_written_out(table) if _holds_pedigree(table) else read_matrix(path, False)
    except RelationshipError as error:
        raise type(error)(f"{path}: {error}") from None


def _holds_pedigree(table: pd.DataFrame) -> bool:
    """As of a data frame; three columns that end in fractions are level, level, value."""
    last = pd.to_numeric(table.iloc[:, -1], errors="coerce") if table.shape[1] == 3 else pd.Series(dtype=float)
    try:
        return looks_like_pedigree(
            table.iloc[:, :-1].assign(**{str(table.columns[-1]): last}) if len(last) and last.notna().all() else table
        )
    except RelationshipError:
        return False


def read_matrix(file: str | os.PathLike, inverse: bool) -> Relationship:
    """A square matrix with its levels in the first line or column (or both), or columns level, level, value."""
    path = existing(file)
    if path.suffix.lower() in (".parquet", ".feather", *SPREADSHEETS):
        frame = read_table(path)
    else:
        header, _ = _read_csv(path, None, nrows=0)
        labels = 2 if header.shape[1] == 3 else 1
        frame, _ = _read_csv(path, None, dtype=dict.fromkeys(header.columns[:labels], str))
    if frame.shape[1] == 3 and frame.shape[0] not in (2, 3):
        return _triplets(frame, inverse)
    if frame.shape[1] == frame.shape[0]:
        frame = frame.apply(pd.to_numeric, errors="coerce")
    return Relationship(frame, inverse=inverse)


def _triplets(frame: pd.DataFrame, inverse: bool) -> Relationship:
    values = pd.to_numeric(frame.iloc[:, 2], errors="coerce").to_numpy(dtype=float)
    rows, columns = canonical(frame.iloc[:, 0]), canonical(frame.iloc[:, 1])
    if np.isnan(values).any() or any(v is None for v in (*rows, *columns)):
        raise RelationshipError("three columns must hold level, level and value; some are missing or not numbers.")
    codes, labels = pd.factorize(np.concatenate([rows, columns]))
    i, j = codes[: len(rows)], codes[len(rows) :]
    matrix = sp.coo_array((values, (i, j)), shape=(len(labels),) * 2).tocsc()
    pairs = pd.MultiIndex.from_arrays([np.minimum(i, j), np.maximum(i, j)])
    if pairs.is_unique:  # one triangle
        matrix = matrix + matrix.T - sp.diags_array(matrix.diagonal())
    return Relationship(sp.csc_array(matrix), labels, inverse=inverse)
