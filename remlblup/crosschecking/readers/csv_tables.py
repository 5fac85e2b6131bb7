"""CSV of R's mixed models (`VarCorr`, `ranef`, broom.mixed), and the plain table that anyone can write."""

from __future__ import annotations

import csv

import numpy as np

from remlblup.crosschecking.readers.text import Lines, Number, is_number
from remlblup.crosschecking.results import (
    COMPONENTS,
    FIXED,
    RANDOM,
    Results,
    component,
    effects_of,
    of_deviations,
    table,
)

LME4 = r'^"?grp"?,"?var1"?,"?var2"?,"?vcov"?,"?sdcor"?'
RANEF = r'^"?grpvar"?,"?term"?,"?grp"?,"?condval"?,"?condsd"?'
BROOM = r'^"?effect"?,("?component"?,)?"?group"?,"?term"?,"?estimate"?'
PLAIN = r"(?i)^(?=.*\bestimate\b)(?=.*\b(term|quantity)\b)[^,\t;]*[,\t;]"
RESIDUAL = "Residual"
#: Words for R; where a table has another of them too, ``units`` is an independent part beside it.
RESIDUALS = ("residual", "residuals", "error", "units")
QUANTITIES = ("component", "fixed", "random", "loglik", "n_obs", "method", "program")


def rows_of(lines: Lines, head: int = 0) -> list[tuple[int, dict[str, str]]]:
    """Number of the line and its fields by the names of the first line; quotes may stand around them."""
    separator = max(",\t;", key=lines.lines[head].count)
    names = [n.strip().lower() for n in next(csv.reader([lines.take(head, "names")], delimiter=separator))]
    out = []
    for at in range(head + 1, len(lines)):
        text = lines.take(at, "a row")
        if not text.strip():
            continue
        if text.count('"') % 2:
            lines.fail(at, "quotes in pairs")
        fields = [f.strip() for f in next(csv.reader([text], delimiter=separator))]
        if len(fields) != len(names):
            lines.fail(at, f"{len(names)} fields, not {len(fields)}")
        out.append((at, dict(zip(names, fields, strict=True))))
    if not out:
        lines.fail(len(lines), "a row")
    return out


def column(lines: Lines, rows: list[tuple[int, dict[str, str]]], name: str) -> list[Number]:
    """A column of numbers; trailing zeros are not printed, so that the longest tells the rounding."""
    found = [lines.number(at, row[name], f"a number in column '{name}'") for at, row in rows]
    shortest = min((n.rounding for n in found), default=0.0)
    return [Number(n.value, max(shortest, 2.0e-15 * abs(n.value))) for n in found]


def read_varcorr(lines: Lines) -> Results:
    """``as.data.frame(VarCorr(fit))``."""
    rows = rows_of(lines)
    values = column(lines, rows, "vcov")
    out = []
    for (at, row), value in zip(rows, values, strict=True):
        pair = row["var2"] not in ("NA", "")
        if not is_number(row["sdcor"]):
            lines.fail(at, "a number in column 'sdcor'")
        if not pair and abs(float(row["sdcor"]) ** 2 - value.value) > 1e-6 * abs(value.value) + 2.0 * value.rounding:
            lines.fail(at, "a variance and its root")
        if row["grp"] == RESIDUAL:
            out.append(component("residual", value.value, value.rounding))
        else:
            kind = "covariance" if pair else "variance"
            other = row["var2"] if pair else ""
            out.append(component(row["grp"], value.value, value.rounding, kind=kind, effect=row["var1"], other=other))
    if out[-1][0] != "residual":
        lines.fail(len(lines), "a last row 'Residual'")
    return Results("lme4", None, lines.path, None, components=table(out, COMPONENTS))


def read_ranef(lines: Lines) -> Results:
    """``as.data.frame(ranef(fit))``: every effect of a factor has the same levels."""
    rows = rows_of(lines)
    out = []
    levels: dict[str, dict[str, list[str]]] = {}
    for (at, row), value in zip(rows, column(lines, rows, "condval"), strict=True):
        error = lines.number(at, row["condsd"], "a number in column 'condsd'").value
        levels.setdefault(row["grpvar"], {}).setdefault(row["term"], []).append(row["grp"])
        out.append((row["grpvar"], row["term"], row["grp"], value.value, error, value.rounding))
    for factor, by_effect in levels.items():
        if len({tuple(names) for names in by_effect.values()}) > 1:
            lines.fail(len(lines), f"the same levels of every effect of '{factor}'")
    return Results("lme4", None, lines.path, None, random_effects=table(out, RANDOM))


def read_broom(lines: Lines) -> Results:
    """``broom.mixed::tidy(fit)``: standard deviations and correlations, and the fixed effects."""
    rows = rows_of(lines)
    groups: dict[str, dict[str, tuple[int, Number]]] = {}
    fixed = []
    for (at, row), value in zip(rows, column(lines, rows, "estimate"), strict=True):
        if row["effect"] == "ran_pars":
            groups.setdefault(row["group"], {})[row["term"]] = (at, value)
        elif row["effect"] == "fixed":
            error = row.get("std.error", "NA")
            spread = float(error) if is_number(error) else np.nan
            fixed.append((row["term"], value.value, spread, value.rounding))
        else:
            lines.fail(at, "'fixed' or 'ran_pars'")
    if RESIDUAL not in groups:
        lines.fail(len(lines), "a row 'ran_pars' of 'Residual'")
    out: list[tuple] = []
    for group, found in groups.items():
        out += _broom_group(lines, "residual" if group == RESIDUAL else group, found)
    return Results("broom.mixed", None, lines.path, None, table(out, COMPONENTS), table(fixed, FIXED))


