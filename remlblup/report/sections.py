"""What a report says beside the summary: the columns of the data, intervals, tests, means, the ranking of BLUPs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.errors import (
    DataError,
    EstimabilityWarning,
    ModelError,
    OptionError,
    RemlBlupError,
    count,
    said_elsewhere,
)
from remlblup.fit.tables.effects import accuracy, records_by_level
from remlblup.model.grouping import UNITS
from remlblup.model.records import factors_of
from remlblup.report.summary import is_units
from remlblup.report.text import Table, aligned, fixed_point, p_value

if TYPE_CHECKING:
    from remlblup.diagnostics.methods import DiagnosticMethods
    from remlblup.fit.estimates import Estimates
    from remlblup.inference.component_methods import ComponentMethods
    from remlblup.model.design import RandomDesign
    from remlblup.plot.means import PlottedMeans

RANKED = 10  # levels at each end of a ranking
WHOLE = 24  # levels up to which all are ranked
EFFECTS = 6  # effects of one term that are ranked
PLAIN = (str, bool, int, float, np.bool_, np.integer, np.floating)
MEANS = 60  # means of one table that are printed
OUTLIERS = 5  # records that are listed
COLUMNS = 40  # columns of the data that are described


@dataclass(frozen=True)
class Outcome:
    """A table, or why there is none."""

    table: Table | None
    said: str = ""


def asked(make: Callable[[], Table]) -> Outcome:
    """What was asked for; where the data or the model do not give it, the reason in place of it."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", EstimabilityWarning)
            table = make()
    except RemlBlupError as error:
        return Outcome(None, str(error))
    return Outcome(table, " ".join(str(w.message) for w in caught if issubclass(w.category, EstimabilityWarning)))


# -- data and design -------------------------------------------------------------------------


def columns_table(fit: Estimates) -> Table | None:
    """Every column of the data that the model reads: what it holds and where it is missing."""
    spec = fit.specification
    if spec.records is None or spec.formula is None:
        return None
    frame, dropped = spec.records.original, spec.records.dropped
    names = {*factors_of(spec.formula, spec.residual_term)} - {UNITS, *spec.residual_term.numbers}
    rows = []
    for name in [c for c in spec.records.used if c in frame.columns][:COLUMNS]:
        missing = dropped.get(name, 0) + spec.records.cells.get(name, 0) + spec.records.unknown_parents.get(name, 0)
        rows.append((name, *described_column(frame[name], name in names), f"{missing:,}"))
    more = len(spec.records.used) - COLUMNS
    note = f"and {more:,} more columns" if more > 0 else ""
    return Table("Columns of the data", ("column", "holds", "missing"), tuple(rows), 2, note=note)


def described_column(values: pd.Series, is_factor: bool) -> tuple[str]:
    """Numbers of levels and of records in each, or mean and range."""
    known = values.dropna()
    if is_factor or known.dtype.kind not in "iufM":
        sizes = known.astype(object).map(str).value_counts()
        spread = f"{sizes.min():,} to {sizes.max():,}" if len(sizes) and sizes.min() < sizes.max() else ""
        each = spread or (f"{sizes.max():,}" if len(sizes) else "no")
        return (f"{count(len(sizes), 'level')} of {each} record{'' if each == '1' else 's'}",)
    if known.dtype.kind == "M":
        return (f"dates, {known.min()} to {known.max()}",)
    v = known.to_numpy(dtype=float)
    if not len(v):
        return ("nothing",)
    return (f"mean {v.mean():.6g}, s.d. {v.std(ddof=1) if len(v) > 1 else 0.0:.4g}, {v.min():.6g} to {v.max():.6g}",)


def terms_table(fit: Estimates) -> Table | None:
    """Every random term: its levels, those with records, and how many records they have."""
    rows = []
    for design in fit.specification.random:
        if is_units(design):
            continue
        records = records_by_level(design)
        seen = records[records > 0]
        each = [f"{v:g}" for v in (seen.min(), np.median(seen), seen.max())] if len(seen) else ["0"] * 3
        relationship = "independent" if design.is_identity else related(design)
        sizes = (f"{design.t:,}", f"{design.q:,}", f"{len(seen):,}")
        rows.append((design.name, relationship, *sizes, " / ".join(each)))
    if not rows:
        return None
    header = ("term", "relationship", "effects", "levels", "with records", "records per level")
    note = "records per level: fewest, median and most, of the levels with records"
    return Table("Random terms", header, tuple(rows), 2, note=note)


