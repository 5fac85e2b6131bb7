"""Building R: from what ``residual=`` says (`ResidualTerm`) and the records to a structure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.arrays import Array, Index
from remlblup.errors import DataError, FormulaError, ModelError, OptionError, RemlBlupError, some
from remlblup.model import residual_reading
from remlblup.model.effects import Levels, levels_of
from remlblup.model.field import axis, check_cells, check_extent
from remlblup.model.frame import numeric_column
from remlblup.model.given import Given
from remlblup.model.grouping import UNITS, factorize, group_keys
from remlblup.model.known_residual import known_residual
from remlblup.model.numbers import check_size
from remlblup.model.places import residual_over_places
from remlblup.model.positions import kind_of, positions
from remlblup.model.random_terms import make_structure
from remlblup.model.residual_reading import WEIGHTED, ResidualTerm
from remlblup.model.terms import Group
from remlblup.relationship.labels import match
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.units import Units
from remlblup.structure.table import STRUCTURES


def residual_structure(
    term: ResidualTerm, frame: pd.DataFrame, record: Index, weights: Array | None, given: Given
) -> ResidualStructure:
    """R over the rows of `frame`; `record` numbers the units, `weights` are the user's (None without)."""
    if weights is not None and term.keyword not in WEIGHTED:
        raise OptionError(
            f"weights= goes with the residuals 'units', 'diag(f | units)' and 'power(x)', not with '{term.text}'."
        )
    try:
        line = levels_of(term.effect, frame, STRUCTURES[term.keyword]) if over_levels(term) else None
        if not term.section:
            return _structure(term, frame, record, weights, given, line)
        return _sections(term, frame, record, weights, given, line)
    except RemlBlupError as error:
        if "residual=" in str(error):
            raise
        raise type(error)(f"residual={term.text!r}: {error}") from None


def over_levels(term: ResidualTerm) -> bool:
    """Whether Σ is over the levels of a variable, those of the whole data."""
    return term.keyword in STRUCTURES and term.keyword not in ("id", "exp") and not term.coordinates


def _sections(
    term: ResidualTerm, frame: pd.DataFrame, record: Index, weights: Array | None, given: Given, line: Levels | None
) -> ResidualStructure:
    """One structure, with its own parameters, for the records of each level of the section factor."""
    from remlblup.structure.residual.sections import Sections

    codes, levels = factorize(frame[term.section])
    parts, rows = [], [np.flatnonzero(codes == k) for k in range(len(levels))]
    for level, at in zip(levels, rows, strict=True):
        try:
            own = frame.iloc[at]
            among = None if line is None else line.among(own[term.effect])
            parts.append(_structure(term, own, record[at], None if weights is None else weights[at], given, among))
        except RemlBlupError as error:
            raise type(error)(f"{term.section} {level!r}: {error}") from None
    return Sections(parts, rows, [str(level) for level in levels])


def _structure(
    term: ResidualTerm, frame: pd.DataFrame, record: Index, weights: Array | None, given: Given, line: Levels | None
) -> ResidualStructure:
    match term.keyword:
        case "units" | "id":
            return Units(np.ones(len(frame)) if weights is None else weights)
        case "diag":
            assert line is not None
            return _grouped_units(frame, weights, line)
        case "power":
            return _power(term, frame, weights)
        case "field":
            return _field(term, frame)
        case residual_reading.KNOWN:
            return known_residual(term, frame, record, given)
    unit, names = unit_codes(term.unit, frame, record)
    if term.coordinates:
        return residual_over_places(term.keyword, term.coordinates, term.options, frame, unit, term.plus_units)
    if term.keyword == "exp":
        return _exponential(term, frame, unit, names)
    assert line is not None
    return _blocks(term, frame, unit, names, given, line)


def _grouped_units(frame: pd.DataFrame, weights: Array | None, levels: Levels) -> ResidualStructure:
    from remlblup.structure.residual.grouped_units import GroupedUnits

    codes = np.asarray(match(levels.labels, frame[levels.variable]))
    return GroupedUnits(codes, levels.names, weights)


def _power(term: ResidualTerm, frame: pd.DataFrame, weights: Array | None) -> ResidualStructure:
    from remlblup.structure.residual.variance_power import Power

    x = numeric_column(frame, term.effect, "covariate of power()")
    if np.any(x <= 0):
        raise DataError(
            f"power({term.effect}) needs positive values; '{term.effect}' is zero or less in row(s)"
            f" {some(frame.index[x <= 0])}. Correct them or use a positive covariate."
        )
    return Power(x, weights)


