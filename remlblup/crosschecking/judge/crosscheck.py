"""`crosscheck`: what another program found, judged by our likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.cached import cached_property
from remlblup.crosschecking.judge.agreement import agreement
from remlblup.crosschecking.judge.constants import Constant, constant
from remlblup.crosschecking.judge.coordinates import coordinates
from remlblup.crosschecking.judge.evaluation import Evaluation, evaluate, model_of, of_fit
from remlblup.crosschecking.judge.matching import Matched, candidates
from remlblup.crosschecking.judge.page import Page, html_body, text, write
from remlblup.crosschecking.judge.pairs import room_for_pairs, small, try_pairs
from remlblup.crosschecking.judge.reasons import try_reasons
from remlblup.crosschecking.judge.rotation import turned
from remlblup.crosschecking.judge.tried import reasons_table
from remlblup.crosschecking.judge.variant import Ours
from remlblup.crosschecking.judge.verdict import LEAST, Found, verdict
from remlblup.crosschecking.readers.live import is_statsmodels, read_statsmodels
from remlblup.crosschecking.readers.read import read_results
from remlblup.crosschecking.results import COMPONENTS, FIXED, Results, component, effects_of, table
from remlblup.errors import OptionError, check_switch
from remlblup.fit.tables.shown import shown
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import all_within_memory, within_memory
from remlblup.model.frame import to_pandas
from remlblup.readers.tables import is_path
from remlblup.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@known_arguments
@within_memory
def crosscheck(
    fit: Fit,
    other: Any,
    *,
    match: Mapping[str, str] | None = None,
    data: Any = None,
    reasons: bool = True,
    pairs: bool | None = None,
) -> CrossCheck:
    """Judge the results of another program: who is right, and by how much.

    Their components are put into our likelihood. If they are not ours, dull reasons are tried, each as a model that is
    fitted: a reason is named only if its numbers are theirs to the digits printed (or .005 standard errors), and ours
    are not.

    Parameters
    ----------
    fit : ours
    other : `Results`, the name of a file or several for `read_results`, a statsmodels ``MixedLMResults``, or another
        `Fit`
    match : their term → ours, where names do not say it
    data : all of the data, with rows that our model left out because something is missing: they may not have been
    reasons : whether to try the dull reasons where they differ
    pairs : whether to try two of them at once where no single one gives their numbers; None: in models of at most
        3,000 records and random effects

    Returns
    -------
    CrossCheck : ``verdict``, ``table``, ``evaluation``, ``reasons``, ``plot()``, ``report(path)``

    Raises
    ------
    ReaderError
        If the file cannot be read.
    OptionError
        If `other` is nothing that can be compared.

    Examples
    --------
    >>> ml = model.fit("ML")
    >>> rb.crosscheck(fit, ml).reason
    'ML in place of REML'
    >>> check = rb.crosscheck(fit, "airemlf90.log")  # doctest: +SKIP
    """
    if not isinstance(fit, Fit):
        raise OptionError(f"fit= must be a fit of remlblup, not {type(fit).__name__}: give the other program second.")
    check_switch("reasons", reasons)
    if pairs is not None:
        check_switch("pairs", pairs)
    results = as_results(other)
    whole = None if data is None else to_pandas(data)
    laid = candidates(fit.specification, results.components, match)
    ways = [turned(fit.specification.parameters, way, fit.theta) for way in laid]
    theirs, at_theirs, why = _best(fit, ways, results)
    ours = of_fit(fit)
    found = Found(fit, results, theirs, ours, at_theirs, why, None)
    between: Constant | None = None
    if results.loglik is not None and at_theirs is not None:
        allowed = 2.0 * results.loglik_rounding + found.rounding + LEAST
        at = at_theirs.loglik if results.method in (None, fit.method, "posterior means") else _by(fit, theirs, results)
        between = constant(fit, results, at, allowed)
    found = Found(fit, results, theirs, ours, at_theirs, why, between)
    if reasons and len(results.components):
        found = _with_reasons(found, whole, pairs)
    return CrossCheck(found)


def _with_reasons(found: Found, whole: pd.DataFrame | None, pairs: bool | None) -> Found:
    """What has been found, with the dull reasons; two at once only where none alone gives their numbers."""
    fit, theirs = found.fit, found.theirs
    if found.same_estimates:
        loglik = np.nan if found.at_theirs is None else found.at_theirs.loglik
        return replace(found, coordinates=tuple(coordinates(fit, theirs, found.results, loglik)))
    tried, singles = try_reasons(fit, theirs, found.results, whole)
    found = replace(found, tried=tuple(tried))
    if found.named is not None or pairs is False or room_for_pairs(fit, theirs):
        return found
    if pairs is None and not small(fit):
        return replace(found, untried="Two reasons at once were not tried, the model is large: pairs=True tries them.")
    both = try_pairs(fit, theirs, singles, Ours.of(fit.specification, fit.method, whole))
    return replace(found, tried=(*tried, *both))


def _by(fit: Fit, theirs: Matched, results: Results) -> float:
    """ℓ at theirs by their method, where it is not ours."""
    value = evaluate(model_of(fit), theirs.theta, str(results.method))
    return value.loglik if isinstance(value, Evaluation) else np.nan


def as_results(other: Any) -> Results:
    """What is to be compared, as plain data."""
    if isinstance(other, Results):
        return other
    if is_path(other) or (isinstance(other, (list, tuple)) and other and all(map(is_path, other))):
        return read_results(other)
    if isinstance(other, Fit):
        return of_another_fit(other)
    if is_statsmodels(other):
        return read_statsmodels(other)
    raise OptionError(
        f"other= takes Results, the name of a file, or a MixedLMResults of statsmodels, not {type(other).__name__}."
    )


def of_another_fit(fit: Fit) -> Results:
    """A fit of ours as if another program had made it."""
    error = np.sqrt(np.maximum(np.diag(fit.variance_covariance), 0.0))
    rows = []
    for (term, name), value, e in zip(fit.specification.parameters.pairs, fit.theta, error, strict=True):
        kind, effects = effects_of(name)
        other = effects[1] if len(effects) > 1 else ""
        rows.append(component(term, value, 1e-12 * abs(value), e, kind=kind, effect=effects[0], other=other))
    fixed = fit.fixed_effects
    own = zip(fixed.index, fixed["estimate"], fixed["std_error"], 1e-12 * fixed["estimate"].abs(), strict=True)
    return Results(
        "another fit", method=fit.method, components=table(rows, COMPONENTS), fixed_effects=table(own, FIXED),
        loglik=fit.loglik, loglik_rounding=1e-9, history=fit.history, n_obs=fit.n_obs,
    )  # fmt: skip


def _best(fit: Fit, ways: list[Matched], results: Results) -> tuple[Matched, Evaluation | None, str]:
    """The pairing of terms under which theirs are most likely, with ℓ there."""
    model = model_of(fit)
    judged: list[tuple[Matched, Evaluation | None, str]] = []
    for way in ways:
        if not len(results.components) or not way.complete:
            judged.append((way, None, "not every component is there"))
            continue
        value = evaluate(model, way.theta, fit.method)
        judged.append((way, value, "") if isinstance(value, Evaluation) else (way, None, value))
    return max(judged, key=lambda one: -np.inf if one[1] is None else one[1].loglik)


@all_within_memory
class CrossCheck:
    """What `crosscheck` found.

    Attributes
    ----------
    fit : ours
    other : theirs, as read
    verdict : who is right, in words
    """

    def __init__(self, found: Found):
        self._found = found
        self.fit, self.other = found.fit, found.results
        self.verdict: str = verdict(found)

    def __repr__(self) -> str:
        return f"<crosscheck with {self.other.program}: {self.verdict}>"

    def __str__(self) -> str:
        return text(self._page)

    def _repr_html_(self) -> str:
        return html_body(self._page, plot=False)

    @property
    def _page(self) -> Page:
        """What is printed: tables without rows are not."""
        tables = {
            "Every quantity side by side": self.table,
            "Our likelihood at both": self.evaluation,
            "Reasons tried": self.reasons,
        }
        filled = {heading: pd.DataFrame(table) for heading, table in tables.items() if len(table)}
        return Page(self._found, self.verdict, self._likelihoods(), filled)

    @property
    def reason(self) -> str | None:
        """The dull reason that is named; None where there is none."""
        return None if self._found.named is None else self._found.named.reason

    @cached_property
    def table(self) -> pd.DataFrame:
        """quantity, name, ours, theirs, difference, digits, in_std_errors (of ours), agrees, note."""
        f = self._found
        return shown(agreement(f.fit, f.theirs, f.results, f.at_theirs, f.constant))

    @cached_property
    def evaluation(self) -> pd.DataFrame:
        """A row per parameter: ours, theirs, our score at both, in ℓ per unit and over its standard error.

        ``attrs``: loglik_ours, loglik_theirs, shortfall, expected_gain (of a Newton step from theirs), rounding (what
        the digits printed may cost), is_maximum, constant (theirs as printed less ours, there), constant_words.
        """
        f = self._found
        size = len(f.fit.theta)
        there = f.at_theirs
        missing = np.full(size, np.nan)
        out = pd.DataFrame(
            {
                "parameter": list(f.fit.specification.parameters.columns),
                "ours": f.fit.theta,
                "theirs": f.theirs.theta,
                "score_at_ours": f.ours.score,
                "score_at_theirs": missing if there is None else there.score,
                "score_in_std_errors": missing if there is None else there.in_std_errors,
                "on_boundary": [False] * size if there is None else there.at_bound,
            }
        )
        gain = np.nan if there is None else there.expected_gain
        out.attrs.update(
            loglik_ours=f.ours.loglik,
            loglik_theirs=np.nan if there is None else there.loglik,
            shortfall=f.shortfall,
            expected_gain=gain,
            rounding=f.rounding,
            is_maximum=bool(gain <= max(f.rounding, LEAST)),
            constant=np.nan if f.constant is None else f.constant.value,
            constant_words="" if f.constant is None else f.constant.words,
        )
        return shown(out, self._likelihoods())

    def _likelihoods(self) -> str:
        """Both log-likelihoods in words."""
        f = self._found
        if f.at_theirs is None:
            return f"Log-likelihood at ours {f.ours.loglik:.6f}; at theirs: {f.no_value}"
        said = f"Log-likelihood at ours {f.ours.loglik:.6f}, at theirs {f.at_theirs.loglik:.6f}"
        if f.constant is not None:
            what = f.constant.words or "no constant that is known"
            said += f"; theirs as printed differs from ours there by {f.constant.value:+.6g} ({what})"
        return f"{said}."

    @cached_property
    def reasons(self) -> pd.DataFrame:
        """A row per dull reason tried, the nearest first: reason, detail, agrees, distance, loglik, its numbers.

        ``distance`` is the largest difference from theirs over what is allowed: 1 or less is agreement. ``loglik`` is
        the maximum of the reason's own model; of other records or relationships it cannot be compared with ours. Two
        reasons at once follow only where none alone agrees. Where they agree there are only those that leave the
        model as it is: loadings rotated, aliasing of fixed effects.
        """
        tried = [*self._found.tried, *self._found.coordinates]
        return shown(reasons_table(tried, self.fit.specification.parameters.columns))

    @property
    def histories(self) -> list[pd.DataFrame]:
        """Their iterations for ``fit.plot_convergence(compare=…)``; none where they are not printed."""
        return [] if self.other.history is None else [self.other.history]

    def plot(self, ax: Any = None) -> Axes:
        """Their components in standard errors from ours, and where each reason tried would put them."""
        from remlblup.crosschecking.judge.figure import plot_crosscheck

        return plot_crosscheck(self._found, self.verdict, ax)

    def report(self, path: str | Path) -> Path:
        """Write verdict, tables and plot: ``.html`` as one page with the figure in it, any other name as text.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        return write(self._page, path)
