"""Files into data frames, pedigrees and relationship matrices."""

from __future__ import annotations

import csv
import gzip
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import DataError, DependencyError, OptionError, RelationshipError, RemlBlupError, some
from remlblup.model.algebra import read_terms
from remlblup.model.covariates import whole_covariates
from remlblup.relationship import Pedigree, Relationship
from remlblup.relationship.genomic import genomic_relationship
from remlblup.relationship.genotypes import Genotypes
from remlblup.relationship.labels import canonical, tidy

BLANKS = r"\s+"
MISSING = [".", "*"]  # besides what pandas takes for missing
MOSTLY = 0.5  # share of numbers in a text column from which its text is reported


# -- reading ---------------------------------------------------------------------------------


def read_table(path: str | Path, sep: str | None = None, *, numbers: bool = True) -> pd.DataFrame:
    """A data file as a data frame; CSV columns of numbers become numbers, codes such as 007 stay text.

    ``attrs["notes"]`` of the frame lists what the user should know about the reading.

    Raises
    ------
    DataError
        If the file is absent, empty, or cannot be read.
    """
    path = existing(path)
    if path.suffix.lower() in (".parquet", ".feather"):
        return _columnar(path)
    frame, separator = _read_csv(path, sep, dtype=str)
    if not isinstance(frame.index, pd.RangeIndex):  # row names without a header, as R writes them
        frame = frame.reset_index(drop=True)
    return _typed(frame, separator == ";") if numbers else frame


def existing(path: str | Path) -> Path:
    """The path, if there is a file of a kind that can be read."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a data file.")
    if not path.exists():
        raise DataError(f"there is no file '{path}'.")
    if path.suffix.lower() in (".xls", ".xlsx", ".ods"):
        raise DataError(f"{path} is a spreadsheet: save it as CSV first.")
    return path


def _columnar(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_feather(path)
    except ImportError:
        raise DependencyError(f"reading {path} needs pyarrow: pip install pyarrow, or save the data as CSV.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _read_csv(path: Path, sep: str | None, **options: Any) -> tuple[pd.DataFrame, str]:
    try:
        separator = guess_separator(path) if sep is None else sep.replace("\\t", "\t")
        if not separator:
            raise OptionError("--sep must not be empty.")
        common = {"sep": separator, "skipinitialspace": True, "encoding": "utf-8-sig"}
        names = pd.read_csv(path, header=None, nrows=1, dtype=str, **common).iloc[0].dropna().str.strip()
        if names.duplicated().any():  # pandas would rename them without a word
            raise DataError(f"{path} has columns of the same name: {some(names[names.duplicated()])}. Rename them.")
        frame = pd.read_csv(path, na_values=MISSING, **common, **options)
        if not isinstance(frame.index, pd.RangeIndex):
            print(
                f"note: the rows of {path} have more fields than its first line has names; the first ones are row names.",
                file=sys.stderr,
            )
    except UnicodeDecodeError:
        raise DataError(f"{path} is not in UTF-8: save it in this encoding (CSV UTF-8).") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, re.error) as error:
        raise DataError(
            f"{path} cannot be read as a table: {str(error).strip()}. Give its separator with --sep."
        ) from None
    if frame.columns.size and all(re.fullmatch(r"[-+\d.eE]+", str(c)) for c in frame.columns):
        raise DataError(f"the first line of {path} holds numbers: it must name the columns.")
    return frame.rename(columns=lambda c: str(c).strip()), separator


def guess_separator(path: Path) -> str:
    """The separator that cuts the first lines into the same number (> 1) of fields; a comma if none does."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        lines = [line for _, line in zip(range(50), file, strict=False) if line.strip()]
    best, most = ",", 1
    for candidate in ("\t", ",", ";", "|"):
        counts = {len(row) for row in csv.reader(lines, delimiter=candidate)}
        if len(counts) == 1 and max(counts) > most:
            best, most = candidate, max(counts)
    blanks = {len(line.split()) for line in lines}
    return BLANKS if most == 1 and len(blanks) <= 2 and min(blanks, default=1) > 1 else best


