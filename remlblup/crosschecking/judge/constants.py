"""Constants that programs leave out of a log-likelihood, or put into it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from remlblup.crosschecking.judge.coding import transform
from remlblup.crosschecking.results import Results
from remlblup.fit.tables.effects import logdet_crossproduct
from remlblup.result import Fit

LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Constant:
    """Their printed ℓ less ours at their estimates.

    Attributes
    ----------
    value : the difference
    words : what it is, "" for what is none of those known
    known : what that amounts to by the formula; 0 without
    """

    value: float
    words: str
    known: float = 0.0


def constants(fit: Fit, method: str, coding: float = 0.0) -> list[tuple[str, float]]:
    """Words and value of what may be added to ours to give theirs, the plainest first."""
    n, p = fit.n_obs, fit.specification.p
    freedom = n - p if method == "REML" else n
    of_2pi = [("", 0.0), ("without the 2π term", 0.5 * freedom * LOG_2PI)]
    if method == "REML":
        of_2pi += [("with n log 2π in place of (n − p) log 2π", -0.5 * p * LOG_2PI)]
    xx = 0.5 * logdet_crossproduct(fit.specification.fixed) if method == "REML" and p else 0.0
    of_x = [("", 0.0), ("with + ½ log|X'X|", xx)] if xx else [("", 0.0)]
    of_x += [("with fixed effects in another coding", -coding)] if coding and method == "REML" else []
    kinship = sum(0.5 * d.t * d.relationship.logdet for d in fit.specification.random if not d.is_identity)
    of_k = [("", 0.0), ("without ½ log|K|", kinship)] if kinship else [("", 0.0)]
    spread = float(np.std(fit.specification.y, ddof=1)) if not fit.specification.responses and n > 1 else 0.0
    of_y = [("", 0.0)]
    if spread > 0.0:  # ℓ of y/s is higher by log s for every degree of freedom
        of_y += [("of the response over its standard deviation", freedom * float(np.log(spread)))]
    made = [
        (" and ".join(filter(None, (a, b, c, d))), u + v + w + x)
        for (a, u), (b, v), (c, w), (d, x) in product(of_2pi, of_x, of_k, of_y)
    ]
    return sorted(made, key=lambda pair: pair[0].count(" and ") + bool(pair[0]))


def constant(fit: Fit, results: Results, ours: float, tolerance: float) -> Constant:
    """What separates a printed log-likelihood from ours at the same estimates.

    The restricted likelihood has log|X'V⁻¹X|: with X_theirs = X T it is lower by log|det T|.
    """
    assert results.loglik is not None
    method = results.method if results.method in ("REML", "ML") else fit.method
    T = transform(fit.specification, [str(name) for name in results.fixed_effects["name"]])
    coding = 0.0 if T is None or T.shape[0] != T.shape[1] else float(np.linalg.slogdet(T)[1])
    difference = results.loglik - ours
    for words, value in constants(fit, str(method), coding):
        if abs(difference - value) <= tolerance:
            return Constant(difference, words or "the same constants", value)
    return Constant(difference, "")
