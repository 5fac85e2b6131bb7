"""Sparse matrices of a user, checked before a compiled kernel reads them: a wrong index there is a crash,
or a wrong number."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp


def fault(matrix: Any) -> str:
    """What is wrong with the arrays of a sparse matrix; empty if nothing is.

    Lengths, row pointers that rise from 0, every index inside the shape, and entries that are numbers, for every format
    of SciPy.
    """
    return _places(matrix) or _entries(matrix)


def _entries(matrix: Any) -> str:
    """Of numbers SciPy knows all types but float16; what was put into its arrays by hand it finds out too late,
    or never."""
    form = matrix.format
    try:
        if form == "lil":
            values = np.array([v for row in matrix.data for v in row])
        else:
            values = np.array(list(matrix.values())) if form == "dok" else np.asarray(matrix.data)
    except (TypeError, ValueError):
        return "its entries are not numbers"
    if values.dtype.kind not in "biufc":
        return f"its entries are of type {values.dtype}, not numbers"
    if values.dtype == np.float16:
        return "its entries are of type float16, which SciPy cannot calculate with"
    if values.dtype.kind == "c" and matrix.dtype.kind != "c":
        return f"its entries are complex, and its type is {matrix.dtype}"
    return ""


def _places(matrix: Any) -> str:
    form = matrix.format
    if form in ("csr", "csc", "bsr"):
        return _compressed(matrix, form)
    if form == "coo":
        return _triplets(matrix)
    if form == "dia":
        return (
            "" if len(np.atleast_1d(matrix.offsets)) == len(matrix.data) else "it has not one row of data per diagonal"
        )
    if form == "lil":
        return _lists(matrix)
    return _positions(matrix)


def _positions(matrix: Any) -> str:
    """Of dok, a dict of positions, which SciPy checks only where it is filled by its own methods."""
    places = list(matrix.keys())
    if not all(isinstance(p, tuple) and len(p) == 2 for p in places):
        return "its positions are not pairs"
    coords = (np.array([p[k] for p in places]) for k in range(2))
    return next((said for c, n in zip(coords, matrix.shape, strict=True) if (said := _outside(c, n))), "")


def _compressed(matrix: Any, form: str) -> str:
    indptr, indices, data = (np.asarray(a) for a in (matrix.indptr, matrix.indices, matrix.data))
    if form == "bsr" and (data.ndim != 3 or 0 in data.shape[1:]):
        return f"its data are of shape {data.shape}, not blocks of some rows and columns"
    blocks = matrix.blocksize if form == "bsr" else (1, 1)
    if any(n % b for n, b in zip(matrix.shape, blocks, strict=True)):
        return f"its shape {matrix.shape} is no multiple of its blocks, {blocks}"
    lines, across = (n // b for n, b in zip(matrix.shape, blocks, strict=True))
    if form == "csc":
        lines, across = across, lines
    what = {"csr": "row", "csc": "column", "bsr": "block of rows"}[form]
    if indptr.ndim != 1 or indices.ndim != 1 or indptr.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        return "indptr and indices are not arrays of whole numbers"
    if len(indptr) != lines + 1:
        return f"indptr has {len(indptr):,} entries for {lines:,} {what}s: it must have one more than these"
    if indptr[0] != 0 or np.any(np.diff(indptr.astype(np.int64)) < 0):
        return "indptr does not rise from 0"
    if not len(indices) == len(data) >= indptr[-1]:
        return f"indptr speaks of {int(indptr[-1]):,} entries, indices holds {len(indices):,}, data {len(data):,}"
    return _outside(indices[: indptr[-1]], across)


def _triplets(matrix: Any) -> str:
    coords = getattr(matrix, "coords", None) or (matrix.row, matrix.col)
    lengths = {len(matrix.data), *map(len, coords)}
    if len(lengths) > 1:
        return f"row, col and data are of different lengths: {', '.join(str(len(c)) for c in (*coords, matrix.data))}"
    return next((said for c, n in zip(coords, matrix.shape, strict=True) if (said := _outside(np.asarray(c), n))), "")


def _lists(matrix: Any) -> str:
    if len(matrix.rows) != matrix.shape[0] or len(matrix.data) != matrix.shape[0]:
        return "it has not one list per row"
    for places, values in zip(matrix.rows, matrix.data, strict=True):
        if not (isinstance(places, list) and isinstance(values, list)):
            return "its rows are not lists of indices and of values"
        if len(places) != len(values):
            return "the lists of indices and of values are of different lengths"
    return _outside(np.array([k for places in matrix.rows for k in places], dtype=np.int64), matrix.shape[1])


def _outside(index: np.ndarray, size: int) -> str:
    if not len(index):
        return ""
    if index.dtype.kind not in "iu":
        return "its indices are not whole numbers"
    low, high = int(index.min()), int(index.max())
    return (
        ""
        if low >= 0 and high < size
        else f"it holds the index {low if low < 0 else high}, and indices go from 0 to {size - 1}"
    )


def require_well_formed(matrix: Any, what: str, error: type[Exception]) -> None:
    """Raise `error` if `matrix` is sparse and its arrays do not fit together."""
    if sp.issparse(matrix) and (said := fault(matrix)):
        raise error(
            f"{what} is a malformed sparse matrix ({matrix.format}): {said}. Build it anew from row, column and value, "
            "scipy.sparse.coo_array((values, (rows, columns)), shape=...)."
        )


def array_of(values: Any, what: str, error: type[Exception]) -> np.ndarray:
    """The values as an array, masked numbers NaN; `error` where their rows are of different lengths."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "biuf" and np.ma.is_masked(values):
        return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    try:
        return np.asarray(values)
    except (TypeError, ValueError):
        raise error(f"{what} is no array of numbers: its rows are of different lengths.") from None
