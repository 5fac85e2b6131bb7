"""Two estimates judged by one likelihood: ours. Who is nearer to the optimum, and does that explain the difference?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.validation.compare import STANDING, Comparison, Verdict, digits_agreed

if TYPE_CHECKING:
    from remlblup import Fit, MixedModel

#: A log-likelihood this much higher is higher, and not rounding.
VISIBLE = 1e-8
#: (θ̂ − θ̃)'I(θ̂ − θ̃) is 2Δℓ on a quadratic; average and observed information differ, so this much more is allowed.
SLACK = 4.0


@dataclass(frozen=True)
class Standing:
    """Both estimates of the variance components at one likelihood.

    Attributes
    ----------
    ours, theirs : our log-likelihood at our estimates and at theirs
    distance : (θ̂ − θ̃)'I(θ̂ − θ̃) over the free components, I the average information at ours
    reported : the log-likelihood they report at their estimates, None if they do not
    trusted : whether one is reported and is ours at their estimates, so that the likelihoods are the same
    """

    ours: float
    theirs: float
    distance: float
    reported: float | None = None
    trusted: bool = False

    @property
    def gain(self) -> float:
        """Δℓ = ℓ(ours) − ℓ(theirs)."""
        return self.ours - self.theirs

    @property
    def theirs_is_better(self) -> bool:
        """Their estimates have the higher likelihood: ours is not the optimum. (NaN counts as that.)"""
        return not self.gain >= -VISIBLE

    @property
    def theirs_stops_short(self) -> bool:
        """Ours is visibly higher, the likelihoods are the same, and 2Δℓ accounts for the whole difference."""
        return self.gain > VISIBLE and self.trusted and self.distance <= SLACK * 2.0 * self.gain

    def comparison(self, case: str) -> Comparison:
        """The line of the table: ℓ at ours and at theirs, a failure where theirs is higher."""
        if self.theirs_is_better:
            verdict, note = Verdict.FAIL, "their estimates have the higher likelihood: ours is not the optimum"
        elif self.theirs_stops_short:
            verdict, note = Verdict.SHORT, f"ours gains {self.gain:.3g} in log-likelihood"
        else:
            verdict, note = Verdict.OK, ""
        digits = digits_agreed(self.ours, self.theirs)
        return Comparison(case, STANDING, self.ours, self.theirs, self.gain, digits, np.nan, verdict, note=note)


def standing(model: MixedModel, fit: Fit, components: pd.Series, reported: float | None, required: float) -> Standing:
    """Evaluate both estimates at our likelihood.

    Parameters
    ----------
    model, fit : ours
    components : Series
        Their estimates, indexed by (term, parameter) of `fit.variance_components`; all of them.
    reported : float or None
        The log-likelihood they print for these, in our convention.
    required : float
        Digits to which it must be ours at their estimates.
    """
    at_theirs = model.loglik(variances_of(components), method=fit.method)
    table = fit.variance_components
    keys = pd.MultiIndex.from_frame(table[["term", "parameter"]])
    d = table["estimate"].to_numpy() - components.reindex(keys).to_numpy(dtype=float)
    free = (table["status"] == "free").to_numpy()
    covariance = fit.variance_covariance[np.ix_(free, free)]
    distance = float(d[free] @ np.linalg.pinv(covariance, hermitian=True) @ d[free]) if free.any() else 0.0
    trusted = reported is not None and digits_agreed(at_theirs, reported) >= required
    return Standing(fit.loglik, at_theirs, distance, reported, trusted)


def variances_of(components: pd.Series) -> dict[str, dict[str, float]]:
    """The mapping that `MixedModel.loglik` and `solve` take."""
    out: dict[str, dict[str, float]] = {}
    for (term, parameter), value in components.items():
        out.setdefault(term, {})[parameter] = float(value)
    return out
