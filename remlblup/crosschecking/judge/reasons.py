"""Each dull reason tried: the model refitted, and its numbers beside theirs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.crosschecking.judge.evaluation import model_of
from remlblup.crosschecking.judge.matching import Matched
from remlblup.crosschecking.judge.tolerance import distance
from remlblup.crosschecking.judge.variants import Ours, Variant, variants
from remlblup.crosschecking.results import Results
from remlblup.errors import ConvergenceWarning, RemlBlupError, said_elsewhere
from remlblup.mixed_model import MixedModel
from remlblup.result import Fit

#: Letters of a note.
NOTE = 100


@dataclass(frozen=True)
class Tried:
    """One reason, tried.

    Attributes
    ----------
    reason, detail : in words
    theta : (n_parameters,) the numbers it gives, in our order; None where it could not be fitted
    loglik : highest log-likelihood of that model
    distance : of theirs from these numbers, over what is allowed: agreement is 1 or less
    from_ours : of these numbers from ours, alike: 1 or less, and the reason changes nothing
    note : why it could not be tried
    """

    reason: str
    detail: str
    theta: Array | None
    loglik: float
    distance: float
    from_ours: float
    note: str = ""

    @property
    def agrees(self) -> bool:
        """Whether theirs are these numbers, and ours are not."""
        return self.distance <= 1.0 < self.from_ours


def try_reasons(fit: Fit, theirs: Matched, results: Results, whole: pd.DataFrame | None) -> list[Tried]:
    """Every reason that the model leaves room for, that of unchanged start values first."""
    error = np.sqrt(np.maximum(np.diag(fit.variance_covariance), 0.0))
    out = start_values(fit, theirs, results, error)
    ours = Ours.of(fit.specification, fit.method, whole)
    of_model = variants(ours) if ours is not None else _of_matrices(fit)
    for variant in of_model:
        out.append(_tried(fit, theirs, error, variant))
    return out


def _of_matrices(fit: Fit) -> list[Variant]:
    from remlblup.crosschecking.judge.variants import other_numbers

    other = "ML" if fit.method == "REML" else "REML"
    method = Variant(f"{other} in place of {fit.method}", f"estimated by {other}", None, other)
    return [method, *other_numbers(fit.specification.parameters)]


def _tried(fit: Fit, theirs: Matched, error: Array, variant: Variant) -> Tried:
    """The variant at its own maximum."""
    theta, loglik, own = fit.theta, fit.loglik, error
    if variant.make is not None or variant.method is not None:
        found = refit(fit, variant)
        if isinstance(found, str):
            return Tried(variant.reason, variant.detail, None, np.nan, np.inf, np.inf, found[:NOTE])
        theta, loglik = found.theta, found.loglik
        own = np.sqrt(np.maximum(np.diag(found.variance_covariance), 0.0))
    if variant.of is not None:
        with np.errstate(all="ignore"):
            moved, nudged = variant.of(theta), variant.of(theta + 1e-4 * np.nan_to_num(own))
            own = np.abs(nudged - moved) * 1e4
        theta = moved
    if len(theta) != len(theirs.theta):
        return Tried(variant.reason, variant.detail, None, loglik, np.inf, np.inf, "it has other parameters")
    return Tried(
        variant.reason,
        variant.detail,
        theta,
        loglik,
        distance(theirs.theta, theta, theirs.unit, own),
        distance(np.where(np.isnan(theirs.theta), np.nan, theta), fit.theta, theirs.unit, error),
    )


def refit(fit: Fit, variant: Variant) -> Fit | str:
    """The fit of a variant; in words why there is none."""
    try:
        with warnings.catch_warnings(), said_elsewhere(ConvergenceWarning):
            warnings.simplefilter("ignore")
            model = model_of(fit) if variant.make is None else MixedModel._of(variant.make(), "auto")
            found = model.fit(variant.method or fit.method, constrain=fit.options.constrain, progress=False)
    except (RemlBlupError, np.linalg.LinAlgError) as error:
        return str(error)
    return found if found.converged else f"did not converge: {found.convergence.reason}"


def start_values(fit: Fit, theirs: Matched, results: Results, error: Array) -> list[Tried]:
    """Numbers that no data were asked for: the start of their log, ones, equal parts of the variance of y."""
    size = len(theirs.theta)
    y = fit.specification.y
    variance = float(np.var(y, ddof=1))
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
    return [
        Tried(
            "start values returned",
            words,
            value,
            np.nan,
            distance(theirs.theta, value, theirs.unit, np.zeros(size)),
            distance(value, fit.theta, theirs.unit, error),
        )
        for words, value in guesses
    ]


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


def reasons_table(tried: list[Tried], columns: tuple[str, ...]) -> pd.DataFrame:
    """A row per reason: what it gives, and whether theirs are these numbers."""
    names = ["reason", "detail", "agrees", "distance", "loglik", *columns, "note"]
    rows = [
        [t.reason, t.detail, t.agrees, t.distance, t.loglik, *(t.theta if t.theta is not None else
         np.full(len(columns), np.nan)), t.note]
        for t in tried
    ]  # fmt: skip
    out = pd.DataFrame(rows, columns=names)
    return out.sort_values("distance", kind="stable", ignore_index=True)
