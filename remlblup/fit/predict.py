"""Predictions for new records: rows of X and Z built as the model's own were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import DataError, check_switch, choose, some
from remlblup.fit.errors.estimable import CHOICES, estimable
from remlblup.fit.errors.prediction_intervals import check_interval, residual_variances, with_interval
from remlblup.fit.kriging import Told, residual_told
from remlblup.fit.tables.effects import term_index
from remlblup.model.columns import without_blanks
from remlblup.model.design import extended
from remlblup.model.frame import check_no_dates, numeric_values, require_columns, to_pandas
from remlblup.model.grouping import UNITS
from remlblup.model.parameters import RESIDUAL
from remlblup.model.random_terms import new_rows
from remlblup.model.records import offset_columns, term_columns
from remlblup.model.response import TRAIT, long_frame, offset_values
from remlblup.model.specification import Specification
from remlblup.model.wilkinson import model_matrix, required_columns
from remlblup.relationship.labels import canonical, match


def predict(
    equations: Equations,
    solution: Any,
    beta: Array,
    new: Any,
    include: Any,
    new_levels: str,
    se: bool,
    nonestimable: str,
    interval: str | None = None,
    level: float = 0.95,
    df: float = np.inf,
) -> pd.DataFrame:
    """See `Solved.predict`; `df` are the degrees of freedom of an interval."""
    check_interval(interval, level, se)
    choose("new_levels", new_levels, ("error", "population"))
    choose("nonestimable", nonestimable, CHOICES)
    check_switch("se", se)
    spec = equations.spec
    with_residual, include = without_residual(include)
    included = included_terms(spec, include)
    if new is None:
        index, frame = spec.index, None
        columns = [z if k in included else sp.csr_array(z.shape) for k, d in enumerate(spec.random) for z in d.columns]
        extra, offset = np.zeros(spec.n), spec.offset
    else:
        frame = checked_frame(spec, to_pandas(new), included)
        index = frame.index
        columns, extra = random_rows(spec, solution, frame, included, new_levels)
        offset = offset_values(spec.formula.offset, frame)  # type: ignore[union-attr]
    X, judged = fixed_rows(spec, frame, columns)
    told = told_by_residual(equations, solution, frame) if with_residual else None
    known = estimable(spec.fixed, judged, index, "prediction", nonestimable)
    Z = sp.hstack(columns, format="csr") if columns else sp.csr_array((len(index), 0))
    levels = np.concatenate([np.zeros(0), *(u.ravel() for u in equations.level_effects(solution))])
    values = X @ beta + Z @ levels + (0.0 if offset is None else offset)
    if told is not None:
        values = values + told.weights @ solution.residual[: spec.n]
    out = pd.DataFrame({"prediction": np.where(known, values, np.nan)}, index=index)
    if se:
        T = spec.fixed.transform
        work = sp.csr_array(X if T is None else (X @ T))
        if told is not None:
            work = sp.csr_array(work - told.weights @ sp.csr_array(spec.fixed.work))
            own = [z for d in spec.random for z in d.columns]
            Z = sp.csr_array(Z - told.weights @ sp.hstack(own, format="csr")) if own else Z
            extra = extra + told.left
        rows = sp.hstack([work, Z], format="csr")
        variances = equations.prediction_variances(solution, rows) + extra
        out["std_error"] = np.sqrt(np.where(known, variances, np.nan))
    if interval is not None:
        phi = solution.theta[spec.parameters.of_residual]
        more = interval == "prediction" and told is None
        added = residual_variances(spec, phi, frame) if more else 0.0
        if interval == "prediction":
            added = added + nugget_left_out(spec, solution, included)
        out = with_interval(out, added, df, level)
    return out


def without_residual(include: Any) -> tuple[bool, Any]:
    """Whether ``include=`` names the residual, and the terms in it."""
    if isinstance(include, str):
        include = [include]
    if not isinstance(include, Sequence):
        return False, include
    rest = [t for t in include if str(t).strip() != RESIDUAL]
    return len(rest) < len(include), rest


def nugget_left_out(spec: Specification, solution: Any, included: set[int]) -> float:
    """The variance of ``+ units``, a part of one more record, where the prediction does not have it already."""
    parts = spec.parameters.split(solution.theta)
    left_out = (k for k, d in enumerate(spec.random) if d.name == UNITS and k not in included)
    return float(sum(spec.random[k].structure.covariance(parts[k])[0, 0] for k in left_out))


def told_by_residual(equations: Equations, solution: Any, frame: pd.DataFrame | None) -> Told:
    """What the errors of the records tell of those of the new ones; of their own all there is to tell."""
    spec = equations.spec
    if frame is None:
        return Told(sp.csr_array(sp.eye_array(spec.n)), np.zeros(spec.n))
    return residual_told(spec, solution.theta[spec.parameters.of_residual], frame)


def included_terms(spec: Specification, include: Any) -> set[int]:
    """Positions of the random terms to include."""
    if include is None:
        return set(range(len(spec.random)))
    if isinstance(include, str):
        include = [include]
    if not isinstance(include, Sequence):
        raise DataError("include= takes a list of random terms, [] for none.")
    return {term_index(spec, str(t)) for t in include}


def checked_frame(spec: Specification, frame: pd.DataFrame, included: set[int]) -> pd.DataFrame:
    """The new records, with every column they need and no missing value among them; a row per trait of each."""
    if spec.formula is None:
        raise DataError(
            "a model made from matrices has no formula to read new data with: predict with its own matrices."
        )
    if spec.responses:
        frame = by_trait(spec.responses, frame)
    fitted = spec.records.frame  # type: ignore[union-attr]
    covariates = required_columns(spec.formula.fixed, "the prediction", fitted)
    covariates += offset_columns(spec.formula, fitted)
    groups: list[str] = []
    parents: list[str] = []
    weighing: list[str] = []
    for k in sorted(included):
        design = spec.random[k]
        if design.term is None:
            covariates += design.spec.variables
            continue
        needed, optional = term_columns(design.term, fitted)
        factors = [f for g in design.term.groups for f in g.factors if f not in optional]
        groups += [f for f in factors if f != UNITS or f in frame.columns]
        covariates += [c for c in needed if c not in factors]
        parents += optional
        weighing += design.term.weights
    needed = list(dict.fromkeys([*covariates, *groups]))
    require_columns(frame, [*needed, *parents, *weighing], "the prediction", "the new data")
    data = without_blanks(frame, covariates, [*groups, *parents])
    for name in (*groups, *parents):
        data[name].check_levels()
    frame = data.frame
    missing = frame[needed].isna().any(axis=1)
    if missing.any():
        raise DataError(f"the new data have missing values in row(s) {some(frame.index[missing])}: fill or drop them.")
    return frame.assign(**{c: conformed(fitted[c], frame[c], c in groups) for c in needed})


def by_trait(responses: tuple[str, ...], frame: pd.DataFrame) -> pd.DataFrame:
    """A row for every trait of each new record, or the rows as they are if they say which trait they are of."""
    if TRAIT not in frame.columns:
        n, t = len(frame), len(responses)
        return long_frame(frame, responses, np.repeat(np.arange(n), t), np.tile(np.arange(t), n))
    codes = np.asarray(match(responses, frame[TRAIT]))
    if np.any(codes < 0):
        unknown = some(dict.fromkeys(map(str, frame[TRAIT][codes < 0])))
        raise DataError(f"'{TRAIT}' of the new data has {unknown}; the traits of the model are {some(responses)}.")
    categories = pd.Index(responses, dtype=object)
    return frame.assign(**{TRAIT: pd.Categorical.from_codes(codes, categories=categories, ordered=True)})


def conformed(fitted: pd.Series, new: pd.Series, grouping: bool) -> pd.Series:
    """The new column in the type of the fit's: "1", 1 and 1.0 are one label, and a factor stays a factor."""
    if fitted.dtype.kind in "iuf" and not grouping:
        check_no_dates(new, f"column '{new.name}' of the new data")
    was_number, is_number = fitted.dtype.kind in "iuf", new.dtype.kind in "iuf"
    if was_number and is_number:
        whole = fitted.dtype.kind in "iu" and new.dtype.kind == "f"
        if not grouping:
            numeric_values(new, f"column '{new.name}' of the new data")
        return new.astype(np.int64) if whole and bool(np.all(new == np.floor(new))) else new
    if not was_number and not is_number and (fitted.dtype.kind == "b") == (new.dtype.kind == "b"):
        return new
    levels = np.asarray(fitted.dropna().unique(), dtype=object)
    _, first = np.unique(canonical(levels), return_index=True)
    levels = levels[first]
    positions = np.asarray(match(levels, new))
    known = positions >= 0
    if was_number and not grouping and not known.all():
        numeric = pd.to_numeric(new, errors="coerce")
        if numeric.isna().any():
            bad = some(dict.fromkeys(map(str, new[numeric.isna()])))
            raise DataError(f"'{new.name}' holds text in the new data ({bad}); in the fit it was a number.")
        return numeric
    values = np.where(known, levels[np.maximum(positions, 0)], np.asarray(new, dtype=object))
    if known.all() and fitted.dtype.kind in "iufb":
        dtype: Any = fitted.dtype
        return pd.Series(values.astype(dtype), index=new.index, name=new.name)
    return pd.Series(
        [v if k else str(v) for v, k in zip(values, known, strict=True)], index=new.index, name=new.name, dtype=object
    )


