"""One spelling per label, so that the animals of a pedigree, a matrix and a data set find each other.

The same animal is the integer 1306 in one file, the text ``"1306"`` in the next, and the float 1306.0 in a
column that holds a missing value. All of them are compared through one canonical string.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import objects
from remlblup.errors import RelationshipError, RemlBlupError, some

# From here on floats do not hold every whole number: the last digits of a label may be lost.
_EXACT_FLOAT = 2.0**53


def canonical(values: Iterable) -> np.ndarray:
    """One canonical string per label; ``None`` where the label is missing.

    ``1306``, ``"1306"``, ``1306.0``, ``np.int64(1306)`` and ``" 1306 "`` all become ``"1306"``. Text is
    stripped of outer blanks and otherwise kept as it is (``"1306.0"`` and ``"01306"`` stay different).

    Parameters
    ----------
    values : array-like, shape (n,)
        Labels of any type: a list, an array, a pandas Series, Index or Categorical, a polars Series.

    Returns
    -------
    numpy.ndarray of object, shape (n,)
        `str`, or `None` for None, NaN, `pandas.NA` and NaT.

    Raises
    ------
    RelationshipError
        For a float too large to hold every whole number; see `check_exact`.
    """
    coded = _categories(values)
    if coded is not None:
        codes, categories = coded
        return with_missing(canonical(categories))[codes]
    array = _as_array(values)
    if array.dtype.kind in "iu":
        return objects(list(map(str, array.tolist())))
    found = _whole(array)
    if found is not None:
        whole, missing = found
        texts = objects(list(map(str, whole.tolist())))
        texts[missing] = None
        return texts
    items = _elements(array)
    if are_texts(items):
        return objects(list(map(str.strip, items)))
    return objects([_spell(value) for value in items])


def tidy(values: Iterable) -> np.ndarray:
    """Labels as they are shown to the user: their own type, but integral floats become integers.

    Parameters
    ----------
    values : array-like, shape (n,)

    Returns
    -------
    numpy.ndarray, shape (n,)
        int64 where every label is a whole number, otherwise object (text stripped, missing as `None`).
    """
    coded = _categories(values)
    if coded is not None:
        codes, categories = coded
        shown = tidy(categories)
        return shown[codes] if (codes >= 0).all() else with_missing(shown)[codes]
    array = _as_array(values)
    found = _whole(array)
    if found is not None:
        whole, missing = found
        if not missing.any():
            return whole
        shown = whole.astype(object)
        shown[missing] = None
        return shown
    items = _elements(array)
    if are_texts(items):
        return objects(list(map(str.strip, items)))
    cleaned = [_clean(value) for value in items]
    if cleaned and all(type(value) is int for value in cleaned):
        try:
            return np.array(cleaned, dtype=np.int64)
        except OverflowError:
            pass
    return objects(cleaned)


def match(labels: Iterable, wanted: Iterable) -> np.ndarray:
    """Position of each wanted label, by canonical spelling.

    Parameters
    ----------
    labels : array-like, shape (n,)
        The labels to look in; each one once.
    wanted : array-like, shape (m,)

    Returns
    -------
    numpy.ndarray of intp, shape (m,)
        Positions in `labels`, −1 where a label is absent or missing.

    Raises
    ------
    RelationshipError
        If `labels` holds a label twice.
    """
    left, right = integers(labels), integers(wanted)
    if left is not None and right is not None and not left[1].any():
        index, sought, missing = pd.Index(left[0]), right[0], right[1]
    else:
        index, sought = pd.Index(canonical(labels), dtype=object), canonical(wanted)
        missing = absent(sought)
    if not index.is_unique:
        raise RelationshipError(
            f"These labels occur more than once: {some(index[index.duplicated()].unique())}. "
            "Every level needs a label of its own."
        )
    positions = index.get_indexer(sought)
    positions[missing] = -1
    return positions


def are_texts(items: list) -> bool:
    """Whether all are plain text, of which there is nothing to clean but blanks."""
    return set(map(type, items)) == {str}


def nameless(keys: np.ndarray) -> np.ndarray:
    """Where a canonical label is missing or blank, and so names nothing."""
    return np.array([key is None or key == "" for key in keys], dtype=bool)


def integers(values: Iterable) -> tuple[np.ndarray, np.ndarray] | None:
    """The labels as integers with a mask of the missing ones, or None if any label is not a whole number.

    A fast lane for the usual case of numbered animals: a million integers are matched without a string.

    Returns
    -------
    (numpy.ndarray of int64, numpy.ndarray of bool) or None
        Both of shape (n,); the integer under a missing label is 0.
    """
    return None if _categories(values) is not None else _whole(_as_array(values))


def check_exact(values: Any, what: str, error: type[RemlBlupError] = RelationshipError) -> None:
    """Refuse labels that are floats of 2⁵³ (of single precision 2²⁴) or more.

    A column of long national numbers becomes one of floats where a cell is empty, and animals then share a label.

    Parameters
    ----------
    values : array-like, shape (n,)
    what : what holds them, for the message

    Raises
    ------
    RemlBlupError
        Of the class `error`.
    """
    if isinstance(getattr(values, "dtype", None), pd.StringDtype):
        return
    coded = _categories(values)
    found = _rounded(_as_array(values if coded is None else coded[1]))
    if found is not None:
        raise error(_lost(found, what))


def _rounded(array: np.ndarray) -> float | None:
    """The first label that is a float too large to hold every whole number."""
    if array.dtype.kind == "f":
        size = np.abs(array)
        large = array[(size >= _limit(array.dtype)) & np.isfinite(size)]
        return float(large[0]) if len(large) else None
    items = array.tolist() if array.dtype.kind == "O" else []
    if not any(issubclass(kind, float | np.floating) for kind in set(map(type, items))):
        return None
    return next((float(v) for v in items if _is_rounded(v)), None)


def _is_rounded(value: object) -> bool:
    return isinstance(value, float | np.floating) and _limit(type(value)) <= abs(float(value)) < np.inf


def _limit(kind: Any) -> float:
    return _EXACT_FLOAT if kind is float else min(_EXACT_FLOAT, 2.0 ** (np.finfo(kind).nmant + 1))


def _lost(label: float, what: str = "") -> str:
    return (
        f"{f'{what}: ' if what else ''}labels are floating-point numbers too large to hold every digit ({label:.15g}):"
        " their last digits are lost, and different labels read alike. Read the column as text, dtype=str, or as whole"
        " numbers that may be missing, dtype='Int64' (of pandas.read_csv)."
    )


def _whole(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """`integers` of an array."""
    if array.dtype.kind == "i":
        return array.astype(np.int64, copy=False), np.zeros(len(array), dtype=bool)
    if array.dtype.kind == "u" and (not len(array) or array.max() < 2**63):
        return array.astype(np.int64), np.zeros(len(array), dtype=bool)
    if array.dtype.kind != "f":
        return None
    missing = np.isnan(array)
    filled = np.where(missing, 0.0, array).astype(np.promote_types(array.dtype, np.float64), copy=False)
    if not ((np.abs(filled) < _limit(array.dtype)) & (filled == np.floor(filled))).all():
        if (label := _rounded(array)) is not None:
            raise RelationshipError(_lost(label))
        return None
    return filled.astype(np.int64), missing


def as_frame(table: object) -> pd.DataFrame:
    """A pandas view of a data frame from pandas or, column by column, from polars and its kind.

    Raises
    ------
    RelationshipError
        If `table` is not a data frame.
    """
    if isinstance(table, pd.DataFrame):
        return table
    if hasattr(table, "columns") and hasattr(table, "get_column"):
        return pd.DataFrame({name: table.get_column(name).to_list() for name in table.columns})
    raise RelationshipError(f"A data frame is needed here, not {type(table).__name__}.")


def as_items(values: object) -> list:
    """The labels as a list; a single text or number is a list of one."""
    if sp.issparse(values):
        raise RelationshipError("Labels must be a list or one column, not a sparse matrix.")
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        return [values]
    if getattr(values, "ndim", 1) == 0:
        return [values.item()]  # type: ignore[attr-defined]
    return list(values)


def once(values: Any) -> Any:
    """The same, to be gone through more than once: what an iterator yields as a list."""
    return list(values) if isinstance(values, Iterator) else values


def _as_array(values: Iterable) -> np.ndarray:
    """A one-dimensional array that has not lost the type of any label on the way."""
    if isinstance(values, np.ndarray):
        array = values
    elif hasattr(values, "dtype") and not sp.issparse(values) and hasattr(values, "to_numpy"):
        kind = getattr(values.dtype, "kind", "O")
        plain = isinstance(values.dtype, np.dtype) or kind in "iu"
        if plain and not (kind in "iu" and bool(getattr(values, "hasnans", False))):
            array = _try_numpy(values)
        else:
            array = np.asarray(values, dtype=object)
    elif hasattr(values, "to_numpy"):
        array = np.asarray(values.to_numpy())
    else:
        # np.asarray would turn [1, "a"] into text; an object array keeps what was given.
        items = as_items(values)
        array = objects(items)
        if items and len(kinds := set(map(type, items))) == 1 and kinds <= {int, float}:
            array = np.asarray(items)
    if array.ndim > 1:
        raise RelationshipError(
            f"Labels must be a list or one column; an array of shape {array.shape} was given. Pick a column."
        )
    return array.reshape(-1)


def with_missing(labels: np.ndarray) -> np.ndarray:
    """The labels, and None where −1 looks."""
    end: Any = None
    return np.append(labels.astype(object), end)


def absent(keys: np.ndarray) -> np.ndarray:
    """Where a canonical label is None."""
    nothing: Any = None
    return np.equal(keys, nothing).astype(bool)


def _try_numpy(values: Any) -> np.ndarray:
    """Numbers as numbers; a nullable column with gaps falls back to objects."""
    try:
        return np.asarray(values.to_numpy())
    except (TypeError, ValueError):
        return np.asarray(values, dtype=object)


def _categories(values: Any) -> tuple[np.ndarray, pd.Index] | None:
    """Codes (−1 for missing) and categories of a pandas categorical, else None."""
    if not isinstance(getattr(values, "dtype", None), pd.CategoricalDtype):
        return None
    held = values.cat if isinstance(values, pd.Series) else values
    return np.asarray(held.codes, dtype=np.intp), held.categories


def _elements(array: np.ndarray) -> list:
    # datetime64.tolist() gives integers at nanosecond resolution; pandas keeps them as time stamps.
    return list(pd.Series(array)) if array.dtype.kind in "mM" else array.tolist()


def _is_missing(value: object) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _clean(value: object) -> object:
    """One label in its own type: stripped text, plain Python numbers, None for missing."""
    if type(value) is str:
        return value.strip()
    if _is_missing(value):
        return None
    if _is_rounded(value):
        raise RelationshipError(_lost(float(value)))  # type: ignore[arg-type]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    try:
        hash(value)
    except TypeError:
        raise RelationshipError(
            f"A label is a text or a number, not a {type(value).__name__}: {str(value)[:60]}."
        ) from None
    return value


def _spell(value: object) -> str | None:
    cleaned = _clean(value)
    return cleaned if cleaned is None or type(cleaned) is str else str(cleaned).strip()