def related(design: RandomDesign) -> str:
    given = design.term.group.related if design.term is not None else None
    text = given or "given matrix"
    return f"{text}; {design.relationship.note}" if design.relationship.note else text


# -- components ------------------------------------------------------------------------------


def intervals_table(fit: ComponentMethods, method: str, functions: Sequence[str] = ()) -> Table:
    """Intervals of every component, and of functions of them."""
    table = fit.intervals(method, functions=list(functions))
    estimate, error, lower, upper = aligned(table["estimate"], table["std_error"], table["lower"], table["upper"])
    words = (table[c].astype(str) for c in ("term", "parameter", "status"))
    rows = [(t, p, *numbers, s) for t, p, s, *numbers in zip(*words, estimate, error, lower, upper, strict=True)]
    note = {
        "log": "by standard errors, of variances on the scale of their logarithm; none on a boundary",
        "wald": "estimate ± 1.96 standard errors, cut at the bounds; none on a boundary",
        "profile": "by the profile likelihood",
        "bootstrap": "quantiles of replicates drawn from the fitted model",
    }[method]
    header = ("term", "parameter", "estimate", "s.e.", "lower 95 %", "upper 95 %", "status")
    return Table("Intervals of the components", header, tuple(rows), 2, ("status",), note)


# -- fixed effects ---------------------------------------------------------------------------


def tests_table(fit: ComponentMethods) -> Table:
    """F tests of the terms of the fixed formula."""
    table = fit.wald_tests()
    columns = (
        map(str, table.index),
        (fixed_point(v, 3) for v in table["F"]),
        (f"{v:g}" for v in table["num_df"]),
        (fixed_point(v, 1) for v in table["den_df"]),
        (p_value(v) for v in table["p_value"]),
    )
    rows = tuple(zip(*columns, strict=True))
    return Table("F tests of the terms", ("term", "F", "num. df", "den. df", "p"), rows, note=str(table.note))


def arguments_of_means(means: object) -> list[dict[str, Any]]:
    """``means=`` as arguments of `marginal_means`: "a", "a:b", ("a", "b"), or a mapping of arguments.

    Raises
    ------
    OptionError
        If it is none of these.
    """
    if isinstance(means, str | Mapping):
        means = [means]
    if not isinstance(means, Sequence):
        raise OptionError(f"means= takes a list of factors such as ['variety', 'variety:nitro'], not {means!r}.")
    out: list[dict[str, Any]] = []
    for one in means:
        if isinstance(one, Mapping):
            out.append(dict(one))
        elif isinstance(one, str):
            out.append({"factors": one})
        elif isinstance(one, Sequence):
            out.append({"factors": list(one)})
        else:
            raise OptionError(f"means= takes names of factors or arguments of marginal_means, not {one!r}.")
    return out


def means_table(means: PlottedMeans) -> Table:
    """Means with their intervals."""
    full = means.table
    table = full.head(MEANS)
    mean, error, lower, upper = aligned(table["mean"], table["std_error"], table["lower"], table["upper"])
    df = [fixed_point(v, 1) for v in table["df"]]
    levels = [[str(v) for v in full.index.get_level_values(k)[:MEANS]] for k in range(full.index.nlevels)]
    names = [str(name) for name in full.index.names]
    more = f"… and {len(full) - MEANS:,} more means. " if len(full) > MEANS else ""
    over = [str(v) for v in full.attrs["averaged_over"]]
    held = ", ".join(f"{name} = {value}" for name, value in full.attrs["at"].items())
    note = more + (f"averaged over {', '.join(over)}" if over else "") + (f"; at {held}" if held else "")
    header = (*names, "mean", "s.e.", "df", "lower 95 %", "upper 95 %")
    rows = tuple(zip(*levels, mean, error, df, lower, upper, strict=True))
    return Table(f"Means of {', '.join(names)}", header, rows, len(names), note=note.strip("; "))


