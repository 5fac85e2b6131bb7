"""Fixed effects in another coding: their columns of X from the names of their coefficients, and theirs as ours."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.crosschecking.judge.names import plain_coefficient
from remlblup.model.specification import Specification

_ORDERED = re.compile(r"^(?:ordered|factor)?\(?(?P<factor>[\w.]+?)\)?(?:\.(?P<letter>[LQC])|\^(?P<power>\d+))$")
_LETTERS = {"L": 1, "Q": 2, "C": 3}
#: What of their columns may lie outside the space of ours.
SAME_SPACE = 1e-8


def their_design(spec: Specification, names: list[str]) -> Array | None:
    """X of their coefficients (n, p) as R codes them, treatments or polynomials; None where a name says nothing."""
    if spec.records is None or spec.responses:
        return None
    columns = [_column(spec.records.frame, name) for name in names]
    if any(c is None for c in columns):
        return None
    return np.column_stack([c for c in columns if c is not None])


def transform(spec: Specification, names: list[str]) -> Array | None:
    """T with X of theirs = X of ours T, where both span the same space; None otherwise."""
    if len(names) != spec.p or not names:
        return None
    theirs = their_design(spec, names)
    if theirs is None:
        return None
    ours = np.asarray(spec.fixed.matrix.todense() if hasattr(spec.fixed.matrix, "todense") else spec.fixed.matrix)
    # Columns have units of their own.
    size, target = np.linalg.norm(ours, axis=0), np.linalg.norm(theirs, axis=0)
    if not (size.all() and target.all()):
        return None
    T, *_ = np.linalg.lstsq(ours / size, theirs / target, rcond=None)
    same = np.allclose(ours / size @ T, theirs / target, rtol=0.0, atol=SAME_SPACE)
    return T * target / size[:, None] if same and np.linalg.matrix_rank(T) == len(names) else None


def _column(frame: pd.DataFrame, name: str) -> Array | None:
    """The column of one coefficient: a product of covariates, indicators of levels and polynomials."""
    if plain_coefficient(name) == "intercept":
        return np.ones(len(frame), dtype=float)
    out: Array = np.ones(len(frame), dtype=float)
    for part in name.split(":"):
        own = _part(frame, part.strip())
        if own is None:
            return None
        out = out * own
    return out


def _part(frame: pd.DataFrame, part: str) -> Array | None:
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
    return None


def _polynomial(column: pd.Series, degree: int) -> Array | None:
    """R's ``contr.poly``: orthonormal over the levels, equally spaced in their order."""
    levels = list(column.cat.categories) if isinstance(column.dtype, pd.CategoricalDtype) else sorted(column.unique())
    if degree >= len(levels):
        return None
    scores = np.arange(len(levels), dtype=float)
    powers = np.vander(scores - scores.mean(), len(levels), increasing=True)
    q, r = np.linalg.qr(powers)
    q = q * np.sign(np.diag(r))
    return q[[levels.index(v) for v in column], degree]
