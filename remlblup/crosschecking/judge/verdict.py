"""The verdict in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.crosschecking.judge.constants import Constant
from remlblup.crosschecking.judge.evaluation import Evaluation
from remlblup.crosschecking.judge.matching import Matched
from remlblup.crosschecking.judge.tolerance import distance
from remlblup.crosschecking.judge.tried import Tried
from remlblup.crosschecking.results import Results
from remlblup.errors import some
from remlblup.result import Fit

#: Differences of ℓ below this are rounding.
LEAST = 1e-5
#: Expected gain from which a point is no maximum.
NO_MAXIMUM = 1e-4


@dataclass(frozen=True)
class Found:
    """What the verdict rests on.

    Attributes
    ----------
    fit : ours
    results, theirs : as read, and laid on our parameters
    ours, at_theirs : ℓ at ours and at theirs; None with `no_value` in words
    constant : between the printed log-likelihoods
    tried : the dull reasons
    coordinates : where the components agree, reasons that leave the model as it is
    untried : in words, what was not tried
    """

    fit: Fit
    results: Results
    theirs: Matched
    ours: Evaluation
    at_theirs: Evaluation | None
    no_value: str
    constant: Constant | None
    tried: tuple[Tried, ...] = ()
    coordinates: tuple[Tried, ...] = ()
    untried: str = ""

    @property
    def same_estimates(self) -> bool:
        """Whether the components agree, to the digits printed or a share of a standard error."""
        error = np.sqrt(np.maximum(np.diag(self.fit.variance_covariance), 0.0))
        theirs = self.theirs
        return theirs.complete and distance(theirs.theta, self.fit.theta, theirs.unit, error) <= 1.0

    @property
    def shortfall(self) -> float:
        """ℓ at ours less ℓ at theirs."""
        return np.nan if self.at_theirs is None else self.ours.loglik - self.at_theirs.loglik

    @property
    def rounding(self) -> float:
        """What the rounding of their components may cost in ℓ."""
        unit = np.nan_to_num(self.theirs.unit)
        curved = 0.5 * float(unit @ np.abs(np.nan_to_num(self.ours.information)) @ unit)
        return curved + float(np.abs(np.nan_to_num(self.ours.score)) @ unit)

    @property
    def named(self) -> Tried | None:
        """The reason whose numbers are theirs; of several the nearest."""
        agreeing = [t for t in (self.coordinates if self.same_estimates else self.tried) if t.agrees]
        return min(agreeing, key=lambda t: t.distance) if agreeing else None


def verdict(found: Found) -> str:
    """Who is right, in a sentence or two."""
    about = _about(found)
    if not len(found.results.components):
        return f"{found.results.program} gives no components: only effects are compared.{about}"
    if not found.theirs.complete:
        return f"{_incomplete(found)}{about}"
    if found.same_estimates:
        return f"they agree{_how_far(found)}.{_in_other_coordinates(found)}{about}"
    if (reason := found.named) is not None:
        return f"theirs is another model: {reason.reason} ({reason.detail}).{_others(found, reason)}{about}"
    about += f" {found.untried}" if found.untried else ""
    if found.at_theirs is None:
        return f"theirs has no likelihood in our model: {found.no_value}{about}"
    gap, allowed = found.shortfall, found.rounding + LEAST
    if gap < -allowed:
        advice = "" if found.fit.converged else " Ours has not converged."
        return (
            f"ours is lower: the log-likelihood at their estimates is {-gap:.2g} higher than at ours.{advice}"
            f" fit.check_starts() tries other starts.{about}"
        )
    return f"{_below(found, gap, allowed)}{about}"


def _incomplete(found: Found) -> str:
    theirs = found.theirs
    columns = found.fit.specification.parameters.columns
    absent = [c for c, v in zip(columns, theirs.theta, strict=True) if np.isnan(v)]
    parts = []
    if absent:
        parts.append(f"theirs has no {some(absent)}")
    if theirs.extra:
        parts.append(f"ours has no {some(theirs.extra)}")
    if (reason := found.named) is not None:
        return f"theirs is another model: {reason.reason} ({reason.detail}); {', and '.join(parts)}."
    return f"theirs is another model: {', and '.join(parts)}. If a term only has another name, give match=."


def _how_far(found: Found) -> str:
    if found.at_theirs is None or not np.isfinite(found.shortfall):
        return " to the digits printed"
    return f": at their estimates the log-likelihood is within {max(abs(found.shortfall), 1e-9):.1g} of ours"


def _below(found: Found, gap: float, allowed: float) -> str:
    """Lower than ours, and no reason found: stopped short, another maximum, or unknown."""
    if gap <= allowed:
        return "they differ by less than the digits printed can tell: the log-likelihood at theirs is that of ours."
    assert found.at_theirs is not None
    amount = f"{gap:.2g}"
    if found.at_theirs.expected_gain < NO_MAXIMUM:
        return f"theirs is another maximum of the same likelihood, {amount} below ours."
    same = found.constant is not None and found.constant.words
    if same:
        return f"theirs stops {amount} below the maximum: it is the same likelihood ({same}), not at its top."
    steepest = int(np.argmax(np.abs(found.at_theirs.in_std_errors)))
    name = found.fit.specification.parameters.columns[steepest]
    score = found.at_theirs.in_std_errors[steepest]
    return (
        f"theirs stops {amount} below the maximum of our model (the score of '{name}' there is {score:.2g} standard"
        " errors): it has stopped short, or is a model that none of the reasons tried gives."
    )


def _in_other_coordinates(found: Found) -> str:
    """Reasons that leave the model as it is."""
    agreeing = [t for t in found.coordinates if t.agrees]
    return "".join(f" Theirs differs in its coordinates: {t.reason} ({t.detail})." for t in agreeing)


def _others(found: Found, reason: Tried) -> str:
    """Other reasons that give the same numbers."""
    also = [t for t in found.tried if t.agrees and t is not reason and t.reason != reason.reason]
    return "" if not also else f" So does: {'; '.join(f'{t.reason} ({t.detail})' for t in also)}."


def _about(found: Found) -> str:
    """Caveats: of the method, of the number of records, of what the program says itself."""
    said = [f"{found.results.program} says: {note}." for note in found.results.notes]
    if not found.fit.converged:
        said.append(f"Ours has not converged: {found.fit.convergence.reason}")
    method = found.results.method
    if method == "posterior means":
        said.append("Its values are posterior means, which are no maximum of a likelihood.")
    elif method is not None and method != found.fit.method:
        said.append(f"Theirs is by {method}, ours by {found.fit.method}.")
    n = found.results.n_obs
    if n is not None and n != found.fit.n_obs and n * max(len(found.fit.specification.responses), 1) != found.fit.n_obs:
        said.append(f"Theirs has {n:,} records, ours {found.fit.n_obs:,}.")
    if not found.theirs.by_name:
        pairs = ", ".join(f"{a} as {b}" for a, b in found.theirs.terms.items())
        said.append(f"Names did not say which term is which; taken were {pairs}.")
    return "".join(f" {sentence}" for sentence in said)
