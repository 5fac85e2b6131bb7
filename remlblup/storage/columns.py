"""Columns and row labels as CSV and JSON, with what it takes to read every value back as it was."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import StoreError
from remlblup.storage.cells import harmless, original

# Text that a CSV does not keep: what ends a line or a file, and half a character.
UNSAFE = re.compile("[\r\0\ud800-\udfff]")
_NUMPY = {"bool": np.bool_, "int": np.int64, "float": np.float64}


# -- values ----------------------------------------------------------------------------------


def kind_of(column: pd.Series) -> str:
    """bool, int, float, datetime, timedelta, str, or mixed: what one JSON value a cell can say."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "mM":
        return "datetime" if kind == "M" else "timedelta"
    if kind == "f":
        return "float"
    if kind in "biu" and not column.isna().any():
        if kind == "u" and len(column) and int(column.max()) >= 2**63:
            return "mixed"
        return "bool" if kind == "b" else "int"
    values = column.tolist()
    return "str" if all(type(v) is str and not UNSAFE.search(v) for v in values) else "mixed"


def cells(column: pd.Series, kind: str) -> pd.Series:
    """The values as a CSV holds them."""
    if kind == "float":
        return pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index)
    if kind == "datetime":
        utc = column if getattr(column.dtype, "tz", None) is None else column.dt.tz_convert("UTC")
        return utc.map(lambda v: "" if v is pd.NaT else v.isoformat())
    if kind == "timedelta":
        return column.astype("int64").astype(str)
    if kind == "mixed":
        return column.astype(object).map(lambda v: json.dumps(plain(v)))
    return column if kind == "str" else column.astype(_NUMPY[kind])


def values_of(text: list[str], saved: Mapping[str, Any]) -> Any:
    """Inverse of `cells`: an array, index or list of the values."""
    kind = saved["type"]
    if kind == "datetime":
        stamps = pd.to_datetime(pd.Series([v or None for v in text]), format="ISO8601", utc="," in saved["dtype"])
        return pd.DatetimeIndex(stamps.astype(saved["dtype"]))
    if kind == "timedelta":
        return pd.TimedeltaIndex(np.array(text, dtype=np.int64).view(saved["dtype"]))
    if kind == "mixed":
        return pd.Series([json.loads(v) for v in text], dtype=object)
    if kind == "bool":
        return np.array([_TRUE[v] for v in text], dtype=np.bool_)
    if kind == "float":
        text = [v or "nan" for v in text]
    return np.array(text, dtype=_NUMPY[kind]) if kind in _NUMPY else text


_TRUE = {"True": True, "False": False}


def plain(value: Any) -> Any:
    """One value as JSON has it; what it has not as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool | int | float | str):
        return value
    try:
        return float(value) if hasattr(value, "__float__") else str(value)  # Decimal, Fraction
    except (TypeError, ValueError, OverflowError):
        return str(value)


def encode(values: Any) -> dict[str, Any]:
    """Labels or categories as JSON, with their type."""
    column = pd.Series(values).reset_index(drop=True)
    kind = kind_of(column)
    saved = type_of(column, kind)
    if kind in ("bool", "int", "mixed"):
        return saved | {"values": [plain(v) for v in column.tolist()]}
    if kind == "float":
        return saved | {"values": [repr(float(v)) for v in column]}
    return saved | {"values": cells(column, kind).tolist()}


def decode(saved: Mapping[str, Any]) -> pd.Index:
    """Inverse of `encode`."""
    values = saved["values"]
    if saved["type"] in ("bool", "int"):
        return pd.Index(np.array(values, dtype=_NUMPY[saved["type"]]))
    if saved["type"] == "mixed":
        return pd.Index(values, dtype=object)
    return pd.Index(values_of(values, saved))


def type_of(column: pd.Series, kind: str) -> dict[str, Any]:
    """The type as fit.json names it."""
    return {"type": kind, "dtype": str(column.dtype)} if kind in ("datetime", "timedelta") else {"type": kind}


# -- frames ----------------------------------------------------------------------------------


def frame_to_csv(frame: pd.DataFrame, escape: bool) -> tuple[str, dict[str, dict[str, Any]]]:
    """CSV, and the type of each column."""
    out, types = {}, {}
    for k, name in enumerate(frame.columns):
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            types[name] = {
                "type": "category",
                "categories": encode(column.cat.categories),
                "ordered": bool(column.cat.ordered),
            }
            out[k] = _names_of_categories(column, types[name])
        else:
            kind = kind_of(column)
            types[name], out[k] = type_of(column, kind), cells(column, kind)
        if escape and types[name]["type"] in ("str", "category"):
            out[k] = out[k].map(harmless)
    header = [UNSAFE.sub(" ", str(c)) for c in frame.columns]
    table = pd.DataFrame(out).set_axis([harmless(c) for c in header] if escape else header, axis=1)
    return table.to_csv(index=False, lineterminator="\n"), types


def _names_of_categories(column: pd.Series, saved: dict[str, Any]) -> pd.Series:
    """The name of each value's category, or its number where two have one name or a value is missing."""
    names = pd.Series([str(c) for c in column.cat.categories], dtype=object)
    if column.isna().any() or names.duplicated().any() or names.map(lambda v: bool(UNSAFE.search(v))).any():
        saved["cells"] = "numbers"
        return column.cat.codes.astype(str)
    return pd.Series(names.to_numpy()[column.cat.codes], index=column.index, dtype=object)