def fixed_rows(spec: Specification, frame: pd.DataFrame | None, columns: Sequence[sp.csr_array]) -> tuple[Any, Any]:
    """X of the new records (the data of the fit without) in the columns kept, and rows over all columns to judge it by.

    New records are coded as the model's were (formulaic's ModelSpec keeps it). Groups of unknown parents come last, as
    the Z at hand say. A record of the fit is estimable with its own groups: what is left of them is judged.
    """
    fixed, groups = spec.fixed, group_rows(spec, columns)
    first = len(fixed.columns) - groups.shape[1]
    if frame is not None:
        assert fixed.spec is not None
        matrix = model_matrix(fixed.spec, frame)
        X = sp.csc_array(matrix) if sp.issparse(matrix) else np.asarray(matrix, dtype=np.float64)
        rows = extended(X, [sp.csc_array(groups)] if spec.groups else [])
        return rows[:, fixed.kept], rows
    rest = sp.csr_array((spec.n, first))
    if not spec.groups:
        return fixed.matrix, rest
    of_formula = fixed.kept[fixed.kept < first]
    own = sp.csc_array(fixed.matrix)[:, : len(of_formula)]
    X = sp.csr_array(sp.hstack([own, sp.csc_array(groups)[:, fixed.kept[len(of_formula) :] - first]]))
    whole = group_rows(spec, [z for d in spec.random for z in d.columns])
    return X, sp.csr_array(sp.hstack([rest, groups - whole]))


