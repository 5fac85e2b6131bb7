"""Intervals of predictions: of the mean of such records, or of one more record."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import DataError, OptionError, check_share, some
from remlblup.model.frame import numeric_column
from remlblup.model.known_residual import variances_of
from remlblup.model.residual import over_levels
from remlblup.model.residual_reading import KNOWN
from remlblup.model.specification import Specification
from remlblup.relationship.labels import match
from remlblup.structure.residual.sections import Sections

CHOICES = ("confidence", "prediction")


def check_interval(interval: object, level: float, se: bool) -> None:
    """Refuse what is no interval.

    Raises
    ------
    OptionError
    """
    check_share("level", level)
    if interval is None:
        return
    if not isinstance(interval, str) or interval not in CHOICES:
        raise OptionError(f"interval={interval!r} is not known. Choose one of: {some(CHOICES)}, or None.")
    if not se:
        raise OptionError("an interval needs standard errors: leave out se=False.")


def with_interval(table: pd.DataFrame, residual: Array | float, df: float, level: float) -> pd.DataFrame:
    """prediction ± t √(std_error² + the residual variance of the records)."""
    from scipy import stats

    half = float(stats.t.ppf(0.5 + level / 2.0, df)) * np.sqrt(table["std_error"].to_numpy() ** 2 + residual)
    out = table.assign(lower=table["prediction"] - half, upper=table["prediction"] + half)
    out.attrs.update(df=df, level=level)
    return out


def residual_variances(spec: Specification, phi: Array, new: pd.DataFrame | None) -> Array:
    """The residual variance of each new record (the data of the fit without), by its group, covariate and weight.

    Raises
    ------
    DataError
        If the new data lack a column that the residual variance depends on, or have a value of it that the fit had not.
    """
    residual = spec.residual.stands_for
    if new is None:
        return residual.record_variances(phi)
    term = spec.residual_term
    records = spec.records
    assert records is not None
    if term.keyword == KNOWN:
        return variances_of(term, new, phi)
    weights = np.ones(len(new))
    if records.weights is not None:
        _require(new, records.weights)
        weights = numeric_column(new, records.weights, "weights column")
        if np.any(weights <= 0.0):
            raise DataError(f"weights must be positive; '{records.weights}' of the new data is not: correct it.")
    if term.keyword == "power":
        _require(new, term.effect)
        x = numeric_column(new, term.effect, "covariate of power()")
        return _of_power(spec, residual, phi, new, x, term.section) / weights
    keys = [c for c in (term.section, term.effect if over_levels(term) or term.keyword == "diag" else None) if c]
    own = residual.record_variances(phi) * spec.weights
    if not keys:
        return np.full(len(new), own[0]) / weights
    old, fresh = _keys(records.frame, keys), _keys(new, keys)
    first = {key: position for position, key in reversed(list(enumerate(old)))}
    unknown = [key for key in fresh if key not in first]
    if unknown:
        raise DataError(
            f"the residual variance is that of each {' and '.join(keys)}, and the fit had none of"
            f" {some(dict.fromkeys(' '.join(key) for key in unknown))}: take interval='confidence' for these records."
        )
    return own[[first[key] for key in fresh]] / weights


def _of_power(
    spec: Specification, residual: object, phi: Array, new: pd.DataFrame, x: Array, section: str | None
) -> Array:
    """σ²x^(2δ), of its own for each section."""
    if not isinstance(residual, Sections) or not section:
        return np.asarray(phi[0] * np.abs(x) ** (2.0 * phi[1]))
    _require(new, section)
    codes = np.asarray(match(np.array(residual.labels, dtype=object), new[section].astype(str)))
    if np.any(codes < 0):
        raise DataError(f"'{section}' of the new data has levels the fit had none of: {some(new[section][codes < 0])}.")
    out = np.empty(len(new))
    for code in np.unique(codes):
        variance, power = phi[residual.slices[code]]
        out[codes == code] = variance * np.abs(x[codes == code]) ** (2.0 * power)
    return out


def _keys(frame: pd.DataFrame, columns: list[str]) -> list[tuple[str, ...]]:
    for name in columns:
        _require(frame, name)
    return list(zip(*(map(_text, frame[name]) for name in columns), strict=True))


def _text(value: object) -> str:
    """One spelling of 1, 1.0 and "1"."""
    return f"{value:g}" if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else str(value)


def _require(frame: pd.DataFrame, name: str) -> None:
    if name not in frame.columns:
        raise DataError(f"the residual variance depends on '{name}', which the new data lack: add that column.")
