"""F tests by term, the table of fixed effects by other degrees of freedom, and tests of any Lβ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import DataError, ModelError, choose, some
from remlblup.fit.errors.directions import CHOICES, information_of
from remlblup.fit.errors.fixed import FixedErrors, in_reach, limit_in_words
from remlblup.fit.tables.shown import shown
from remlblup.inference.fixed.f_tests import METHODS, NAMES, FixedTests
from remlblup.inference.fixed.hypotheses import KINDS, Hypothesis, hypotheses
from remlblup.inference.fixed.terms import coding_in_words, fixed_terms, require_fixed

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

TYPES = {"incremental": "type I", "conditional": "type II", "marginal": "type III"}
# Terms whose conditions are told above the table.
TOLD = 6


def tests_of(fit: Estimates, df: str, information: str, what: str) -> FixedTests:
    """What tests of the fixed effects of a fit are made from, computed once for each way."""
    choose("df", df, METHODS)
    choose("information", information, CHOICES)
    require_fixed(fit.specification, what)
    kept: dict[tuple[str, str], FixedTests] = fit.__dict__.setdefault("_tests", {})
    if (df, information) not in kept:
        kept[df, information] = _tests(fit, df, information)
    return kept[df, information]


def _tests(fit: Estimates, df: str, information: str) -> FixedTests:
    optimum = fit._optimum.precise
    searched = optimum.searched
    residual = float(fit.df_residual)
    if df == "residual" or not in_reach(searched):
        said = f"Degrees of freedom: {NAMES['residual']}"
        if df != "residual":
            said += f"; {limit_in_words(searched)}"
        return FixedTests(fit.beta, fit.beta_covariance, None, "residual", residual, said + ".")
    kept: dict[str, FixedErrors] = fit.__dict__.setdefault("_fixed_errors", {})
    if information not in kept:
        own = fit._precise_information
        known = information_of(optimum, fit.options.ml, fit.options.constrain, own, information)
        kept[information] = FixedErrors(searched, optimum.point.score.solution, known)
    errors = kept[information]
    if all(status == "fixed" for status in fit.status):
        said = "Degrees of freedom: infinite, for all variances are held by fix=: F times its df is a chi-square."
        return FixedTests(fit.beta, errors.covariance, errors, df, residual, said)
    said = f"Degrees of freedom: {NAMES[df]}, {information} information"
    if df == "kenward-roger":
        said += ", standard errors adjusted"
        if fit.options.ml:
            said += " (the adjustment is derived for REML; this is an ML fit)"
    return FixedTests(fit.beta, errors.covariance, errors, df, residual, said + ".")


# -- by term -------------------------------------------------------------------------------------


def wald_tests(fit: Estimates, kind: str, df: str, information: str) -> pd.DataFrame:
    """See `InferenceMethods.wald_tests`."""
    choose("kind", kind, KINDS)
    tests = tests_of(fit, df, information, "F tests")
    spec = fit.specification
    terms = fixed_terms(spec)
    tested = hypotheses(spec, terms, kind)
    rows = [tests.joint(h.L) if len(h.L) else None for h in tested]
    table = pd.DataFrame(
        {
            "F": [np.nan if r is None else r.F for r in rows],
            "num_df": [0 if r is None else r.num_df for r in rows],
            "den_df": [np.nan if r is None else r.den_df for r in rows],
            "p_value": [np.nan if r is None else r.p_value for r in rows],
        },
        index=pd.Index([h.term.name for h in tested], name="term"),
    )
    table.attrs.update(
        kind=kind,
        df_method=tests.method,
        information=None if tests.errors is None else information,
        conditioned_on={h.term.name: list(h.given) for h in tested},
        not_adjusted_for={h.term.name: list(h.beside) for h in tested if h.beside},
    )
    return shown(table, "\n".join(filter(None, [fit._note, *told(spec, tested, kind), tests.said])))


def told(spec: Any, tested: list[Hypothesis], kind: str) -> list[str]:
    """What the hypotheses are, in words."""
    heading = f"{kind.capitalize()} F tests ({TYPES[kind]})"
    if kind == "incremental":
        lines = [f"{heading}: each term adjusted for those above it."]
    elif kind == "marginal":
        coding = coding_in_words(spec)
        lines = [
            f"{heading}: each term adjusted for all others, over unweighted means of the cells, whatever the coding"
            f"{f' (here {coding})' if coding else ''}."
        ]
    else:
        lines = [f"{heading}: each term adjusted for all others but those that contain it."]
        lines += [
            f"  {h.term.name}: given {', '.join(h.given) or 'nothing'}; not {', '.join(h.beside)}"
            for h in tested[:TOLD]
            if h.beside
        ]
    if empty := [h.term.name for h in tested if not len(h.L)]:
        lines.append(f"No degrees of freedom are left to {some(empty)}: their columns depend on those of other terms.")
    partly = [h.term.name for h in tested if 0 < len(h.term.columns) < len(h.term.all_columns)]
    if partly:
        lines.append(
            f"Fewer degrees of freedom than columns have {some(partly)}: some of them were set aside (aliased)."
        )
    return lines


# -- of coefficients -----------------------------------------------------------------------------


def estimates(tests: FixedTests, L: Array, index: pd.Index, rhs: Array | float = 0.0) -> pd.DataFrame:
    """estimate, std_error, df, t, p_value, lower, upper (95 %) of the rows of L."""
    from scipy import stats

    estimate, error, df = tests.rows(L)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (estimate - rhs) / error
        half = stats.t.ppf(0.975, df) * error
    table = pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": error,
            "df": df,
            "t": t,
            "p_value": 2.0 * stats.t.sf(np.abs(t), df),
            "lower": estimate - half,
            "upper": estimate + half,
        },
        index=index,
    )
    table.attrs["df_method"] = tests.method
    return table


def fixed_effects_table(fit: Estimates, df: str, information: str) -> pd.DataFrame:
    """See `InferenceMethods.fixed_effects_table`."""
    tests = tests_of(fit, df, information, "tables of them")
    names = pd.Index(fit.specification.fixed.names, name="coefficient")
    table = estimates(tests, np.eye(len(names)), names)
    return shown(table, "\n".join(filter(None, [fit._note, tests.said])))


@dataclass(frozen=True)
class LinearTest:
    """A test of Lβ = rhs.

    Attributes
    ----------
    table : a row per row of L: estimate, std_error, df, t, p_value, lower, upper (of Lβ)
    joint : F, num_df, den_df, p_value of all rows together
    L : (r, p) over the coefficients of `fixed_effects`
    """

    table: pd.DataFrame
    joint: pd.Series
    L: pd.DataFrame

    def __repr__(self) -> str:
        j = self.joint
        df = f"{j['den_df']:.4g}"
        return f"{self.table!r}\nF = {j['F']:.5g} on {int(j['num_df'])} and {df} df, p = {j['p_value']:.4g}"


def linear_test(fit: Estimates, L: Any, rhs: Any, df: str, information: str) -> LinearTest:
    """See `InferenceMethods.test`."""
    tests = tests_of(fit, df, information, "tests of them")
    names = fit.specification.fixed.names
    rows, labels = contrast_rows(L, names, fit.specification.fixed.aliased)
    values = right_hand_side(rhs, len(rows))
    table = estimates(tests, rows, pd.Index(labels, name="contrast"), values)
    joint = tests.joint(rows, values)
    series = pd.Series(
        {"F": joint.F, "num_df": joint.num_df, "den_df": joint.den_df, "p_value": joint.p_value}, name="joint"
    )
    note = "\n".join(filter(None, [fit._note, tests.said]))
    return LinearTest(shown(table, note), series, pd.DataFrame(rows, index=labels, columns=list(names)))


def contrast_rows(L: Any, names: tuple[str, ...], aliased: tuple[str, ...]) -> tuple[Array, list[str]]:
    """L (r, p) and names of its rows, of a matrix, a table with the coefficients as columns, or weights by name.

    Raises
    ------
    DataError, ModelError
        If it is none of these, its width is wrong, or a coefficient is unknown or was set aside.
    """
    if isinstance(L, str):
        L = {L: {L: 1.0}}
    if isinstance(L, pd.DataFrame):
        L = {str(i): {c: v for c, v in row.items() if v != 0.0} for i, row in L.iterrows()}
    if isinstance(L, Mapping):
        single = L and all(isinstance(v, Real) for v in L.values())
        rows = {" ".join(f"{_signed(w)}{c}" for c, w in L.items()).removeprefix("+"): L} if single else L
        return _rows_of_weights(rows, names, aliased), [str(k) for k in rows]
    try:
        out = np.atleast_2d(np.asarray(L, dtype=float))
    except (TypeError, ValueError):
        raise DataError(
            "L must be a matrix with a column per coefficient, or weights by name, {'B - C': {'x[B]': 1, 'x[C]': -1}}."
        ) from None
    if out.ndim != 2 or out.shape[1] != len(names) or not len(out):
        shown_names = some(names, 12)
        raise DataError(
            f"L has shape {out.shape}, but there are {len(names)} coefficients: "
            f"give it a column for each of {shown_names}."
        )
    if not np.all(np.isfinite(out)):
        raise DataError("L has missing or infinite values.")
    return out, [f"row {k + 1}" for k in range(len(out))]


def _signed(w: Any) -> str:
    return {1.0: "+", -1.0: "-"}.get(float(w), f"{float(w):+g}*")


def _rows_of_weights(rows: Mapping[Any, Any], names: tuple[str, ...], aliased: tuple[str, ...]) -> Array:
    if not rows:
        raise DataError("no contrast was given.")
    out = np.zeros((len(rows), len(names)))
    for row, (label, weights) in zip(out, rows.items(), strict=True):
        if not isinstance(weights, Mapping):
            raise DataError(f"the weights of '{label}' must be a mapping of coefficients, {{'x[B]': 1, 'x[C]': -1}}.")
        for name, weight in weights.items():
            if name in aliased:
                raise ModelError(
                    f"'{name}' was set aside because it depends on other columns of the fixed part: "
                    "it cannot be estimated."
                )
            if name not in names:
                raise DataError(f"'{name}' is not a coefficient. There are {some(names, 20)}.")
            if not isinstance(weight, Real) or not np.isfinite(float(weight)):
                raise DataError(f"the weight of '{name}' in '{label}' is not a number: {weight!r}.")
            row[names.index(name)] = float(weight)
    return out


def right_hand_side(rhs: Any, r: int) -> Array:
    """rhs (r,) of one number or one for each row."""
    try:
        values = np.asarray(rhs, dtype=float)
    except (TypeError, ValueError):
        raise DataError("rhs must be a number, or one for each row of L.") from None
    if values.ndim > 1 or values.size not in (1, r) or not np.all(np.isfinite(values)):
        raise DataError(
            f"rhs must be one finite number or {r} of them, one for each row of L; its shape is {values.shape}."
        )
    return np.broadcast_to(values.reshape(-1), (r,)).copy() if values.size == 1 else values
