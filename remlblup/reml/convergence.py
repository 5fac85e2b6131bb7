"""The verdict: what "converged" means, criterion by criterion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import ConvergenceWarning, warn

# Score at a boundary, in standard errors, above which ℓ rises from it.
INWARD = 1e-6
# A step that would move θ by less than this share of `tolerance`, in standard errors, is told by the quadratic model
# to more digits than by ℓ at its end, and is not taken.
SETTLED = 1e-3
# Names in a reason.
MOST = 12
# Such a step, in words.
NEXT = "the step that would follow"


@dataclass(frozen=True)
class Criterion:
    """One condition of convergence: `value` must not exceed `limit`."""

    name: str
    value: float
    limit: float
    meaning: str

    @cached_property
    def passed(self) -> bool:
        return bool(self.value <= self.limit)  # NaN does not pass


@dataclass(frozen=True)
class Trial:
    """Another start, and where the search from there ended.

    Attributes
    ----------
    number : 2 for the second start
    start, theta : (n_parameters,) where it began and ended
    first, loglik : ℓ there
    ended : "higher" than all before it, "the same maximum" as the highest, "lower", or why there was no end
    """

    number: int
    start: Array
    first: float
    theta: Array
    loglik: float
    iterations: int
    ended: str


@dataclass(frozen=True)
class Convergence:
    """The verdict on a fit: converged only if every criterion passes and nothing speaks against it.

    Attributes
    ----------
    criteria : Δℓ, relative Δθ, gradient, Newton decrement, sign of the score at each boundary
    reason : in words, why the fit stopped; likely causes where it did not converge
    boundary : components held on the boundary of the parameter space
    unidentified : components the data cannot tell apart (singular average information)
    collapsed : whether the residual variance went to zero
    iterations : number of iterations
    trials : other starts that were tried
    interrupted : whether the search was stopped before its end, by Ctrl-C
    """

    criteria: tuple[Criterion, ...]
    reason: str
    boundary: tuple[str, ...]
    unidentified: tuple[str, ...]
    iterations: int
    collapsed: bool = False
    trials: tuple[Trial, ...] = ()
    interrupted: bool = False

    @property
    def status(self) -> str:
        """ "converged", "not converged" or "interrupted"."""
        return "interrupted" if self.interrupted else "converged" if self.converged else "not converged"

    @cached_property
    def converged(self) -> bool:
        return (
            bool(self.criteria)
            and not self.interrupted
            and all(c.passed for c in self.criteria)
            and not self.unidentified
            and not self.collapsed
        )

    @property
    def table(self) -> pd.DataFrame:
        """criterion, value, limit, passed, meaning."""
        return pd.DataFrame(
            [(c.name, c.value, c.limit, c.passed, c.meaning) for c in self.criteria],
            columns=["criterion", "value", "limit", "passed", "meaning"],
        )

    def __bool__(self) -> bool:
        return self.converged

    def __str__(self) -> str:
        word = self.status if self.converged else self.status.upper()
        times = "1 iteration" if self.iterations == 1 else f"{self.iterations} iterations"
        return f"{word} after {times}: {self.reason}"


def say_unconverged(convergence: Convergence) -> None:
    """Warn of estimates that are not those of a maximum."""
    if not convergence.converged:
        warn(
            f"{convergence} Estimates, standard errors and p values are those of the last iterate.", ConvergenceWarning
        )


def following(decrement: float) -> tuple[float, float]:
    """|Δℓ| and the relative |Δθ| of the step that would follow, by the quadratic model."""
    return 0.5 * decrement, sqrt(decrement)


def criteria(
    delta: float,
    change: float,
    gradient: float,
    decrement: float,
    inward: float,
    tolerance: float,
    step: str = "the last step",
) -> tuple[Criterion, ...]:
    """The five criteria at an iterate; all values are free of the units of y.

    Parameters
    ----------
    delta : |Δℓ| of a step, the last one or that which would follow
    change : largest |Δθ_i| of it over max(|θ_i|, its standard error)
    gradient : largest |∂ℓ/∂θ_i| × standard error, over the free parameters
    decrement : Newton decrement g'H⁻¹g, twice the gain another step would bring
    inward : largest score × standard error that points from a boundary into the parameter space
    tolerance : limit of the gradient, from which the others follow
    step : which step, in words
    """
    return (
        Criterion("log-likelihood change", delta, 1e-6, f"|Δℓ| of {step}"),
        Criterion("parameter change", change, max(1e-5, tolerance), f"largest relative |Δθ| of {step}"),
        Criterion("gradient", gradient, tolerance, "largest |score| in standard errors, free parameters"),
        Criterion("Newton decrement", decrement, tolerance, "g'H⁻¹g, twice the gain still expected"),
        Criterion("boundary score", inward, INWARD, "largest score pointing inward from a boundary"),
    )


def has_trend(added: str, failed: Sequence[str]) -> str:
    """The reason where a field with a correlation of 1 stands for a trend, and what to add to the fixed part."""
    text = (
        "the correlations of the field go to 1 and its variance without end: that is a trend, and the likelihood has no"
        f" maximum. Add it to the fixed part, '+ {added}'; where that leaves no correlation, write residual='units'."
    )
    return f"{text} Not met: {', '.join(failed)}." if failed else text


def not_told_apart(unidentified: Sequence[str], by_design: bool) -> str:
    """The reason where the data do not determine some components, and what to do about it."""
    if len(unidentified) > 1:
        if len(unidentified) > MOST:  # R is not what is left out
            unidentified = sorted(unidentified, key=lambda name: not name.startswith("residual"))
        return (
            "the data cannot tell these components apart: " + listed(unidentified) + "."
            " Remove one of them, or hold one with fix=."
        )
    if by_design:
        return f"the data cannot tell '{unidentified[0]}' from the fixed effects. Remove it from one of the two parts."
    return (
        f"the data say nothing about '{unidentified[0]}': the likelihood is flat in it, as for the covariance"
        " of two effects that no level has both of. Hold it with fix=, or choose a structure without it."
    )


def explain(
    passed: bool,
    unidentified: Sequence[str],
    stopped: str,
    failed: Sequence[str],
    by_design: bool = False,
    names: Sequence[str] = (),
    trend: str = "",
    alike: Sequence[str] = (),
    covariates: bool = True,
) -> str:
    """The verdict's reason in words; `names` of what went to zero, where that is not all of R; terms whose effects are
    `alike`; whether the model has `covariates`."""
    if trend:
        return has_trend(trend, failed)
    if alike:
        return (
            f"over the records the effects of {listed(alike)} are the same to about nine digits, so that their"
            " covariance matrix is lost in rounding. Subtract a mean from the covariates, or take the difference of two"
            " that are alike in the place of one."
        )
    if unidentified:
        text = not_told_apart(unidentified, by_design)
        # Where the search has not come to rest either, the likelihood may be flat there and not at its maximum.
        return f"{text} Not met: {', '.join(failed)}." if failed and not by_design else text
    if passed and stopped != "collapse":
        return "all criteria met."
    text = {
        "iterations": "max_iterations was reached. Raise it, or start closer with start=.",
        "stall": "no step raised the log-likelihood any more although the criteria are not met."
        f" Check {'the scaling of covariates and ' if covariates else ''}whether a component is poorly determined.",
        "probes": "as many probes as are drawn leave a Monte Carlo error above a tenth of a standard error; the table"
        " has both. Give a number with probes=: a larger one, or this one if it is enough.",
        "memory": "there is no memory for more probes, and these leave a Monte Carlo error above a tenth of a standard"
        " error; the table has both. Give their number with probes= if it is enough, or free memory.",
        "singular": "a matrix of correlations became singular where its structure has no way to go on along the edge."
        " Write 'us' instead, which has, or a structure with fewer parameters ('fa', 'cs', 'ar1').",
        "edge": "a covariance matrix held in part by fix= is at the edge of positive semidefiniteness, where the"
        " remaining elements cannot be maximised reliably. Hold all of it, or none.",
        "rigid": "a correlation of the residual goes to its bound, where R is singular. Errors that move together are a"
        " random effect: write that part as a random term, such as (1 | subject), choose a simpler residual, or look"
        " for a trait that is a function of another.",
        "residual": "max_iterations was reached where the residual covariance matrix becomes singular. Raise it.",
        "collapse": f"these residual variances go to zero: {listed(names)}."
        if names
        else "the residual variance goes to zero: the random and fixed effects explain every record."
        " Check for a random term with one record per level.",
    }[stopped]
    return f"{text} Not met: {', '.join(failed)}." if failed else text


def listed(names: Sequence[str]) -> str:
    """Names for a sentence: at most `MOST`, and how many more."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
