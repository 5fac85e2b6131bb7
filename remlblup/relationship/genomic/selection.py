"""Which individuals and markers are meant: by their labels, or by booleans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, some
from remlblup.relationship.labels import match, tidy


def composed(outer: np.ndarray | None, inner: np.ndarray | None) -> np.ndarray | None:
    """Places among all of places among some; None stands for all."""
    if inner is None:
        return outer
    return np.asarray(inner) if outer is None else outer[inner]


def _are_booleans(wanted: Any) -> bool:
    if hasattr(wanted, "dtype"):  # numpy, pandas, polars
        return str(wanted.dtype).lower() in ("bool", "boolean")
    return len(wanted) > 0 and all(isinstance(value, (bool, np.bool_)) for value in wanted)


def _mask(labels: np.ndarray, wanted: Any, what: str) -> np.ndarray:
    """Booleans by position; of a Series by its labels, where it has any."""
    size = len(wanted)
    if size != len(labels):
        raise DataError(f"there are {len(labels):,} {what}, but {size:,} booleans to select them by.")
    if isinstance(wanted, pd.Series):
        if pd.isna(wanted).any():
            raise DataError(f"the booleans that select {what} are missing for {some(wanted.index[wanted.isna()])}.")
        if not isinstance(wanted.index, pd.RangeIndex):
            place = match(wanted.index, labels)
            if (place < 0).any():
                raise DataError(
                    f"the booleans that select {what} are labelled by their index, which does not hold"
                    f" {some(labels[place < 0])}. Give them with the {what} as index, or as an array in their order."
                )
            wanted = wanted.iloc[place]
    return np.asarray(wanted, dtype=bool)


def positions(labels: np.ndarray, wanted: Iterable, what: str) -> np.ndarray:
    """Places among the labels of those wanted, by name or by booleans.

    Raises
    ------
    DataError
        If one is not there, or booleans are not one for each.
    """
    wanted = list(wanted) if not hasattr(wanted, "__len__") else wanted
    if _are_booleans(wanted):
        return np.flatnonzero(_mask(labels, wanted, what))
    places = match(labels, wanted)
    if (places < 0).any():
        absent = tidy(wanted)[places < 0]
        raise DataError(f"{len(absent)} of the {what} asked for are not among the genotypes: {some(absent)}.")
    return places
