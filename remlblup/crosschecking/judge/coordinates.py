"""Reasons that leave the model and its maximum as they are: loadings turned, other aliased columns left out."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.crosschecking.judge.agreement import allowed_difference
from remlblup.crosschecking.judge.coding import fixed_of, transform
from remlblup.crosschecking.judge.matching import Matched
from remlblup.crosschecking.judge.names import plain_coefficient
from remlblup.crosschecking.judge.tolerance import distance
from remlblup.crosschecking.judge.tried import Tried
from remlblup.crosschecking.results import Results
from remlblup.errors import some
from remlblup.result import Fit


def coordinates(fit: Fit, theirs: Matched, results: Results, loglik: float) -> list[Tried]:
    """Those of theirs, in the order of the components and the fixed effects.

    Parameters
    ----------
    fit : ours
    theirs : their components, with loadings already in our form
    results : as read
    loglik : ours at theirs
    """
    error = np.sqrt(np.maximum(np.diag(fit.variance_covariance), 0.0))
    away = distance(theirs.theta, fit.theta, theirs.unit, error)
    out = []
    if theirs.turned and theirs.as_given is not None:
        signs = bool(np.allclose(np.abs(theirs.as_given), np.abs(theirs.theta), rtol=1e-9) and not theirs.above)
        detail = f"{'signs' if signs else 'factors'} of {some(theirs.turned)} turned: the covariances are the same"
        from_ours = distance(theirs.as_given, fit.theta, theirs.unit, error)
        out.append(Tried("loadings rotated", detail, theirs.as_given, loglik, away, from_ours))
    if (found := aliased(fit, results)) is not None:
        apart, detail = found
        out.append(Tried("aliasing of fixed effects", detail, theirs.theta, loglik, max(away, apart), np.inf))
    return out


def aliased(fit: Fit, results: Results) -> tuple[float, str] | None:
    """Largest difference of the coefficients over what is allowed, theirs in our coding, and which columns are gone.

    None where the columns are independent, or the same ones are left out.
    """
    spec, ours, theirs = fit.specification, fit.fixed_effects, fixed_of(fit.specification, results)
    names = [str(name) for name in theirs["name"]]
    kept = [n for n, v in zip(names, theirs["estimate"], strict=True) if v != 0.0]
    same = {plain_coefficient(n) for n in kept} == {plain_coefficient(str(n)) for n in ours.index}
    if same or not (spec.fixed.aliased or len(names) > spec.p):
        return None
    T = transform(spec, names)
    if T is None:
        return None
    moved: Array = T @ theirs["estimate"].to_numpy(dtype=float)
    roundings = np.abs(T) @ theirs["rounding"].to_numpy(dtype=float)
    allowed = [allowed_difference(r, e) for r, e in zip(roundings, ours["std_error"], strict=True)]
    apart = float(np.max(np.abs(moved - ours["estimate"].to_numpy()) / allowed))
    without = [n for n in names if n not in kept] or _left_out(fit, kept)
    return apart, f"zero is {some(without) or 'none'} in theirs, {some(spec.fixed.aliased) or 'none'} in ours"


def _left_out(fit: Fit, kept: list[str]) -> list[str]:
    """Columns of ours that theirs has not."""
    theirs = {plain_coefficient(n) for n in kept}
    return [c for c in fit.specification.fixed.columns if plain_coefficient(c) not in theirs]
