"""Sizes of numbers that the arithmetic can hold.

A log-likelihood holds squares, and its information fourth powers, of what a model is made of: from about 1e±75 on they
overflow to infinity, or vanish. What a model is made of is looked at once, where it enters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.errors import some

LARGEST, SMALLEST = 1e50, 1e-50


def fault(values: Any) -> str:
    """What is wrong with the size of numbers, the largest of which counts; empty if nothing is."""
    entries = values.data if sp.issparse(values) else np.asarray(values)
    if entries.size == 0:
        return ""
    largest = max(float(entries.max()), -float(entries.min()))
    if largest > LARGEST:
        return f"reaches {largest:.3g}, and the squares of numbers beyond {LARGEST:g} overflow"
    if 0.0 < largest < SMALLEST:
        return f"is nowhere larger than {largest:.3g}, and the squares of numbers below {SMALLEST:g} vanish"
    return ""


def within_reach(values: np.ndarray) -> bool:
    """Whether dense numbers are all finite, and of sizes that can be squared (see `fault`)."""
    largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))  # NaN where there is one
    return largest == 0.0 or SMALLEST <= largest <= LARGEST


def column_sizes(X: np.ndarray) -> np.ndarray:
    """(p,) the largest magnitude in each column of a dense matrix (n, p); NaN where there is one."""
    columns = np.array(X.T, dtype=np.float64, order="C")  # whose reductions run along the memory
    return np.abs(columns, out=columns).max(axis=1, initial=0.0)


def columns_within_reach(X: np.ndarray) -> bool:
    """The same of every column of a dense matrix (n, p)."""
    size = column_sizes(X)
    return bool(((size == 0.0) | ((size >= SMALLEST) & (size <= LARGEST))).all())


def require_magnitude(values: Any, what: str, error: type[Exception], rows: Any = None) -> None:
    """Raise `error` if the numbers are too large, or all of them too small, to be squared; `rows` are their labels."""
    if said := fault(values):
        beyond = np.flatnonzero(np.abs(values) > LARGEST) if rows is not None else np.zeros(0, dtype=int)
        where = f" (row(s) {some(np.asarray(rows)[beyond])})" if len(beyond) else ""
        raise error(f"{what} {said}{where}: give it in other units, or correct it.")


def require_columns_in_range(X: Any, names: list[str], what: str, error: type[Exception]) -> None:
    """The same of every column of a dense or sparse matrix (n, p), naming those at fault."""
    if sp.issparse(X):
        columns = sp.csc_array(X)
        filled = np.flatnonzero(np.diff(columns.indptr))
        size = np.zeros(X.shape[1])
        if len(filled):
            size[filled] = np.maximum.reduceat(np.abs(columns.data), columns.indptr[filled])
    else:
        size = column_sizes(X)
    beyond = (size > LARGEST) | ((size > 0.0) & (size < SMALLEST))
    if beyond.any():
        wrong = np.flatnonzero(beyond)
        said = ", ".join(f"'{names[k]}' ({size[k]:.3g})" for k in wrong[:6])
        raise error(
            f"in {what} the largest value of {said} is beyond what can be squared, {SMALLEST:g} to {LARGEST:g}: give"
            " covariates in other units, or correct them."
        )
