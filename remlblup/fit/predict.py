"""Predictions for new records: rows of X and Z built as the model's own were."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.equations.mme import MixedModelEquations, Solution
from remlblup.equations.prediction_error import prediction_variances
from remlblup.errors import DataError, choose, some
from remlblup.fit.tables import term_index
from remlblup.model.design import RandomDesign, group_keys, incidence, required_columns
from remlblup.model.frame import numeric_values, require_columns, to_pandas
from remlblup.model.specification import Specification
from remlblup.relationship.labels import canonical, match
from remlblup.structure.base import Array


def predict(equations: MixedModelEquations, solution: Solution, beta: Array, new: Any, include: Any,
            new_levels: str, se: bool) -> pd.DataFrame:  # fmt: skip
    """See `Solved.predict`."""
    choose("new_levels", new_levels, ("error", "population"))
    spec = equations.spec
    included = included_terms(spec, include)
    if new is None:
        index, X = spec.index, spec.fixed.matrix
        columns = [z if k in included else sp.csr_array(z.shape) for k, d in enumerate(spec.random) for z in d.columns]
        extra = np.zeros(spec.n)
    else:
        frame = checked_frame(spec, to_pandas(new), included)
        index, X = frame.index, fixed_rows(spec, frame)
        columns, extra = random_rows(spec, solution, frame, included, new_levels)
    Z = sp.hstack(columns, format="csr") if columns else sp.csr_array((len(index), 0))
    out = pd.DataFrame({"prediction": X @ beta + Z @ solution.effects[spec.p :]}, index=index)
    if se:
        T = spec.fixed.transform
        work = sp.csr_array(X if T is None else (X @ T))
        rows = sp.hstack([work, Z], format="csr")
        out["std_error"] = np.sqrt(prediction_variances(equations, solution, rows) + extra)
    return out


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
    """The new records, with every column they need and no missing value among them."""
    if spec.formula is None:
        raise DataError(
            "a model made from matrices has no formula to read new data with: predict with its own matrices."
        )
    fitted = spec.records.frame  # type: ignore[union-attr]
    covariates = required_columns(spec.formula.fixed, "the prediction", fitted)
    groups: list[str] = []
    for k in sorted(included):
        term = spec.random[k].term
        assert term is not None
        groups += list(term.group.factors)
        covariates += required_columns(term.effects, "the prediction", fitted)
    needed = list(dict.fromkeys([*covariates, *groups]))
    require_columns(frame, needed, "the prediction", "the new data")
    missing = frame[needed].isna().any(axis=1)
    if missing.any():
        raise DataError(f"the new data have missing values in row(s) {some(frame.index[missing])}: fill or drop them.")
    return frame.assign(**{c: conformed(fitted[c], frame[c], c in groups) for c in needed})


def conformed(fitted: pd.Series, new: pd.Series, grouping: bool) -> pd.Series:
    """The new column in the type of the fit's: "1", 1 and 1.0 are one label, and a factor stays a factor."""
    was_number, is_number = fitted.dtype.kind in "iuf", new.dtype.kind in "iuf"
    if was_number and is_number:
        whole = fitted.dtype.kind in "iu" and new.dtype.kind == "f"
        if not grouping:
            numeric_values(new, f"column '{new.name}' of the new data")
        return new.astype(np.int64) if whole and bool(np.all(new == np.floor(new))) else new
    if not was_number and not is_number and (fitted.dtype.kind == "b") == (new.dtype.kind == "b"):
        return new
    levels = np.asarray(fitted.unique(), dtype=object)
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
        return pd.Series(values.astype(fitted.dtype), index=new.index, name=new.name)
    return pd.Series([v if k else str(v) for v, k in zip(values, known, strict=True)], index=new.index, name=new.name,
                     dtype=object)  # fmt: skip


def model_matrix(model_spec: Any, frame: pd.DataFrame, **options: Any) -> Any:
    """formulaic's matrix of new records; its errors become `DataError`."""
    from formulaic.errors import FormulaicError

    check_categories(model_spec, frame)
    try:
        return model_spec.get_model_matrix(frame, na_action="ignore", **options)
    except (FormulaicError, ValueError, TypeError) as error:
        raise DataError(f"the new data cannot be coded as the fit's were: {error}") from error


def fixed_rows(spec: Specification, frame: pd.DataFrame) -> Any:
    """X of the new records, with the coding of the model (formulaic's ModelSpec keeps it)."""
    assert spec.fixed.spec is not None
    matrix = model_matrix(spec.fixed.spec, frame)
    X = sp.csc_array(matrix) if sp.issparse(matrix) else np.asarray(matrix, dtype=np.float64)
    return X[:, spec.fixed.kept]


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


def random_rows(spec: Specification, solution: Solution, frame: pd.DataFrame, included: set[int],
                new_levels: str) -> tuple[list[sp.csr_array], Array]:  # fmt: skip
    """Z columns of each term, and the prior variance that levels not in the model add to a prediction."""
    columns: list[sp.csr_array] = []
    extra = np.zeros(len(frame))
    parts = spec.parameters.split(solution.theta)
    for k, design in enumerate(spec.random):
        if k not in included:
            columns += [sp.csr_array((len(frame), design.q))] * design.t
            continue
        assert design.term is not None
        keys = group_keys(design.term.group, frame)
        positions = np.asarray(match(design.relationship.labels, keys))
        unknown = positions < 0
        if unknown.any() and new_levels == "error":
            raise DataError(
                f"levels of '{design.name}' were not in the model: {some(dict.fromkeys(keys[unknown]))}."
                " Use new_levels='population' to predict them with a random effect of zero."
            )
        values = effect_values(design, frame)
        known = np.where(unknown[:, None], 0.0, values)
        codes = np.where(unknown, 0, positions)
        columns += [incidence(codes, design.q, known[:, i]) for i in range(design.t)]
        sigma = design.structure.covariance(parts[k])
        extra += np.where(unknown, np.einsum("ni,ij,nj->n", values, sigma, values), 0.0)
    return columns, extra


def effect_values(design: RandomDesign, frame: pd.DataFrame) -> Array:
    """Covariates (n, t) of the effects of a term for new records."""
    if design.spec is None:
        return np.ones((len(frame), 1))
    return np.asarray(model_matrix(design.spec, frame, output="numpy"), dtype=np.float64)
