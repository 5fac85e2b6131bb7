"""A fit beside the dense maximum: which verdict it gave, and whether verdict and reason are true."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from remlblup import Fit, RemlBlupError
from remlblup.validation.dense import Array
from remlblup.validation.verdicts.oracle import Oracle, Peak
from remlblup.validation.verdicts.problems import Problem
from remlblup.validation.verdicts.reasons import untrue

#: A log-likelihood this much higher than that of a converged fit makes its verdict false.
BEATEN = 1e-6
#: ℓ printed and ℓ by definition at the same parameters may differ by this share of 1 + |ℓ|, or of the digits V has.
AGREED = 1e-8

RIGHT, BELOW, SPIKE, MISSED, NONE, UNTRUE, WRONG, REFUSED, BROKEN, DIFFER = (
    "right",
    "certified below",
    "certified, though ℓ has no bound",
    "not converged though the maximum is there",
    "not converged, truly none",
    "untrue reason",
    "wrong log-likelihood",
    "refused",
    "error",
    "engines differ",
)
#: What must not occur.
FAULTS = (BELOW, UNTRUE, WRONG, BROKEN, DIFFER)


@dataclass(frozen=True)
class Row:
    """One problem and what came of it.

    Attributes
    ----------
    label, formula, residual : of the problem
    ours, best : log-likelihoods
    converged : the verdict
    category : one of the constants above
    reason : the reason given, or the error
    note : what is wrong with it
    seconds : of our fit, and of the search
    """

    label: str
    formula: str
    residual: str
    category: str
    ours: float = np.nan
    best: float = np.nan
    converged: bool = False
    reason: str = ""
    note: str = ""
    options: str = ""
    seconds: tuple[float, float] = (0.0, 0.0)
    theta: Array = field(default_factory=lambda: np.zeros(0), repr=False)
    best_theta: Array = field(default_factory=lambda: np.zeros(0), repr=False)

    @property
    def faulty(self) -> bool:
        return self.category in FAULTS

    def line(self) -> str:
        gap = self.best - self.ours
        return (
            f"{self.label:<32} {self.category:<26.26} {self.ours:>14.6f} {gap:>+11.2e}  {self.formula} "
            f"[{self.residual}]{self.options}{'  ' + self.note if self.note else ''}"
        )


def judge(problem: Problem, rng: np.random.Generator, starts: int = 24) -> Row:
    """Fit, search, compare."""
    with threadpool_limits(1):
        return _judge(problem, rng, starts)


def _judge(problem: Problem, rng: np.random.Generator, starts: int) -> Row:
    options = "".join(
        [
            f" {problem.method}" * (problem.method == "ML"),
            " constrain=False" * (not problem.constrain),
            " weights" * (problem.weights is not None),
        ]
    )
    about = problem.label, problem.formula, problem.residual
    clock = time.process_time()
    try:
        fits = _fits(problem)
    except RemlBlupError as error:
        return Row(*about, REFUSED, reason=f"{type(error).__name__}: {error}", options=options)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Row(
            *about,
            BROKEN,
            reason=f"{type(error).__name__}: {error} ({place.filename.rsplit('/', 1)[-1]}:{place.lineno})",
            options=options,
        )
    fit = fits[0]
    spent = time.process_time() - clock
    theta = np.asarray(fit.theta, float)
    oracle = problem.oracle
    at_ours = oracle.loglik(theta)
    peak = oracle.maximum(rng, starts, _ours(oracle, fits))
    if fit.loglik > peak.loglik + BEATEN:  # higher than the search came: on the way to a singular V
        peak = Peak(
            peak.x, theta, fit.loglik, oracle.smallest_eigenvalue(theta), oracle.least(theta), oracle.indefinite
        )
    seconds = spent, time.process_time() - clock - spent
    category, note = classify(problem, oracle, fits, at_ours, peak)
    return Row(
        *about,
        category,
        fit.loglik,
        peak.loglik,
        fit.converged,
        fit.convergence.reason,
        note,
        options,
        seconds,
        theta,
        peak.theta,
    )


def _fits(problem: Problem) -> list[Fit]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            problem.model(engine).fit(problem.method, constrain=problem.constrain, progress=False)
            for engine in problem.engines
        ]


def _ours(oracle: Oracle, fits: Sequence[Fit]) -> list[Array]:
    """Where the fits ended, and a little off it, to begin the search from."""
    out = []
    for fit in fits[:1]:
        x = oracle.coordinates(np.asarray(fit.theta, float))
        out += [x, x + 0.05 * np.random.default_rng(1).normal(size=len(x))]
    return out


def classify(problem: Problem, oracle: Oracle, fits: Sequence[Fit], at_ours: float, peak: Peak) -> tuple[str, str]:
    """Category and note."""
    fit = fits[0]
    if np.isfinite(at_ours) and abs(at_ours - fit.loglik) > allowance(oracle, fit):
        return WRONG, f"ℓ by definition at the same parameters is {at_ours:.9f}"
    for engine, other in zip(problem.engines[1:], fits[1:], strict=True):
        gap = abs(other.loglik - fit.loglik)
        if other.converged != fit.converged or (fit.converged and gap > BEATEN * (1.0 + 1e-3 * abs(fit.loglik))):
            higher = max(peak.loglik, fit.loglik)
            certified = [f for f in (fit, other) if f.converged and higher - f.loglik > BEATEN]
            what = f"{problem.engines[0]} {_word(fit)} {fit.loglik:.7f}, {engine} {_word(other)} {other.loglik:.7f}"
            return (SPIKE if peak.singular else BELOW if certified else DIFFER), what
    gain = peak.loglik - fit.loglik
    if fit.converged:
        if gain > BEATEN:
            return (
                (SPIKE, "" if peak.unbounded else "it rises to where V is singular") if peak.singular else (BELOW, "")
            )
        return RIGHT, ""
    claim = untrue(oracle, fit, peak)
    if claim is not None and claim[0]:
        return UNTRUE, claim[1]
    if peak.singular and not peak.unbounded:
        where = "at the edge of what may be negative" if peak.indefinite else "in the space of X alone"
        return NONE, f"V is singular {where}: ℓ has a limit there"
    if (
        peak.unbounded
        or peak.far
        or (claim is not None and (fit.convergence.unidentified or "without end" in fit.convergence.reason))
    ):
        return NONE, claim[1] if claim else ""
    return MISSED, ""


def _word(fit: Fit) -> str:
    return "converged" if fit.converged else "not converged"


def allowance(oracle: Oracle, fit: Fit) -> float:
    """What rounding may make of ℓ: more where V is nearly singular."""
    smallest = max(oracle.smallest_eigenvalue(np.asarray(fit.theta, float)), 1e-15)
    return float((AGREED + 1e-14 / smallest) * (1.0 + abs(fit.loglik)))
