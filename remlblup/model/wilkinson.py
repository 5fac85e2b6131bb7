"""Model matrices of Wilkinson formulas through formulaic, its errors in our words."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, FormulaError, RemlBlupError, some
from remlblup.model.frame import require_columns

# Functions of `transforms.CONTEXT`; named here so that formulas are read before formulaic is loaded.
FUNCTIONS = ("leg",)


def materialize(formula: str, frame: pd.DataFrame, what: str, sparse: bool = False) -> Any:
    """formulaic's model matrix of one right-hand side; its errors become `FormulaError`."""
    from formulaic.errors import FormulaicError

    from remlblup.model.transforms import CONTEXT

    try:
        return parsed_formula(formula).get_model_matrix(
            frame, context=CONTEXT, output="sparse" if sparse else "numpy", na_action="ignore"
        )
    except (FormulaicError, NotImplementedError, TypeError, AttributeError, KeyError, SyntaxError) as error:
        if isinstance(error.__cause__, RemlBlupError):
            raise type(error.__cause__)(f"{what}: {error.__cause__}") from None
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        if unknown := re.search(r"name '([^']+)' is not defined", text):
            require_columns(frame, [unknown[1]], what)
        raise FormulaError(f"{what} '{formula}' cannot be evaluated: {text}") from error


@lru_cache(maxsize=256)
def parsed_formula(formula: str) -> Any:
    """formulaic's reading of a right-hand side."""
    from formulaic import Formula

    return Formula(formula)


def required_columns(formula: str, what: str, frame: pd.DataFrame) -> list[str]:
    """Names of the data columns a right-hand side needs; `FormulaError` or `DataError` if they are not there."""
    from formulaic.errors import FormulaicError

    try:
        names = sorted(map(str, parsed_formula(formula).required_variables))
    except (FormulaicError, SyntaxError) as error:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        raise FormulaError(f"{what} '{formula}' cannot be read: {text}") from error
    # formulaic does not list the columns inside poly(), bs(), scale(): find them by name.
    names = sorted({*names, *(n for n in words(formula) if n in frame.columns)})
    names = [n for n in names if n not in FUNCTIONS or n in frame.columns]
    for name in names:
        if name not in frame.columns and re.search(rf"(?<![\w.]){re.escape(name)}\s*\(", formula):
            raise FormulaError(f"{what} '{formula}' uses the function '{name}', which is not known.")
    require_columns(frame, names, what)
    return names


def words(formula: str) -> list[str]:
    """Names and `quoted names` in a formula."""
    return [a or b for a, b in re.findall(r"`([^`]+)`|([^\W\d][\w.]*)", formula)]


def model_matrix(model_spec: Any, frame: pd.DataFrame, **options: Any) -> Any:
    """formulaic's matrix of new records; its errors become `DataError`."""
    from formulaic.errors import FormulaicError

    from remlblup.model.transforms import CONTEXT

    check_categories(model_spec, frame)
    try:
        return model_spec.get_model_matrix(frame, context=CONTEXT, na_action="ignore", **options)
    except (FormulaicError, ValueError, TypeError) as error:
        raise DataError(f"the new data cannot be coded as the fit's were: {error}") from error


def check_categories(model_spec: Any, frame: pd.DataFrame) -> None:
    """Refuse levels of a fixed factor that the model has no coefficient for."""
    variables = [str(v) for v in model_spec.required_variables]
    for factor, contrasts in model_spec.factor_contrasts.items():
        # The factor itself, or coded: C(site), C(site, contr.sum), …
        named = [v for v in variables if re.search(rf"(?<![\w.]){re.escape(v)}(?![\w.(])", factor.expr)]
        if factor.expr not in named and not (len(named) == 1 and factor.expr.startswith("C(")):
            continue
        name = factor.expr if factor.expr in named else named[0]
        known = {str(level) for level in contrasts.levels}
        unknown = sorted({str(v) for v in frame[name].unique()} - known)
        if unknown:
            raise DataError(
                f"'{name}' has levels that were not in the data of the fit: {some(unknown)}. Known: {some(sorted(known))}."
            )


def as_values(matrix: Any) -> np.ndarray:
    """A dense float64 copy of formulaic's matrix."""
    return np.asarray(matrix, dtype=np.float64)
