"""Model matrices of Wilkinson formulas: terms of our reading, coded by formulaic, its errors in our words."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, FormulaError, ModelError, RemlBlupError, some
from remlblup.model.algebra import Terms, read_terms
from remlblup.model.columns import Columns
from remlblup.model.expression import Expression, column, read
from remlblup.model.frame import require_columns

# More columns than this, and than records, are the product of factors that are no fixed effects.
MOST_COLUMNS = 100_000


def materialize(formula: str, frame: pd.DataFrame, what: str, sparse: bool = False) -> Any:
    """formulaic's model matrix of one right-hand side; its errors become `FormulaError`."""
    from remlblup.model.materializer import Materializer

    try:
        return Materializer(frame).get_model_matrix(
            parsed_formula(formula), output="sparse" if sparse else "numpy", na_action="ignore"
        )
    except Exception as error:
        raise in_our_words(error, f"{what} '{formula}' cannot be coded", FormulaError, what) from None


def check_width(terms: Terms, data: Columns, what: str) -> None:
    """Refuse products of factors of so many levels that their columns cannot be meant.

    Raises
    ------
    ModelError
        Naming the term and its numbers of levels.
    """
    levels = {
        e: len(data[name].ordered.levels)
        for e in terms.expressions
        if (name := e.factor) is not None and name in data and (e.is_factor or data[name].text)
    }
    if not levels:
        return
    widths = {term: math.prod(levels.get(e, 1) for e in term) for term in terms.terms}
    if sum(widths.values()) <= max(MOST_COLUMNS, len(data)):
        return
    widest = max(widths, key=lambda term: widths[term])
    counts = ", ".join(f"{e.text} {levels[e]:,}" for e in widest if e in levels)
    name = ":".join(e.text for e in widest)
    raise ModelError(
        f"{what} has {sum(widths.values()):,} columns, most of them of '{name}' (levels: {counts}): levels of such"
        " number make a random term, '(1 | a:b)'."
    )


def in_our_words(error: Exception, failed: str, kind: type[RemlBlupError], what: str = "") -> RemlBlupError:
    """The error of a model matrix: our own from inside formulaic, or its reason in one line."""
    cause = error if isinstance(error, RemlBlupError) else error.__cause__
    if isinstance(cause, RemlBlupError):
        return type(cause)(f"{what}: {cause}" if what else str(cause))
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(cause or error)).split())
    return kind(f"{failed}: {text}")


@lru_cache(maxsize=256)
def parsed_formula(formula: str) -> Any:
    """The terms of a right-hand side as formulaic holds them."""
    from formulaic.formula import SimpleFormula
    from formulaic.parser.types import Factor, Term

    def factor(expression: Expression) -> Any:
        method = "python" if expression.bare is None else "lookup"
        return Factor(expression.bare or expression.text, eval_method=method)

    one = Term([Factor("1", eval_method="literal")])
    return SimpleFormula([Term(map(factor, term)) if term else one for term in read_terms(formula).terms])


def required_columns(formula: str, what: str, frame: pd.DataFrame | Collection[str]) -> list[str]:
    """Names of the data columns a right-hand side needs; `FormulaError` or `DataError` if they are not there."""
    try:
        terms = read_terms(formula)
    except FormulaError as error:
        raise FormulaError(f"{what}: {error}") from None
    names = sorted(terms.columns)
    require_columns(frame, names, what)
    if any(e.bare == "1" for e in terms.expressions):  # to formulaic it is the intercept
        raise FormulaError(
            f"{what}: a column named '1' cannot stand in a formula, where 1 is the intercept: rename it."
        )
    return names


def model_matrix(model_spec: Any, frame: pd.DataFrame, **options: Any) -> Any:
    """formulaic's matrix of new records; its errors become `DataError`."""
    check_categories(model_spec, frame)
    try:
        return model_spec.get_model_matrix(frame, na_action="ignore", **options)
    except Exception as error:
        raise in_our_words(error, "the new data cannot be coded as the fit's were", DataError) from None


def expression_of(factor: Any) -> Expression:
    """The expression of one of formulaic's factors."""
    return column(factor.expr) if factor.eval_method.value == "lookup" else read(factor.expr)


def check_categories(model_spec: Any, frame: pd.DataFrame) -> None:
    """Refuse levels of a fixed factor that the model has no coefficient for."""
    for factor, contrasts in model_spec.factor_contrasts.items():
        name = expression_of(factor).factor
        if name is None:
            continue
        known = {str(level) for level in contrasts.levels}
        unknown = sorted({str(v) for v in frame[name].unique()} - known)
        if unknown:
            raise DataError(
                f"'{name}' has levels that were not in the data of the fit: {some(unknown)}. Known: "
                f"{some(sorted(known))}."
            )


def as_values(matrix: Any) -> np.ndarray:
    """A dense float64 copy of formulaic's matrix."""
    return np.asarray(matrix, dtype=np.float64)
