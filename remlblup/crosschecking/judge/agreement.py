"""Every quantity side by side, with the digits in which they agree."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.crosschecking.judge.coding import fixed_of, transform
from remlblup.crosschecking.judge.constants import Constant
from remlblup.crosschecking.judge.evaluation import Evaluation
from remlblup.crosschecking.judge.matching import Matched
from remlblup.crosschecking.judge.names import factors, own_factors, plain_coefficient, plain_effect
from remlblup.crosschecking.judge.tolerance import SHARE, allowance, digits
from remlblup.crosschecking.results import Results
from remlblup.errors import RemlBlupError, some
from remlblup.result import Fit

COLUMNS = ("quantity", "name", "ours", "theirs", "difference", "digits", "in_std_errors", "agrees", "note")
#: Up to this many records the observed and the expected information are asked for too.
FEW = 2_000
#: Standard errors this close, in proportion, are the same: they follow estimates that were not quite ours.
SIMILAR = 5e-3
#: The rankings that are compared.
TOP = 20


def agreement(
    fit: Fit, theirs: Matched, results: Results, at_theirs: Evaluation | None, constant: Constant | None
) -> pd.DataFrame:
    """Log-likelihood, components, standard errors, fixed effects, BLUPs."""
    rows = [*_likelihood(fit, results, at_theirs, constant), *_components(fit, theirs), *_errors(fit, theirs)]
    rows += [*_fixed(fit, results), *_effects(fit, theirs, results)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    quantity: str, name: str, ours: float, theirs: float, allowed: float, error: float = np.nan, note: str = ""
) -> tuple:
    difference = theirs - ours
    agreed = digits(ours, theirs)
    away = difference / error if np.isfinite(error) and error > 0.0 else np.nan
    return quantity, name, ours, theirs, difference, agreed, away, bool(abs(difference) <= allowed), note


def _likelihood(fit: Fit, results: Results, at_theirs: Evaluation | None, constant: Constant | None) -> list[tuple]:
    if results.loglik is None:
        return []
    if at_theirs is None or constant is None:
        return [_row("loglik", "as printed", fit.loglik, results.loglik, 2.0 * results.loglik_rounding)]
    note = f"at their estimates; theirs is {constant.value:+.6g}: {constant.words or 'no constant that is known'}"
    shifted = results.loglik - constant.known
    return [_row("loglik", "less its constant", at_theirs.loglik, shifted, 2.0 * results.loglik_rounding + 1e-5,
                 note=note)]  # fmt: skip


def _components(fit: Fit, theirs: Matched) -> list[tuple]:
    error = np.sqrt(np.maximum(np.diag(fit.variance_covariance), 0.0))
    allowed = allowance(fit.theta, theirs.unit, error)
    columns = fit.specification.parameters.columns
    return [
        _row("component", columns[k], fit.theta[k], theirs.theta[k], allowed[k], error[k])
        for k in range(len(columns))
        if not np.isnan(theirs.theta[k])
    ]


def _errors(fit: Fit, theirs: Matched) -> list[tuple]:
    """Standard errors, by the information that theirs are nearest to."""
    told = np.flatnonzero(np.isfinite(theirs.std_error) & (theirs.std_error > 0.0))
    kinds = standard_errors(fit)
    if not len(told) or not kinds:
        return []

    def off(values: Array) -> float:
        apart = np.abs(values[told] / theirs.std_error[told] - 1.0)
        return float(np.nanmax(apart)) if np.isfinite(apart).any() else np.inf

    best = min(kinds, key=lambda kind: off(kinds[kind]))
    columns = fit.specification.parameters.columns
    return [
        _row("std_error", columns[k], kinds[best][k], theirs.std_error[k], SIMILAR * abs(theirs.std_error[k]),
             note=f"from the {best} information")
        for k in told
    ]  # fmt: skip


def standard_errors(fit: Fit) -> dict[str, Array]:
    """By kind of information."""
    out = {"average": np.sqrt(np.maximum(np.diag(fit.variance_covariance), 0.0))}
    if fit.n_obs > FEW or any(status != "free" for status in fit.status):
        return out
    for kind in ("observed", "expected"):
        try:
            matrix = fit.information(kind).to_numpy()
            out[kind] = np.sqrt(np.maximum(np.diag(np.linalg.inv(matrix)), 0.0))
        except (RemlBlupError, np.linalg.LinAlgError):
            continue
    return out


def _fixed(fit: Fit, results: Results) -> list[tuple]:
    """Coefficients of the same names, or theirs taken into our coding where their names say what theirs is."""
    theirs = fixed_of(fit.specification, results)
    if not len(theirs):
        return []
    ours = fit.fixed_effects
    place = {plain_coefficient(str(name)): k for k, name in enumerate(ours.index)}
    names = [str(name) for name in theirs["name"]]
    at = [place.get(plain_coefficient(name)) for name in names]
    if len(theirs) == len(ours) == 1:
        at = [0]
    if None in at and (T := transform(fit.specification, names)) is not None:
        return _recoded(ours, theirs, T)
    rows: list[tuple] = []
    if None in at and len(theirs) == len(ours):
        note = "not compared: theirs is coded otherwise, and its names do not say how"
        return [("fixed effect", "(all)", np.nan, np.nan, np.nan, np.nan, np.nan, True, note)]
    values = theirs[["estimate", "std_error", "rounding"]].to_numpy(dtype=float)
    for k, name, (value, spread, rounding) in zip(at, names, values, strict=True):
        if k is None:
            continue
        estimate, error = float(ours["estimate"].iloc[k]), float(ours["std_error"].iloc[k])
        rows.append(_row("fixed effect", name, estimate, value, allowed_difference(rounding, error), error))
        if np.isfinite(spread):
            rows.append(_row("std_error", name, error, spread, SIMILAR * error))
    absent = [name for k, name, row in zip(at, names, values, strict=True) if k is None and row[0] != 0.0]
    if absent:
        note = f"not in our model, or coded otherwise: {some(absent)}"
        rows.append(("fixed effect", "(others)", np.nan, np.nan, np.nan, np.nan, np.nan, False, note))
    return rows


def allowed_difference(rounding: float, error: float) -> float:
    """Of a fixed effect: a unit of the last digit printed, or a share of a standard error where that is more."""
    return max(2.0 * rounding, SHARE * error)


def _recoded(ours: pd.DataFrame, theirs: pd.DataFrame, T: Array) -> list[tuple]:
    """Theirs in our coding: X_theirs b = X_ours T b."""
    moved = T @ theirs["estimate"].to_numpy()
    roundings = np.abs(T) @ theirs["rounding"].to_numpy()
    note = "theirs taken into our coding"
    return [
        _row(
            "fixed effect",
            str(name),
            row.estimate,
            value,
            allowed_difference(rounding, row.std_error),
            row.std_error,
            note,
        )
        for (name, row), value, rounding in zip(ours.iterrows(), moved, roundings, strict=True)
    ]


def _effects(fit: Fit, theirs: Matched, results: Results) -> list[tuple]:
    """BLUPs by term: correlation, largest difference, who of the best stays among the best."""
    table = results.random_effects
    rows: list[tuple] = []
    for (term, effect), part in table.groupby(["term", "effect"], sort=False):
        ours = _ours_of(fit, theirs, results, str(term), str(effect))
        if ours is None:
            continue
        name, values = ours
        given = pd.Series(part["estimate"].to_numpy(), index=part["level"].astype(str))
        common = values.index.intersection(given.index)
        if len(common) < 2 or not given.index.is_unique:
            note = "levels have other names" if len(common) < 2 else "levels are named twice"
            rows.append(("BLUP", name, np.nan, np.nan, np.nan, np.nan, np.nan, True, f"not compared: {note}"))
            continue
        rows += _of_levels(name, values[common], given[common], float(part["rounding"].max()))
    return rows


def _of_levels(name: str, ours: pd.Series, theirs: pd.Series, rounding: float) -> list[tuple]:
    spread = float(ours.std())
    worst = str((theirs - ours).abs().idxmax())
    r = float(np.corrcoef(ours, theirs)[0, 1]) if spread > 0.0 and theirs.std() > 0.0 else np.nan
    top = min(TOP, max(len(ours) // 4, 1))
    kept = len(set(ours.nlargest(top).index) & set(theirs.nlargest(top).index))
    allowed = max(2.0 * rounding, 0.01 * spread)
    ranked = f"correlation {r:.6f}; {kept} of the best {top} are shared"
    note = f"largest difference of {len(ours)} levels, at {worst}; {ranked}"
    return [_row("BLUP", name, float(ours[worst]), float(theirs[worst]), allowed, spread, note)]


def _ours_of(fit: Fit, theirs: Matched, results: Results, term: str, effect: str) -> tuple[str, pd.Series] | None:
    """Our BLUPs of one of their terms and effects."""
    spec = fit.specification
    name = theirs.terms.get(term)
    same = [d for d, f in zip(spec.random, own_factors(spec), strict=True) if f == factors(term)]
    if effect and len(same) > 1:  # lme4 has the BLUPs of all terms of a factor under its name
        same = [d for d in same if plain_effect(effect) in map(plain_effect, d.structure.effects)]
        name = same[0].name if len(same) == 1 else name
    if name is None:
        if len(same) != 1:
            return None
        name = same[0].name
    table = fit.blup(name)
    places = {plain_effect(str(c)): c for c in table.columns}
    own = [t for t in dict.fromkeys(results.components["term"]) if theirs.terms.get(t) == name]
    if len(own) > 1 and not effect:  # independent effects, each a term of theirs
        effect = term if plain_effect(term) in places else str(own.index(term) + 1)
    column = places.get(plain_effect(effect))
    if column is None and effect.isdigit() and 0 < int(effect) <= table.shape[1]:
        column = table.columns[int(effect) - 1]
    if column is None:
        return None
    values = table[column]
    values.index = values.index.astype(str)
    return (f"{name}" if table.shape[1] == 1 else f"{name}: {column}"), values