def _typed(frame: pd.DataFrame, commas: bool) -> pd.DataFrame:
    """Numbers where a whole column holds numbers."""
    notes = []
    for name in frame.columns:
        column = frame[name]
        if not isinstance(column, pd.Series):  # a repeated name: left to the checks of the model
            continue
        text = column.dropna()
        if text.str.fullmatch(r"[-+]?0\d+|\d{16,}").any():  # codes: 007, and numbers no float can hold
            continue
        if commas and text.str.fullmatch(r"[-+]?\d*,\d+").any():
            column = column.str.replace(",", ".", regex=False)
        values = pd.to_numeric(column, errors="coerce")
        wrong = column.notna() & values.isna()
        if not wrong.any():
            frame[name] = values
        elif wrong.mean() < 1.0 - MOSTLY:
            first = int(np.argmax(wrong.to_numpy()))
            notes.append(
                f"'{name}' is read as text because of {some(column[wrong].unique(), 3)} (first in line {first + 2})"
            )
    frame.attrs["notes"] = notes
    return frame


# -- relationships ---------------------------------------------------------------------------


def read_relationships(
    pedigrees: dict[str, str], matrices: dict[str, str], inverses: Iterable[str], hermaphrodites: bool = False,
    groups: Iterable[str] | None = None, genotypes: dict[str, str] | None = None, columns: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """NAME → pedigree or relationship.

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
    named = _roles(columns)
    out: dict[str, Any] = {}
    for name, file in pedigrees.items():
        try:
            out[name] = Pedigree.from_frame(read_table(file, numbers=False), **named, hermaphrodites=hermaphrodites,
                                             groups=groups)  # fmt: skip
        except RelationshipError as error:
            raise type(error)(f"pedigree {name} ({file}): {error}") from None
    for name, file in matrices.items():
        try:
            out[name] = read_matrix(file, name in inverses)
        except RelationshipError as error:
            raise type(error)(f"relationship {name} ({file}): {error}") from None
    for name, file in genotypes.items():
        try:
            out[name] = genomic_relationship(read_genotypes(file), progress=False)
        except RemlBlupError as error:
            raise type(error)(f"genotypes {name} ({file}): {error}") from None
    return out


def _roles(columns: str | None) -> dict[str, str]:
    """``ID,SIRE,DAM`` as the arguments id, sire and dam."""
    if columns is None:
        return {}
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 3 or not all(names):
        raise OptionError(f"--pedigree-columns {columns!r} must name three columns: ID,SIRE,DAM.")
    return dict(zip(("id", "sire", "dam"), names, strict=True))


def read_genotypes(file: str) -> Genotypes:
    """By the suffix: PLINK .bed, .vcf (.gz, .bcf), else text."""
    path = existing(file)
    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith(".bed"):
        return Genotypes.from_bed(path)
    if suffixes.endswith((".vcf", ".vcf.gz", ".bcf")):
        return Genotypes.from_vcf(path)
    return Genotypes.from_text(path)


def read_matrix(file: str, inverse: bool) -> Relationship:
    """A square matrix with its levels in the first line or column (or both), or columns level, level, value."""
    path = existing(file)
    header, _ = _read_csv(path, None, nrows=0)
    frame, _ = _read_csv(path, None, dtype={header.columns[0]: str})
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


# -- factors and covariates ------------------------------------------------------------------


def make_factors(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """The columns as categories, in the order of their values.

    Raises
    ------
    DataError
        If there is no such column.
    """
    columns = list(columns)
    if absent := [c for c in columns if c not in frame.columns]:
        raise DataError(f"--factor names {some(absent)}, not a column of the data. Columns: {some(frame.columns, 20)}.")
    notes = frame.attrs.get("notes", [])
    frame = frame.copy()
    for column in columns:
        if not isinstance(frame[column].dtype, pd.CategoricalDtype):
            values = pd.Series(tidy(frame[column]), index=frame.index)
            frame[column] = pd.Categorical(values, categories=sorted(values.dropna().unique()))
    frame.attrs["notes"] = notes
    return frame


def likely_factors(specification: Any) -> dict[str, int]:
    """Columns of few whole numbers that X holds as covariates, with the number of values."""
    return whole_covariates(read_terms(specification.formula.fixed), specification.records.frame)
