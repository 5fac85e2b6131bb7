"""Columns taken as factors, and those that may have been meant as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from remlblup.errors import DataError, some
from remlblup.model.algebra import read_terms
from remlblup.model.columns import Columns
from remlblup.model.covariates import few_whole
from remlblup.relationship.labels import check_exact, tidy


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
            check_exact(frame[column], f"the column '{column}'", DataError)
            values = pd.Series(tidy(frame[column]), index=frame.index)
            frame[column] = pd.Categorical(values, categories=sorted(values.dropna().unique()))
    frame.attrs["notes"] = notes
    return frame


def likely_factors(specification: Any) -> dict[str, int]:
    """Columns of few whole numbers that X holds as covariates, with the number of values."""
    return few_whole(read_terms(specification.formula.fixed), Columns(specification.records.frame))