def _broom_group(lines: Lines, term: str, found: dict[str, tuple[int, Number]]) -> list[tuple]:
    at = next(iter(found.values()))[0]
    effects = [n.removeprefix("sd__") for n in found if n.startswith("sd__")]
    if not effects:
        lines.fail(at, f"'sd__…' of {term}")
    if term == "residual":
        effects = [""]
        found = {"sd__": next(iter(found.values()))}
    correlations = np.eye(len(effects))
    rounding = 0.0
    for i, a in enumerate(effects):
        for j, b in enumerate(effects[:i]):
            pair = found.get(f"cor__{b}.{a}") or found.get(f"cor__{a}.{b}")
            if pair is None:
                continue
            correlations[i, j] = correlations[j, i] = pair[1].value
            rounding = max(rounding, pair[1].rounding)
    sd = [found[f"sd__{e}"][1] for e in effects]
    if len(effects) > 1 and not any(name.startswith("cor__") for name in found):
        return [
            component(term, n.value**2, 2.0 * n.value * n.rounding, effect=e) for e, n in zip(effects, sd, strict=True)
        ]
    values = np.array([n.value for n in sd])
    return of_deviations(term, effects, values, correlations, np.array([n.rounding for n in sd]), rounding)


def read_plain(lines: Lines) -> Results:
    """The plain table: quantity (component without the column), term, effect, other, level, estimate, std_error."""
    rows = rows_of(lines)
    said = [(at, row) for at, row in rows if row.get("quantity", "component") in ("method", "program")]
    numeric = [(at, row) for at, row in rows if (at, row) not in said]
    components, fixed, random = [], [], []
    single: dict[str, Number] = {}
    kinds = _roundings(lines, numeric)
    for (at, row), value in zip(numeric, kinds, strict=True):
        quantity = row.get("quantity", "component") or "component"
        text = row.get("std_error", row.get("std.error", ""))
        error = lines.number(at, text, "a standard error").value if text not in ("", "NA", "NaN", "nan") else np.nan
        term, effect, other = row.get("term", ""), row.get("effect", ""), row.get("other", "")
        if quantity == "component":
            components.append(_plain_component(row, term, effect, other, value, error))
        elif quantity == "fixed":
            fixed.append((effect or term, value.value, error, value.rounding))
        elif quantity == "random":
            random.append((term, effect, row.get("level", ""), value.value, error, value.rounding))
        elif quantity in ("loglik", "n_obs"):
            single[quantity] = value
        else:
            lines.fail(at, f"one of {', '.join(QUANTITIES)}")
    if not components and not fixed and not random:
        lines.fail(len(lines), "a component")
    terms = {row.get("term", "").lower() for _, row in numeric}
    if "units" in terms and terms & set(RESIDUALS) - {"units"}:  # then they are a term of their own
        components = _with_units(numeric, components)
    named: set[tuple] = set()
    places = [at for at, row in numeric if row.get("quantity", "component") in ("component", "")]
    for at, one in zip(places, components, strict=True):
        if one[:4] in named:
            lines.fail(at, "each component once")
        named.add(one[:4])
    words = {row["quantity"]: row["estimate"] for _, row in said}
    loglik = single.get("loglik")
    return Results(
        words.get("program", "the other program"),
        None,
        lines.path,
        words.get("method"),
        table(components, COMPONENTS),
        table(fixed, FIXED),
        table(random, RANDOM),
        None if loglik is None else loglik.value,
        0.0 if loglik is None else loglik.rounding,
        n_obs=int(single["n_obs"].value) if "n_obs" in single else None,
    )


def _with_units(rows: list[tuple[int, dict[str, str]]], components: list[tuple]) -> list[tuple]:
    """The components with the term ``units`` by its name."""
    kinds = [row for _, row in rows if (row.get("quantity", "component") or "component") == "component"]
    named = zip(kinds, components, strict=True)
    return [("units", *made[1:]) if row.get("term", "").lower() == "units" else made for row, made in named]


def _roundings(lines: Lines, rows: list[tuple[int, dict[str, str]]]) -> list[Number]:
    """The estimates; each kind of quantity is taken to be rounded alike."""
    found = [lines.number(at, row["estimate"], "a number in column 'estimate'") for at, row in rows]
    kinds = [row.get("quantity", "component") for _, row in rows]
    least = {kind: min(n.rounding for n, k in zip(found, kinds, strict=True) if k == kind) for kind in kinds}
    return [Number(n.value, max(least[k], 2.0e-15 * abs(n.value))) for n, k in zip(found, kinds, strict=True)]


def _plain_component(row: dict[str, str], term: str, effect: str, other: str, value: Number, error: float) -> tuple:
    """A row in the columns of `Results.components`; our names of parameters may stand in a column parameter."""
    parameter, kind = row.get("parameter", ""), row.get("kind", "")
    said = next((w for w in map(effects_of, (parameter, kind, effect)) if w[0] in ("loading", "specific")), None)
    if said is not None:  # in our words
        kind, (effect, *factor) = said
        other = factor[0] if factor else ""
    elif parameter.startswith(("var(", "cov(")) and parameter.endswith(")"):
        effect, _, other = parameter[4:-1].partition(", ")
    elif parameter not in ("", "variance"):
        kind, effect = kind or parameter, effect or parameter
    kind = kind or ("covariance" if other else "variance")
    name = "residual" if term.lower() in RESIDUALS else term
    return component(name, value.value, value.rounding, error, kind=kind, effect=effect, other=other)