def group_rows(spec: Specification, columns: Sequence[sp.csr_array]) -> sp.csr_array:
    """All columns of X of groups of unknown parents, as the Z_i of all terms say."""
    parts = []
    for groups in spec.groups:
        first = sum(d.t for d in spec.random[: groups.term])
        parts.append(groups.rows(columns[first : first + spec.random[groups.term].t]))
    return sp.csr_array(sp.hstack(parts)) if parts else sp.csr_array((columns[0].shape[0] if columns else 0, 0))


def random_rows(
    spec: Specification, solution: Any, frame: pd.DataFrame, included: set[int], new_levels: str
) -> tuple[list[sp.csr_array], Array]:
    """Z columns of each term, and the prior variance that levels not in the model add to a prediction."""
    columns: list[sp.csr_array] = []
    extra = np.zeros(len(frame))
    parts = spec.parameters.split(solution.theta)
    for k, design in enumerate(spec.random):
        if k not in included:
            columns += [sp.csr_array((len(frame), design.q))] * design.t
        elif design.term is None:
            columns.append(sp.csr_array(design.spec.rows(frame)))
        else:
            rows = new_rows(design, frame, parts[k])
            if rows.unknown and new_levels == "error":
                raise DataError(
                    f"levels of '{design.name}' were not in the model: {some(rows.unknown)}."
                    " Use new_levels='population' to predict them with a random effect of zero."
                )
            columns += rows.columns
            extra += rows.prior(design.structure.covariance(parts[k]))
    return columns, extra