def means_to_dict(means: PlottedMeans) -> dict[str, Any]:
    """Means as plain types, a row each with its levels by factor; where there are none, why."""
    try:
        table = means.table
    except RemlBlupError as error:
        return {"said": str(error)}
    said = ("df_method", "weights", "averaged_over", "at")
    names = [str(name) for name in table.index.names]
    keys = table.index if table.index.nlevels > 1 else [(key,) for key in table.index]
    levels = [{n: v if isinstance(v, PLAIN) else str(v) for n, v in zip(names, key, strict=True)} for key in keys]
    rows = [{"levels": own, **row} for own, row in zip(levels, table.to_dict("records"), strict=True)]
    return {"factors": names, **{name: table.attrs[name] for name in said}, "means": rows}


# -- random effects --------------------------------------------------------------------------


def rankings(fit: Estimates) -> Iterator[Table]:
    """The BLUPs of every effect of every term in order: all of a few levels, both ends of many."""
    for design in fit.specification.random:
        if is_units(design):
            continue
        whole = accuracy(design, fit.random_effects)
        effects = [str(e) for e in design.structure.effects]
        for effect in effects[:EFFECTS]:
            own = whole[whole["effect"].astype(str) == effect].sort_values("estimate", ascending=False, kind="stable")
            left = len(effects) - EFFECTS
            note = f"the other {left:,} effects are in the table random_effects" if left > 0 else ""
            yield ranking(design, effect, own, note if effect == effects[:EFFECTS][-1] else "")


def ranking(design: RandomDesign, effect: str, own: pd.DataFrame, note: str) -> Table:
    """The levels of one effect, highest BLUP first."""
    n = len(own)
    places = np.arange(n) if n <= WHOLE else np.r_[:RANKED, n - RANKED : n]
    shown = own.iloc[places]
    estimate, error = aligned(shown["estimate"], np.sqrt(shown["pev"]))
    rows: list[tuple[str, ...]] = []
    columns = (shown.index, shown["reliability"], shown["records"], estimate, error)
    for place, level, reliability, records, value, se in zip(places, *columns, strict=True):
        if n > WHOLE and place == n - RANKED:
            rows.append((f"… {n - 2 * RANKED:,} more levels …",))
        rows.append((f"{place + 1:,}", str(level), value, se, fixed_point(reliability, 3), f"{records:,}"))
    title = design.name if effect == "Intercept" and design.t == 1 else f"{design.name}, {effect}"
    header = ("rank", "level", "BLUP", "s.e. (√PEV)", "reliability", "records")
    return Table(title, header, tuple(rows), 0, ("level",), note)


# -- residuals -------------------------------------------------------------------------------


def outliers_table(fit: DiagnosticMethods) -> Table:
    """The records that are furthest from what all the others say of them."""
    table = fit.outlier_test().head(OUTLIERS)
    residual, error = aligned(table["residual"], table["std_error"])
    rows = [
        (str(name), r, e, fixed_point(t, 2), p_value(p), p_value(a))
        for name, r, e, t, p, a in zip(
            table.index, residual, error, *(table[c] for c in ("statistic", "p_value", "p_adjusted")), strict=True
        )
    ]
    header = ("record", "residual", "s.e.", "t", "p", f"p of {fit.n_obs:,}")
    note = "against the prediction from all other records; the last column is adjusted for their number (Holm)"
    return Table("Records furthest from the others", header, tuple(rows), 1, note=note)


# -- what is not to be missed ----------------------------------------------------------------


@said_elsewhere(EstimabilityWarning)
def means_of(fit: Any, arguments: Mapping[str, Any]) -> PlottedMeans:
    """Means asked for; names that do not fit are told as those of ``means=``."""
    try:
        return fit.marginal_means(**{"nonestimable": "nan", **arguments})
    except (DataError, ModelError, OptionError) as error:
        said = str(error).removeprefix("factors=: ")
        raise type(error)(f"means={arguments.get('factors')!r}: {said}") from None
