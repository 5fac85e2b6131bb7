"""Genotypes in memory: what a source of blocks is, and matrices of any kind turned into int8 or float32."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import objects
from remlblup.errors import DataError, OptionError, count, some
from remlblup.linalg.well_formed import array_of, require_well_formed
from remlblup.relationship.genomic.parts import HeldPart, Part
from remlblup.relationship.labels import as_items, canonical, nameless
from remlblup.relationship.pedigree.columns import candidates, plain

_COLUMNS = 1024
# Columns beside the markers in tables that programs write, such as PLINK's .raw.
_NO_MARKERS = frozenset(["fid", "iid", "pat", "mat", "sex", "phenotype", "pheno", "affection"])


class Source(Protocol):
    """Where genotypes come from.

    Attributes
    ----------
    shape : individuals, markers
    dosage : whether `read` gives float32 dosages instead of int8 counts
    where : for the repr, such as "in memory"
    """

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dosage(self) -> bool: ...

    @property
    def where(self) -> str: ...

    def read(self, rows: np.ndarray | None, columns: slice | np.ndarray) -> np.ndarray:
        """Genotypes (individuals, markers): int8, negative for missing; or float32, NaN for missing."""
        ...

    def part(self, rows: np.ndarray | None, columns: slice | np.ndarray) -> Part:
        """The same as a part that is read where it is multiplied."""
        ...


class ArraySource:
    """Genotypes held in one array of int8 or float32, in column-major order."""

    where = "in memory"

    def __init__(self, values: np.ndarray) -> None:
        self.values = np.asfortranarray(values)
        self.shape: tuple[int, int] = values.shape
        self.dosage = values.dtype != np.int8

    def read(self, rows: np.ndarray | None, columns: slice | np.ndarray) -> np.ndarray:
        chosen = self.values[:, columns]
        return chosen if rows is None else chosen[rows]

    def part(self, rows: np.ndarray | None, columns: slice | np.ndarray) -> Part:
        """See `Source`."""
        return HeldPart(self.values, rows, columns)


def check_source(source: object) -> None:
    """Raise `DataError` for what is read by one of the readers, and is no source itself."""
    if not hasattr(source, "part"):
        raise DataError(
            f"Genotypes() does not take a {type(source).__name__}: read it by Genotypes.from_matrix(M, ids, markers),"
            " or a file by from_bed, from_vcf, from_zarr and the others."
        )


def check_names(ids: np.ndarray, markers: np.ndarray, shape: tuple[int, int]) -> None:
    """Raise `DataError` unless individuals and markers have a name each."""
    check_labels(ids, shape[0], "individual")
    check_labels(markers, shape[1], "marker")


def check_labels(labels: np.ndarray, size: int, what: str) -> None:
    """Raise `DataError` unless there are `size` labels, at least one, each once."""
    if len(labels) != size:
        raise DataError(f"there are {size:,} {what}s but {len(labels):,} names for them.")
    if size == 0:
        raise DataError(f"these genotypes have no {what}s.")
    keys = canonical(labels)
    missing = np.flatnonzero(nameless(keys))
    if missing.size:
        raise DataError(
            f"{count(missing.size, what, 'has', 'have')} no name (position {some(missing)}, counting from 0)."
        )
    repeated = pd.Index(keys, dtype=object).duplicated()
    if repeated.any():
        raise DataError(
            f"these {what}s occur more than once: {some(dict.fromkeys(keys[repeated]))}. Every {what} needs a name of"
            " its own: remove the copies or rename them."
        )


def check_markers(columns: Iterable) -> None:
    """Raise `DataError` for columns of a table of genotypes that are no markers by their name: sex, sire, IID, …"""
    columns = list(columns)
    found = [
        c for c in columns if plain(c) in _NO_MARKERS or any(candidates([c], role) for role in ("id", "sire", "dam"))
    ]
    if found and len(found) < len(columns):
        raise DataError(
            f"the columns {some(found)} do not look like markers, and every column of a table of genotypes is one. "
            "Make the individuals the index (or the first column) and drop the others; or name the markers, "
            "markers=[...]."
        )


def unpack_matrix(
    M: object, ids: Iterable | None, markers: Iterable | None, missing: object
) -> tuple[np.ndarray, Iterable, Iterable]:
    """Values as int8 or float32, ids and markers, of a numpy array, a sparse matrix or a data frame."""
    if hasattr(M, "get_column") and hasattr(M, "columns"):  # polars
        polars: Any = M
        names = list(polars.columns)
        first = polars.get_column(names[0])
        if ids is None and (not first.dtype.is_numeric() or str(names[0]).lower() == "id"):
            ids, names = first.to_list(), names[1:]
        if markers is None:
            check_markers(names)
        M, markers = polars.select(names).to_numpy(), names if markers is None else markers
    elif isinstance(M, pd.DataFrame):
        if ids is None and not isinstance(M.index, pd.RangeIndex):
            ids = M.index
        if (
            ids is None
            and len(M.columns)
            and (str(M.columns[0]).lower() == "id" or not pd.api.types.is_numeric_dtype(M.iloc[:, 0]))
        ):
            ids, M = M.iloc[:, 0], M.iloc[:, 1:]
        if markers is None:
            markers = M.columns
            check_markers(markers)
        M = M.to_numpy()
    elif sp.issparse(M):
        require_well_formed(M, "the matrix of genotypes", DataError)
        sparse: Any = M
        M = sparse.toarray()
    values = array_of(M, "the genotypes", DataError)
    if values.ndim != 2:
        raise DataError(f"genotypes must be a matrix of individuals x markers, not an array of shape {values.shape}.")
    if ids is None:
        raise DataError(
            "this matrix does not say whose genotypes they are: give ids=, "
            "or a data frame with the individuals as index."
        )
    ids = as_items(ids)
    markers = np.arange(1, values.shape[1] + 1) if markers is None else as_items(markers)
    return to_counts(values, ids, list(markers), missing), ids, markers


def to_counts(values: np.ndarray, ids: list, markers: list, missing: object) -> np.ndarray:
    """int8 with −1 missing if every value is 0, 1, 2 or missing; float32 with NaN missing if some lie between."""
    check_names(objects(ids), objects(markers), values.shape)
    try:
        codes = np.atleast_1d(np.asarray([] if missing is None else missing, dtype=float))
    except (TypeError, ValueError):
        raise OptionError(f"missing={missing!r} must be a number, or several: codes of a missing genotype.") from None
    dosage = False
    out = np.empty(values.shape, dtype=np.int8, order="F")
    for start in range(0, values.shape[1], _COLUMNS):
        place = slice(start, start + _COLUMNS)
        block = _as_float(values[:, place], ids, markers[place])
        absent = np.isnan(block) | np.isin(block, codes)
        wrong = ~absent & ~((block >= 0.0) & (block <= 2.0))
        if wrong.any():
            _refuse(values[:, place], wrong, ids, markers[place])
        if not dosage and np.any(block[~absent] % 1.0):
            dosage = True
            earlier = out[:, :start]
            out = np.empty(values.shape, dtype=np.float32, order="F")
            out[:, :start] = np.where(earlier < 0, np.nan, earlier)
        out[:, place] = np.where(absent, np.nan if dosage else -1, block)
    return out


def _as_float(block: np.ndarray, ids: list, markers: list) -> np.ndarray:
    if block.dtype.kind not in "biufO":
        raise DataError(f"genotypes must be numbers 0, 1, 2; these are of type {block.dtype}.")
    try:
        return np.asarray(block, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = pd.DataFrame(block).apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        wrong = np.isnan(numbers) & ~pd.isna(block)
        if wrong.any():
            _refuse(block, wrong, ids, markers)
        return numbers


def _refuse(block: np.ndarray, wrong: np.ndarray, ids: list, markers: list) -> None:
    rows, columns = np.nonzero(wrong)
    shown = [
        f"{block[i, j]} (individual {ids[i]}, marker {markers[j]})" for i, j in zip(rows[:5], columns[:5], strict=True)
    ]
    raise DataError(
        f"{len(rows)} genotypes are not 0, 1, 2, missing or a dosage between: {'; '.join(shown)}. If such a value marks"
        " a missing genotype, say missing=; genotypes coded -1, 0, 1 need 1 added."
    )