def frame_from_csv(content: bytes, types: Mapping[str, Mapping[str, Any]], escaped: bool) -> pd.DataFrame:
    """Inverse of `frame_to_csv`; the columns go by their places."""
    table = read_text(content)
    if table.shape[1] != len(types):
        raise StoreError(f"a table has {table.shape[1]} columns where fit.json tells of {len(types)}.")
    columns = {}
    for (name, saved), k in zip(types.items(), table.columns, strict=True):
        text = table[k].tolist()
        if escaped and saved["type"] in ("str", "category"):
            text = [original(v) for v in text]
        columns[name] = _categorical(text, saved) if saved["type"] == "category" else values_of(text, saved)
    return pd.DataFrame(columns)


def _categorical(text: list[str], saved: Mapping[str, Any]) -> pd.Categorical:
    categories = saved["categories"]
    if isinstance(categories, list):  # as written before there were types of categories
        categories = [int(v) for v in categories] if saved["kind"] == "int" else categories
        index = pd.Index(categories)
    else:
        index = decode(categories)
    if saved.get("cells") == "numbers":
        codes = np.array(text, dtype=np.int64)
    else:
        place = {str(c): k for k, c in enumerate(index)}
        codes = np.array([place[v] for v in text], dtype=np.int64)
    return pd.Categorical.from_codes(codes, categories=index, ordered=saved["ordered"])


def read_text(content: bytes) -> pd.DataFrame:
    """A CSV with every cell as text, its columns numbered."""
    table = pd.read_csv(io.BytesIO(content), dtype=str, na_filter=False, skip_blank_lines=False, encoding="utf-8")
    if not isinstance(table.index, pd.RangeIndex):
        raise StoreError("a table has rows of more cells than its header.")
    return table.set_axis(range(table.shape[1]), axis=1)


# -- labels of rows --------------------------------------------------------------------------


def encode_index(index: pd.Index) -> dict[str, Any] | None:
    """The labels of the rows as JSON; None for 0, 1, 2, … without a name."""
    names = [plain(name) for name in index.names]
    if isinstance(index, pd.MultiIndex):
        levels = [encode(index.get_level_values(k)) for k in range(index.nlevels)]
        return {"type": "multi", "levels": levels, "names": names}
    if names == [None] and index.equals(pd.RangeIndex(len(index))):
        return None
    return encode(index) | {"freq": index.freqstr if isinstance(index, pd.DatetimeIndex) else None, "names": names}


def decode_index(saved: Any) -> pd.Index:
    """Inverse of `encode_index`, also of what earlier versions wrote."""
    if isinstance(saved, list):
        return pd.Index(saved)
    if saved.get("type") == "multi":
        return pd.MultiIndex.from_arrays([decode(level) for level in saved["levels"]], names=saved["names"])
    if "type" in saved:
        index = pd.DatetimeIndex(decode(saved), freq=saved["freq"]) if saved["freq"] else decode(saved)
        return index.set_names(saved["names"])
    if saved["kind"] == "multi":
        return pd.MultiIndex.from_arrays([decode_index(level) for level in saved["values"]])
    if saved["kind"] == "datetime":
        return pd.DatetimeIndex(saved["values"], freq=saved["freq"])
    return pd.Index(saved["values"])
