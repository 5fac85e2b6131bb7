"""Which records are held out together: the folds of a cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, OptionError, some
from remlblup.model.specification import Specification


def fold_labels(spec: Specification, folds: Any, groups: Any, seed: int) -> np.ndarray:
    """The fold of each record."""
    n = spec.n
    units = np.arange(n) if groups is None else pd.factorize(per_record(spec, groups, "groups"))[0]
    size = int(units.max()) + 1
    if isinstance(folds, str) and folds == "loo":
        return units
    if isinstance(folds, str) and column_of(spec, folds) is None:
        raise OptionError(f"folds={folds!r} is neither 'loo' nor a column of the data.")
    if isinstance(folds, bool) or not (isinstance(folds, (int, np.integer)) or hasattr(folds, "__len__")):
        raise OptionError(
            f"folds={folds!r} must be a whole number of folds, 'loo', a column of the data, or the fold of each record."
        )
    if isinstance(folds, (int, np.integer)):
        if not 2 <= folds <= size:
            raise OptionError(
                f"folds={folds} must be from 2 to the number of {'records' if groups is None else 'groups'}, {size:,}."
            )
        shuffled = np.random.Generator(np.random.PCG64(seed)).permutation(size)
        of_unit = np.empty(size, dtype=np.int64)
        of_unit[shuffled] = np.arange(size) % folds
        return of_unit[units] + 1
    if groups is not None:
        raise OptionError("folds= already says which record is in which fold: leave out groups=.")
    return per_record(spec, folds, "folds")


def per_record(spec: Specification, values: Any, what: str) -> np.ndarray:
    """One value for each record used, none missing: of a column, a Series by index, or an array."""
    if isinstance(values, str):
        column = column_of(spec, values)
        if column is None:
            raise DataError(f"{what}={values!r} is not a column of the data.")
        values = column
    elif isinstance(values, pd.Series) and not values.index.equals(spec.index):
        if not values.index.is_unique or not spec.index.isin(values.index).all():
            raise DataError(f"the index of {what}= does not hold every record used, each once.")
        values = values.loc[spec.index]
    array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        raise DataError(f"{what}= must hold one value for each record used; its shape is {array.shape}.")
    given = pd.Series(array)
    if len(given) != spec.n:
        raise DataError(f"{what}= has {len(given):,} values for {spec.n:,} records used.")
    if given.isna().any():
        raise DataError(f"{what}= is missing for the records {some(spec.index[given.isna().to_numpy()])}.")
    return given.infer_objects().to_numpy()


def column_of(spec: Specification, name: str) -> np.ndarray | None:
    """A column of the data at each record used, or None where there is none of that name."""
    if spec.records is None:
        return None
    frame, rows = spec.records.frame, spec.records.original
    if name in frame.columns:
        return frame[name].to_numpy(dtype=object)
    # The rows of several traits carry only what the model reads.
    if spec.responses and name in rows.columns and rows.index.is_unique:
        return rows[name].loc[spec.index.get_level_values(0)].to_numpy(dtype=object)
    return None
