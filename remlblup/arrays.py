"""The two kinds of arrays that formulas are written with: numbers, and places."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.integer[Any]]


def rectangular(values: Any) -> np.ndarray:
    """As an array; rows of several lengths as one of objects, for whoever checks shapes to refuse."""
    try:
        return np.asarray(values)
    except ValueError:
        return objects(list(values))


def objects(values: list) -> np.ndarray:
    """(n,) of whatever the items are, tuples, lists and arrays among them."""
    out = np.empty(len(values), dtype=object)
    try:
        out[:] = values
    except ValueError:  # arrays are taken for rows
        for i, value in enumerate(values):
            out[i] = value
    return out


def sums(places: Index, values: Array, size: int) -> Array:
    """(size,) sums of the values that lie at each place."""
    return np.asarray(np.bincount(places, values, size), dtype=np.float64)


def chunks_of(size: int, step: int) -> list[slice]:
    """0 … `size` in chunks of `step`."""
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]
