"""Each dull reason tried: the model refitted, and its numbers beside theirs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.crosschecking.judge.evaluation import Evaluation, evaluate, model_of
from remlblup.crosschecking.judge.matching import Matched
from remlblup.crosschecking.judge.other_numbers import other_numbers
from remlblup.crosschecking.judge.tolerance import SHARE, distance
from remlblup.crosschecking.judge.tried import Tried
from remlblup.crosschecking.judge.variant import Ours, Variant, other_method
from remlblup.crosschecking.judge.variants import variants
from remlblup.crosschecking.results import Results
from remlblup.errors import ConvergenceWarning, RemlBlupError, said_elsewhere
from remlblup.mixed_model import MixedModel
from remlblup.result import Fit

#: Letters of a note.
NOTE = 100


@dataclass(frozen=True)
class Single:
    """A variant, tried.

    Attributes
    ----------
    variant : what was changed
    fit : its fit; ours where only the numbers are others, None where there is none
    tried : its numbers beside theirs
    """

    variant: Variant
    fit: Fit | None
    tried: Tried


def try_reasons(
    fit: Fit, theirs: Matched, results: Results, whole: pd.DataFrame | None
) -> tuple[list[Tried], list[Single]]:
    """Every reason that the model leaves room for, that of unchanged start values first; and those with a fit."""
    ours = Ours.of(fit.specification, fit.method, whole)
    singles = [single(fit, theirs, variant) for variant in (variants(ours) if ours is not None else _of_matrices(fit))]
    return [*start_values(fit, theirs, results), *(s.tried for s in singles)], singles


def _of_matrices(fit: Fit) -> list[Variant]:
    return [other_method(fit.method), *other_numbers(fit.specification.parameters)]


def standard_errors(fit: Fit) -> Array:
    """(n_parameters,) by the average information."""
    return np.asarray(np.sqrt(np.maximum(np.diag(fit.variance_covariance), 0.0)))


def single(fit: Fit, theirs: Matched, variant: Variant) -> Single:
    """The variant at its own maximum."""
    found: Fit | str = fit
    if variant.make is not None or variant.method is not None:
        found = refit(fit, variant)
    if isinstance(found, str):
        failed = Tried(variant.reason, variant.detail, None, np.nan, np.inf, np.inf, found[:NOTE])
        return Single(variant, None, failed)
    return Single(variant, found, beside(fit, theirs, variant, found))


def beside(fit: Fit, theirs: Matched, variant: Variant, found: Fit, share: float = SHARE) -> Tried:
    """Numbers of a variant, by its fit, beside theirs and ours."""
    theta, own = found.theta, standard_errors(found)
    if len(theta) != len(theirs.theta):
        words = "it has other parameters"
        return Tried(variant.reason, variant.detail, None, found.loglik, np.inf, np.inf, words)
    if variant.of is not None:
        with np.errstate(all="ignore"):
            moved, nudged = variant.of(theta), variant.of(theta + 1e-4 * np.nan_to_num(own))
            own = np.abs(nudged - moved) * 1e4
        theta = moved
    return Tried(
        variant.reason,
        variant.detail,
        theta,
        found.loglik,
        distance(theirs.theta, theta, theirs.unit, own, share),
        distance(np.where(np.isnan(theirs.theta), np.nan, theta), fit.theta, theirs.unit, standard_errors(fit)),
    )


def refit(fit: Fit, variant: Variant) -> Fit | str:
    """The fit of a variant; in words why there is none."""
    try:
        with warnings.catch_warnings(), said_elsewhere(ConvergenceWarning):
            warnings.simplefilter("ignore")
            model = model_of(fit) if variant.make is None else MixedModel._of(variant.make())
            found = model.fit(variant.method or fit.method, constrain=fit.options.constrain, progress=False)
    except (RemlBlupError, np.linalg.LinAlgError) as error:
        return str(error)
    return found if found.converged else f"did not converge: {found.convergence.reason}"


def start_values(fit: Fit, theirs: Matched, results: Results) -> list[Tried]:
    """Numbers that no data were asked for: the start of their log, ones, equal parts of the variance of y."""
    size, error = len(theirs.theta), standard_errors(fit)
    variance = float(np.var(fit.specification.y, ddof=1))
    is_variance = fit.specification.parameters.lower == 0.0
    parts = max(int(is_variance.sum()), 1)
    guesses: list[tuple[str, Array]] = []
    if results.start is not None and len(results.start) == len(results.components):
        guesses.append(("those of its own log", _in_our_order(theirs, results)))
    guesses += [
        ("one for every variance", np.where(is_variance, 1.0, 0.0)),
        ("equal parts of the variance of the response", np.where(is_variance, variance / parts, 0.0)),
        ("half the variance of the response", np.where(is_variance, variance / 2.0, 0.0)),
        ("the variance of the response", np.where(is_variance, variance, 0.0)),
    ]
    model = model_of(fit)
    out = []
    for words, value in guesses:
        at = evaluate(model, value, fit.method) if np.isfinite(value).all() else ""
        loglik = at.loglik if isinstance(at, Evaluation) else np.nan
        away = distance(theirs.theta, value, theirs.unit, np.zeros(size))
        out.append(Tried("start values returned", words, value, loglik, away,
                         distance(value, fit.theta, theirs.unit, error)))  # fmt: skip
    return out


def _in_our_order(theirs: Matched, results: Results) -> Array:
    """Their start in our order: laid where the estimates lie."""
    out = np.full(len(theirs.theta), np.nan)
    assert results.start is not None
    for value, estimate in zip(results.start, results.components["estimate"], strict=True):
        for k in np.flatnonzero(theirs.theta == estimate):
            if np.isnan(out[k]):
                out[k] = value
                break
    return out
