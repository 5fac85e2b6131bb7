"""The records of a model: which columns the formula needs, which rows can be used, and how they are stacked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from remlblup.errors import DataError, FormulaError, OptionError, choose, some
from remlblup.model.columns import Columns, without_blanks
from remlblup.model.covariates import differs_by_blanks, writes_missing
from remlblup.model.expression import read
from remlblup.model.frame import Records, check_cells, require_columns
from remlblup.model.grouping import UNITS
from remlblup.model.parameters import RESIDUAL
from remlblup.model.residual_reading import ResidualTerm
from remlblup.model.response import TRAIT, check_no_trait, response_columns, response_values, stack, with_units
from remlblup.model.terms import MixedFormula, RandomTerm, SmoothTerm
from remlblup.model.wilkinson import required_columns
from remlblup.relationship.labels import tidy


def check_names(parsed: MixedFormula, residual: ResidualTerm) -> None:
    """Refuse random terms whose name means something else."""
    keys = [term.key for term in parsed.random]
    if RESIDUAL in keys:
        raise FormulaError("a random term cannot be named 'residual', the name of R: rename that column.")
    for term in parsed.random:
        if isinstance(term, RandomTerm) and term.more and any(UNITS in g.factors for g in term.groups):
            raise FormulaError(f"'{term.name}': 'units', the record itself, is not laid over another factor.")
    if residual.plus_units and UNITS in keys:
        raise FormulaError(f"'(1 | units)' and residual={residual.text!r} both add the units: keep one of them.")
    if residual.coordinates and parsed.responses:
        raise OptionError(
            f"residual={residual.text!r}: with several responses write a random term over the places for each, as"
            f" '{residual.keyword}({', '.join(residual.coordinates)} | trait)', and residual='us(trait | units)'."
        )
    if residual.plus_units and parsed.responses:
        raise OptionError(
            f"residual={residual.text!r}: with several responses write the independent part as a random term with a"
            " variance for each trait, 'diag(trait | units)'."
        )


def usable_records(
    parsed: MixedFormula, residual: ResidualTerm, data: Columns, weights: str | None, missing: str
) -> tuple[Records, Columns]:
    """The rows in which every column that must be there is there, and what is known of their columns.

    Raises
    ------
    DataError, FormulaError, OptionError
        If the formula, `residual` or `weights` name a column that the data do not have.
    """
    if parsed.responses:
        check_no_trait(data, parsed.response)
    if residual.plus_units and UNITS in data:
        raise DataError(
            f"the data have a column 'units', the name of the records in residual={residual.text!r}: rename it."
        )
    made = made_columns(parsed, data)
    visible = data.names | dict.fromkeys(made)
    own = {name: response_columns(name, data) for name in parsed.responses or (parsed.response,)}
    for needed in own.values():
        require_columns(data.names, needed, "the response")
    columns = [c for needed in own.values() for c in needed] if not parsed.responses else []
    fixed = required_columns(parsed.fixed, "the fixed part", visible)
    columns += fixed
    columns += offset_columns(parsed, visible)
    optional: list[str] = []
    weighing: list[str] = []
    for term in parsed.random:
        needed, may_miss = term_columns(term, data.names if isinstance(term, SmoothTerm) else visible)
        columns += needed
        optional += may_miss
        weighing += () if isinstance(term, SmoothTerm) else term.weights
    require_columns(visible, residual.columns, "residual=")
    columns += residual.columns
    if weights is not None:
        if not isinstance(weights, str):
            raise OptionError(f"weights= takes the name of a column of the data, not {type(weights).__name__}.")
        require_columns(data.names, [weights], "weights=")
        columns.append(weights)
    columns, optional = [c for c in columns if c not in made], [c for c in optional if c not in {*columns, *made}]
    data = without_blanks(data, fixed, factors_of(parsed, residual))
    for name in {*levels_of(parsed), *residual.unit.factors, residual.section} & data.names.keys():
        data[name].check_levels()
    records, data = complete_records(
        data, columns, missing, weights, optional=[*optional, *weighing], responses=own if parsed.responses else None
    )
    effects = having_effects(records.used, parsed, residual, fixed)
    blanks = {name for name in effects if name in data and differs_by_blanks(data[name])}
    if doubtful := tuple(name for name in records.used if name in blanks or writes_missing(data[name])):
        records = replace(records, doubtful=doubtful)
    return with_plain_optional(records, data, optional) if optional else (records, data)


def complete_records(
    data: Columns,
    columns: Iterable[str],
    missing: str,
    weights: str | None = None,
    *,
    optional: Iterable[str] = (),
    responses: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Records, Columns]:
    """Set aside the rows where a needed column is missing, or refuse them (``missing="error"``).

    Parameters
    ----------
    columns : columns that must hold a value
    missing : "drop" or "error"
    optional : further columns the model reads, in which a value may be missing
    responses : of several responses the columns of each: one of them must have a value

    Raises
    ------
    DataError
        If there are missing values and `missing` is "error", or if no row is left.
    """
    choose("missing", missing, ("drop", "error"))
    frame = data.frame
    responses = responses or {}
    needed = list(dict.fromkeys(columns))
    used = list(dict.fromkeys([*needed, *optional, *(c for own in responses.values() for c in own)]))
    if len(frame) == 0:
        raise DataError("the data have no rows.")
    for name in used:
        check_cells(data[name].series)
    if complex_columns := [c for c in used if data[c].dtype.kind == "c"]:
        raise DataError(
            f"the column {some(complex_columns)} is complex: use its real and imaginary parts as two columns."
        )
    absent = {name: rows for name in needed if (rows := data[name].missing) is not None}
    lacking = {name: missing_in(data, own) for name, own in responses.items()}
    if responses and (none := np.all(list(lacking.values()), axis=0)).any():
        absent["all of " + ", ".join(responses)] = none
    rows = np.any(list(absent.values()), axis=0) if absent else np.zeros(len(frame), dtype=bool)
    cells = {name: k for name, empty in lacking.items() if (k := int(np.sum(empty & ~rows)))}
    if not absent:
        return Records(frame, {}, 0, tuple(used), weights, cells), data
    dropped = {name: int(own.sum()) for name, own in absent.items()}
    counts = ", ".join(f"{c} ({k})" for c, k in dropped.items())
    if missing == "error":
        raise DataError(
            f"missing values in {counts}; first rows concerned: {some(frame.index[rows])}."
            " Remove or fill them, or use missing='drop'."
        )
    if rows.all():
        raise DataError(f"no rows are left after dropping missing values in {counts}.")
    left = data.among(~rows)
    return Records(left.frame, dropped, int(rows.sum()), tuple(used), weights, cells), left


def missing_in(data: Columns, names: Iterable[str]) -> np.ndarray:
    """Where one of some columns is missing, (n,)."""
    absent = [rows for name in names if (rows := data[name].missing) is not None]
    return np.any(absent, axis=0) if absent else np.zeros(len(data), dtype=bool)


def factors_of(parsed: MixedFormula, residual: ResidualTerm) -> list[str]:
    """The columns whose values are levels: those behind bars and of the residual."""
    return [*levels_of(parsed), *residual.columns]


def levels_of(parsed: MixedFormula) -> list[str]:
    """Those behind bars."""
    return [f for t in parsed.random if isinstance(t, RandomTerm) for g in t.groups for f in g.factors]


def having_effects(used: Iterable[str], parsed: MixedFormula, residual: ResidualTerm, fixed: Iterable[str]) -> set[str]:
    """The columns used whose levels, if they are factors, have effects by name, in X and in front of bars."""
    return {*fixed} | ({*used} - {*factors_of(parsed, residual)})


def offset_columns(parsed: MixedFormula, visible: pd.DataFrame | Collection[str]) -> list[str]:
    """The columns of the offsets."""
    names = [c for text in parsed.offset for c in read(text).columns]
    require_columns(visible, names, "the offset")
    return names


def made_columns(parsed: MixedFormula, data: Columns) -> set[str]:
    """The names of the columns that the model makes itself, `trait` and `units`."""
    made = {TRAIT} if parsed.responses else set()
    if UNITS not in data:
        made.add(UNITS)
    return made


def term_columns(term: RandomTerm | SmoothTerm, visible: pd.DataFrame | Collection[str]) -> tuple[list[str], list[str]]:
    """The columns that a random term needs, and those in which a value may be missing: unknown parents, neighbours."""
    if isinstance(term, SmoothTerm):
        require_columns(visible, term.variables, f"the smooth term '{term.name}'")
        return list(term.variables), []
    plain = term.by_factor or term.effects.strip() == "1"
    effects = [] if plain else required_columns(term.effects, f"the effects of '{term.name}'", visible)
    optional = [f for k, g in enumerate(term.groups) if term.may_miss(k) for f in g.optional]
    needed = [*(f for g in term.groups for f in g.factors if f not in optional), *effects]
    require_columns(visible, [*needed, *optional, *term.weights], f"the random term '{term.name}'")
    return needed, optional


def stacked(
    parsed: MixedFormula, residual: ResidualTerm, records: Records, data: Columns
) -> tuple[np.ndarray, Columns, np.ndarray]:
    """y, the rows of the model, and the number of the record each row comes from."""
    rows = records.frame
    named = residual.plus_units or any(
        UNITS in g.factors for t in parsed.random if isinstance(t, RandomTerm) for g in t.groups
    )
    if parsed.responses:
        rows = with_units(rows[list(records.used)]) if named else rows[list(records.used)]
        y, rows, record = stack({name: response_columns(name, rows) for name in parsed.responses}, rows)
        return y, Columns(rows), record
    y = response_values(parsed.response, data)
    return y, data.beside(with_units(rows)) if named else data, np.arange(len(rows))


def with_plain_optional(records: Records, data: Columns, optional: list[str]) -> tuple[Records, Columns]:
    """Columns with unknown parents as labels without type, so that they can be saved and read back."""
    changed = {
        c: pd.Series(tidy(data[c].series), index=data.frame.index, dtype=object)
        for c in optional
        if data[c].missing is not None
    }
    data = data.changed(changed)
    return (replace(records, rows=data.frame) if changed else records), data