def _field(term: ResidualTerm, frame: pd.DataFrame) -> ResidualStructure:
    from remlblup.structure.residual.field import Field

    kinds, labels = zip(*term.axes, strict=True)
    positions = [axis(frame, label) for label in labels]
    check_cells(frame, labels, positions)
    check_extent(labels, positions)
    for kind, label, place in zip(kinds, labels, positions, strict=True):
        if kind == "ar1" and np.ptp(place) == 0:
            raise ModelError(f"'{label}' has one position only: nothing shows a correlation along it.")
    return Field(positions[0], positions[1] if len(positions) > 1 else None, kinds, labels)


def _exponential(term: ResidualTerm, frame: pd.DataFrame, unit: Index, names: pd.Index) -> ResidualStructure:
    from remlblup.structure.residual.exponential import Exponential

    x = positions(frame[term.effect], term.effect, ranked=False)
    check_repeats(term, frame, unit, names)
    return Exponential(x, unit)


def _blocks(
    term: ResidualTerm, frame: pd.DataFrame, unit: Index, names: pd.Index, given: Given, levels: Levels
) -> ResidualStructure:
    """Σ over the levels of the effect within each unit; ``ar1`` in closed form."""
    from remlblup.structure.residual.blocks import Blocks
    from remlblup.structure.residual.exponential import Autoregressive

    if len(levels.labels) < 2:
        raise ModelError(f"'{term.effect}' has one level only ({some(levels.labels)}): use residual='units'.")
    check_repeats(term, frame, unit, names)
    effect = np.asarray(match(levels.labels, frame[term.effect]))
    if term.keyword == "ar1":
        assert levels.steps is not None
        return Autoregressive(levels.steps[effect], unit)
    structure = make_structure(term.keyword, levels, term.options, given, term.text)
    check_size(structure, len(frame), term.text, term.effect, term.unit.label, kind_of(term.effect, frame))
    if structure.n_factors < structure.size:
        raise OptionError(f"'{term.keyword}' is singular and cannot be the covariance of residuals: use 'fa' instead.")
    return Blocks(structure, unit, effect)


def unit_codes(unit: Group, frame: pd.DataFrame, record: Index) -> tuple[Index, pd.Index]:
    """Codes of the units and their names; `units` is the record."""
    if unit.factors == (UNITS,):
        _, first, codes = np.unique(record, return_index=True, return_inverse=True)
        return codes, frame.index[first]
    if UNITS in unit.factors:
        raise FormulaError(f"'{unit.label}': 'units' stands alone behind the bar: it is the record itself.")
    codes, levels = factorize(group_keys(unit, frame))
    return codes, pd.Index(levels)


def check_repeats(term: ResidualTerm, frame: pd.DataFrame, unit: Index, names: pd.Index) -> None:
    """Refuse two records of one unit at one effect, and units of one record each.

    Raises
    ------
    DataError
        If a unit has an effect twice, naming both.
    ModelError
        If no unit has two records: no covariance can be seen.
    """
    effect = factorize(frame[term.effect])[0]
    cells = pd.DataFrame({"unit": unit, "effect": effect})
    twice = cells.duplicated(keep="first").to_numpy()
    if twice.any():
        shown = [f"{names[u]} at {v}" for u, v in zip(unit[twice], frame[term.effect][twice], strict=True)]
        label = "unit" if term.unit.factors == (UNITS,) else term.unit.label
        raise DataError(
            f"some {label} has more than one record of the same '{term.effect}': {some(map(_Plain, shown))}."
            f" Each '{term.effect}' may occur once in a {label}: correct the data, or group by a finer unit."
        )
    if len(np.unique(unit)) == len(unit):
        advice = (
            " Records in long form need the factor that joins them, as in 'us(trait | animal)'."
            if term.unit.factors == (UNITS,)
            else ""
        )
        raise ModelError(
            f"no '{term.unit.label}' has two records: covariances between the levels of '{term.effect}' cannot be"
            f" estimated. For a variance of each level write 'diag({term.effect} | units)'.{advice}"
        )


class _Plain(str):
    """Text shown without quotes in a message."""

    def __repr__(self) -> str:
        return str(self)
