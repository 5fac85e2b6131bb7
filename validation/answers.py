"""The answer of another program to a mixed model, and its comparison with ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.validation.compare import (
    COMPONENT_ERRORS,
    COMPONENTS,
    EFFECT_ERRORS,
    EFFECTS,
    FIXED,
    FIXED_ERRORS,
    LOGLIK,
    Comparison,
    Verdict,
    compare_number,
    compare_vector,
    failure,
)
from remlblup.validation.standing import Standing, standing, variances_of

if TYPE_CHECKING:
    from remlblup import Fit, MixedModel, Solved

_CODING = re.compile(r"\[(?:T\.)?(.*?)\]")


@dataclass(frozen=True)
class Digits:
    """Digits required of each kind of quantity."""

    loglik: float = 8.0
    components: float = 6.0
    component_errors: float = 6.0
    fixed: float = 6.0
    fixed_errors: float = 6.0
    effects: float = 6.0
    effect_errors: float = 6.0


@dataclass(frozen=True)
class Answer:
    """What the other program found; None or empty where it does not say.

    Attributes
    ----------
    source : the program; part of every line's name where a case has several
    components, component_errors : Series by (term, parameter) of our `variance_components`
    loglik : in our convention
    fixed, fixed_errors : Series by coefficient, in R's spelling (see `plain`)
    effects, effect_errors : (term, effect) → Series by level; of the errors, √PEV
    digits : required of each kind
    """

    source: str
    components: pd.Series
    component_errors: pd.Series | None = None
    loglik: float | None = None
    fixed: pd.Series | None = None
    fixed_errors: pd.Series | None = None
    effects: Mapping[tuple[str, str], pd.Series] = field(default_factory=dict)
    effect_errors: Mapping[tuple[str, str], pd.Series] = field(default_factory=dict)
    digits: Digits = field(default_factory=Digits)


def plain(name: str) -> str:
    """A coefficient's name without its coding and with the factors of a product in order.

    Examples
    --------
    >>> plain("Sex[T.Female]:age"), plain("age:SexFemale"), plain("(Intercept)")
    ('SexFemale:age', 'SexFemale:age', 'Intercept')
    """
    bare = _CODING.sub(r"\1", name.replace("(Intercept)", "Intercept"))
    return ":".join(sorted(bare.split(":")))


def component_keys(fit: Fit) -> dict[tuple[str, frozenset[str]], tuple[str, str]]:
    """Our (term, parameter) of each component, by its term and the plain names of its effects."""
    keys: dict[tuple[str, frozenset[str]], tuple[str, str]] = {}
    for term, parameter in zip(fit.variance_components["term"], fit.variance_components["parameter"], strict=True):
        keys[term, _effects_of(parameter)] = (term, parameter)
    return keys


def _effects_of(parameter: str) -> frozenset[str]:
    """The effects of ``var(x)`` or ``cov(x, y)``; an only variance is the intercept's,
    another parameter stays itself."""
    if parameter == "variance":
        return frozenset({"Intercept"})
    if not parameter.startswith(("var(", "cov(")):
        return frozenset({parameter})
    inner = parameter[4:-1]
    return frozenset(plain(p) for p in (inner.split(", ", 1) if parameter.startswith("cov(") else [inner]))


def compare_answer(case: str, model: MixedModel, fit: Fit, answer: Answer, label: str = "") -> list[Comparison]:
    """Every quantity of the answer beside ours.

    Where an estimate falls short of the digits required, both sets of variance components are put into our
    likelihood. Only if ours is visibly higher and the distance of the estimates is what that gain allows is the
    verdict "theirs stops short", and then their fixed and random effects are compared with ours *at their
    variances*, where they must agree. If theirs is the higher one, the case fails.

    Parameters
    ----------
    case : str
        Name of the case.
    model, fit : ours
    answer : theirs
    label : str
        Put before each quantity, where a case has several answers.
    """
    rows = [] if fit.converged else [failure(case, "convergence", 0.0, str(fit.convergence))]
    rows += _likelihood_rows(case, fit, answer) + _component_rows(case, fit, answer)
    at_ours = _effect_rows(case, fit, fit, answer)
    if answer.components.isna().any() or len(answer.components) < len(fit.variance_components):
        rows += at_ours
    else:
        judged = standing(model, fit, answer.components, answer.loglik, answer.digits.loglik)
        rows = [_excused(r, judged) for r in rows] + [_excused(r, judged) for r in at_ours]
        if judged.theirs_stops_short:
            there = model.solve(variances_of(answer.components), method=fit.method)
            rows += _effect_rows(case, fit, there, answer, " at theirs")
        rows += [*_own_likelihood_rows(case, judged, answer), judged.comparison(case)]
    return [_labelled(r, label, answer.source) for r in rows]


def _excused(row: Comparison, judged: Standing) -> Comparison:
    """A failure that is theirs: they stopped before the optimum."""
    if not row.failed or not np.isfinite(row.digits) or not judged.theirs_stops_short:
        return row
    return row.marked(Verdict.SHORT, f"our log-likelihood is {judged.gain:.3g} higher than at their estimates")


def _labelled(row: Comparison, label: str, source: str) -> Comparison:
    note = f"{source}: {row.note}" if row.note else source
    return replace(row, quantity=f"{label} {row.quantity}".strip(), note=note, program=source)


def _likelihood_rows(case: str, fit: Fit, answer: Answer) -> list[Comparison]:
    if answer.loglik is None:
        return []
    return [compare_number(case, "loglik", fit.loglik, answer.loglik, answer.digits.loglik, kind=LOGLIK)]


def _own_likelihood_rows(case: str, judged: Standing, answer: Answer) -> list[Comparison]:
    """Our likelihood at their estimates against the one they report for them."""
    if judged.reported is None:
        return []
    required = answer.digits.loglik
    return [compare_number(case, "loglik at theirs", judged.theirs, judged.reported, required, kind=LOGLIK)]


def _component_rows(case: str, fit: Fit, answer: Answer) -> list[Comparison]:
    """One line per component, relative to itself; on the boundary relative to the residual variance."""
    table = fit.variance_components.set_index(["term", "parameter"])
    several = table.groupby(level="term").size()
    rows = []
    for (term, parameter), value in answer.components.items():
        name = term if several.get(term, 1) == 1 else f"{term}: {parameter}"
        if (term, parameter) not in table.index:
            rows.append(failure(case, name, answer.digits.components, "ours has no such component"))
            continue
        mine = table.loc[(term, parameter)]
        scale = _residual_variance(fit) if mine["status"] == "boundary" else None
        required = answer.digits.components
        rows.append(compare_number(case, name, mine["estimate"], value, required, scale, kind=COMPONENTS))
    if answer.component_errors is not None:
        theirs = answer.component_errors.dropna()
        rows += [
            compare_number(
                case,
                f"s.e. of {term if several[term] == 1 else f'{term}: {parameter}'}",
                table.loc[(term, parameter), "std_error"],
                value,
                answer.digits.component_errors,
                kind=COMPONENT_ERRORS,
            )
            for (term, parameter), value in theirs.items()
        ]
    return rows


def _effect_rows(case: str, fit: Fit, solved: Solved, answer: Answer, where: str = "") -> list[Comparison]:
    """Fixed effects, BLUPs and their standard errors, as `solved` has them."""
    rows = []
    table = solved.fixed_effects.rename(index=plain)
    if answer.fixed is not None:
        theirs = answer.fixed.rename(plain)
        scale, required = _rounding_scale(table, theirs), answer.digits.fixed
        name = f"fixed effects{where}"
        rows.append(compare_vector(case, name, table["estimate"], theirs, required, scale, kind=FIXED))
    if answer.fixed_errors is not None:
        rows.append(
            compare_vector(
                case,
                f"s.e. of fixed effects{where}",
                table["std_error"],
                answer.fixed_errors.rename(plain),
                answer.digits.fixed_errors,
                kind=FIXED_ERRORS,
            )
        )
    rows += _random_rows(case, fit, solved, answer.effects, "estimate", f"BLUPs{where} of", answer.digits.effects)
    rows += _random_rows(
        case, fit, solved, answer.effect_errors, "std_error", f"√PEV{where} of", answer.digits.effect_errors
    )
    return rows


def _rounding_scale(table: pd.DataFrame, theirs: pd.Series) -> float | None:
    """The standard error, where both have nothing but rounding: effects that are zero by design."""
    largest = max(table["estimate"].abs().max(), theirs.abs().max())
    error = float(table["std_error"].max())
    return error if largest < 1e-12 * error else None


def _random_rows(
    case: str,
    fit: Fit,
    solved: Solved,
    theirs: Mapping[tuple[str, str], pd.Series],
    column: str,
    what: str,
    required: float,
) -> list[Comparison]:
    """One line per term and effect: the level that agrees worst."""
    if not theirs:
        return []
    table = solved.random_effects
    effect = table["effect"].map(plain)
    rows = []
    for (term, name), values in theirs.items():
        mine = table[(table["term"] == term) & (effect == name)]
        ours = pd.Series(mine[column].to_numpy(), index=mine["level"].astype(str))
        label = term if name == "Intercept" else f"{term}: {name}"
        scale = _zero_scale(fit, term)
        kind = EFFECTS if column == "estimate" else EFFECT_ERRORS
        rows.append(compare_vector(case, f"{what} {label}", ours, values, required, scale, kind=kind))
    return rows


def _zero_scale(fit: Fit, term: str) -> float | None:
    """The residual standard deviation, for the effects of a term whose variance is on the boundary."""
    table = fit.variance_components
    status = table.loc[table["term"] == term, "status"]
    return float(np.sqrt(_residual_variance(fit))) if (status == "boundary").any() else None


def _residual_variance(fit: Fit) -> float:
    """The residual variance; of several, the first."""
    table = fit.variance_components
    return float(table.loc[table["term"] == "residual", "estimate"].iloc[0])
