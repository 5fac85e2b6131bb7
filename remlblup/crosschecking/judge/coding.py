"""Fixed effects in another coding: their columns of X from the names of their coefficients, and theirs as ours."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.crosschecking.judge.names import own_factors, plain_coefficient, plain_factor
from remlblup.crosschecking.results import FIXED, Results, table
from remlblup.model.specification import Specification

_ORDERED = re.compile(r"^(?:ordered|factor)?\(?(?P<factor>[\w.]+?)\)?(?:\.(?P<letter>[LQC])|\^(?P<power>\d+))$")
_LETTERS = {"L": 1, "Q": 2, "C": 3}
#: In the order in which they are tried: the names of the last two do not say which it is.
CODINGS = ("treatments", "sums", "helmert")
#: Words for the general mean.
INTERCEPTS = ("mu", "(Intercept)", "Intercept")
#: What of their columns may lie outside the space of ours.
SAME_SPACE = 1e-8


def fixed_of(spec: Specification, results: Results) -> pd.DataFrame:
    """Their fixed effects; where all effects stand in one table (.sln), its rows of terms that are fixed in ours."""
    if len(results.fixed_effects) or spec.records is None or spec.responses:
        return results.fixed_effects
    columns, random = set(spec.records.frame.columns), set().union(*own_factors(spec))
    rows: list[tuple[Any, ...]] = []
    for term, level, *numbers in results.random_effects[["term", "level", *FIXED[1:]]].itertuples(
        index=False, name=None
    ):
        if term in INTERCEPTS:
            rows.append(("(Intercept)", *numbers))
        elif term in columns and plain_factor(term) not in random:
            numeric = pd.api.types.is_numeric_dtype(spec.records.frame[term])
            rows.append((term if numeric else f"{term}[{level}]", *numbers))
    return table(rows, FIXED)


def their_design(spec: Specification, names: list[str], coding: str = "treatments") -> Array | None:
    """X of their coefficients (n, p) as R codes them; None where a name says nothing."""
    if spec.records is None or spec.responses:
        return None
    columns = [_column(spec.records.frame, name, coding) for name in names]
    if any(c is None for c in columns):
        return None
    return np.column_stack([c for c in columns if c is not None])


def transform(spec: Specification, names: list[str]) -> Array | None:
    """T (p, their p) with X of theirs = X of ours T, where both span the same space; None otherwise.

    Theirs may have more columns than ours: those that depend on others, with a coefficient of zero.
    """
    if len(names) < spec.p or not names:
        return None
    found = (their_design(spec, names, coding) for coding in CODINGS)
    made = (_to_ours(spec, theirs) for theirs in found if theirs is not None)
    return next((T for T in made if T is not None), None)


def _to_ours(spec: Specification, theirs: Array) -> Array | None:
    ours = np.asarray(spec.fixed.matrix.todense() if hasattr(spec.fixed.matrix, "todense") else spec.fixed.matrix)
    # Columns have units of their own.
    size, target = np.linalg.norm(ours, axis=0), np.linalg.norm(theirs, axis=0)
    if not (size.all() and target.all()):
        return None
    T, *_ = np.linalg.lstsq(ours / size, theirs / target, rcond=None)
    same = np.allclose(ours / size @ T, theirs / target, rtol=0.0, atol=SAME_SPACE)
    return T * target / size[:, None] if same and np.linalg.matrix_rank(T) == spec.p else None


def _column(frame: pd.DataFrame, name: str, coding: str) -> Array | None:
    """The column of one coefficient: a product of covariates, indicators of levels and polynomials."""
    if plain_coefficient(name) == "intercept":
        return np.ones(len(frame), dtype=float)
    out: Array = np.ones(len(frame), dtype=float)
    for part in name.split(":"):
        own = _part(frame, part.strip(), coding)
        if own is None:
            return None
        out = out * own
    return out


def _part(frame: pd.DataFrame, part: str, coding: str) -> Array | None:
    if part in frame.columns and pd.api.types.is_numeric_dtype(frame[part]):
        return np.asarray(frame[part], dtype=float)
    found = _ORDERED.match(part)
    if found is not None and found["factor"] in frame.columns:
        return _polynomial(frame[found["factor"]], _LETTERS.get(found["letter"] or "") or int(found["power"]))
    coded = re.match(r"^(?:C\()?([^\[\](),]+).*?\[(?:T\.)?(.*)\]$", part)
    if coded is not None and coded[1] in frame.columns:
        return np.asarray(frame[coded[1]].astype(str) == coded[2], dtype=float)
    bare = re.sub(r"^(?:as\.factor|factor)\((.*)\)", r"\1", part)
    for column in sorted(frame.columns, key=len, reverse=True):
        level = bare.removeprefix(column)
        if level != bare and (indicator := frame[column].astype(str) == level).any():
            return np.asarray(indicator, dtype=float)
        if coding != "treatments" and level != bare and level.isdigit():
            return _contrast(frame[column], int(level), coding)
    return None


def _contrast(column: pd.Series, number: int, coding: str) -> Array | None:
    """R's ``contr.sum`` and ``contr.helmert``, whose columns have numbers for names."""
    levels = _levels(column)
    if not 0 < number < len(levels):
        return None
    values = np.zeros(len(levels))
    if coding == "sums":
        values[[number - 1, -1]] = 1.0, -1.0
    else:
        values[:number], values[number] = -1.0, number
    return np.asarray(values[[levels.index(v) for v in column]])


def _levels(column: pd.Series) -> list[object]:
    return list(column.cat.categories) if isinstance(column.dtype, pd.CategoricalDtype) else sorted(column.unique())


def _polynomial(column: pd.Series, degree: int) -> Array | None:
    """R's ``contr.poly``: orthonormal over the levels, equally spaced in their order."""
    levels = _levels(column)
    if degree >= len(levels):
        return None
    scores = np.arange(len(levels), dtype=float)
    powers = np.vander(scores - scores.mean(), len(levels), increasing=True)
    q, r = np.linalg.qr(powers)
    q = q * np.sign(np.diag(r))
    return q[[levels.index(v) for v in column], degree]
