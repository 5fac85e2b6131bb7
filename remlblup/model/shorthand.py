"""``y ~ . + (1 | g)``: the dot stands for all columns that the rest of the model does not use."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from remlblup.errors import FormulaError, some
from remlblup.model.algebra import read_terms
from remlblup.model.expression import quoted, read
from remlblup.model.formula import parse_formula
from remlblup.model.residual_reading import ResidualTerm
from remlblup.model.response import response_columns
from remlblup.model.scanner import scan, split_top, squeeze
from remlblup.model.terms import MixedFormula, RandomTerm


def dots(text: str) -> list[int]:
    """Positions of the dots of a text that are no part of a name or a number."""

    def part(position: int) -> bool:
        return 0 <= position < len(text) and (text[position].isalnum() or text[position] in "_.`)]")

    return [p for p, ch, _ in scan(text) if ch == "." and not part(p - 1) and not part(p + 1)]


def with_dot(
    formula: str, frame: pd.DataFrame, residual: ResidualTerm, weights: str | None, without: Iterable[str] = ()
) -> str:
    """The formula with the columns in the place of its dot.

    Parameters
    ----------
    without : further columns that the dot does not stand for

    Raises
    ------
    FormulaError
        If the dot is not in the fixed part, or stands for nothing.
    """
    if not isinstance(formula, str) or "." not in formula:
        return formula
    sides = split_top(formula, "~")
    if len(sides) != 2 or not (places := dots(sides[1])):
        return formula
    parsed = parse_formula(formula)
    if len(dots(parsed.fixed)) < len(places):
        raise FormulaError(f"'{formula}': the '.' stands for columns in the fixed part alone.")
    used = {*without, *columns_elsewhere(parsed, frame), *residual.columns, *([weights] if weights else [])}
    others = [str(c) for c in frame.columns if str(c) not in used]
    if not others:
        raise FormulaError(f"'{formula}': no column is left for '.'; the model uses {some(frame.columns)} elsewhere.")
    written = "(" + " + ".join(map(quoted, others)) + ")"
    pieces = [sides[1][a:b] for a, b in zip([0, *(p + 1 for p in places)], [*places, len(sides[1])], strict=True)]
    return f"{sides[0]}~{written.join(pieces)}"


def columns_elsewhere(parsed: MixedFormula, frame: pd.DataFrame) -> set[str]:
    """The columns of responses, offsets, random and smooth terms."""
    found = {c for r in parsed.responses or (parsed.response,) for c in response_columns(r, frame)}
    found |= {c for text in parsed.offset for c in read(text).columns}
    for term in parsed.random:
        if not isinstance(term, RandomTerm):
            found |= set(term.variables)
            continue
        found |= {f for g in term.groups for f in (*g.factors, *g.weights)}
        if term.effects and squeeze(term.effects) != "1":
            found |= set(read_terms(term.effects).columns)
    return found
