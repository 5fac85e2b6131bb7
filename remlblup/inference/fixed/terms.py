"""The terms of the fixed formula: which columns of X are theirs, what they are made of, which contain which.

A term is contained in another that has the same covariates and all of its factors, and more of them (as SAS and
lmerTest have it): A in A:B, x in A:x, but x not in x:z, nor A in A:x.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import ModelError
from remlblup.model.specification import Specification

INTERCEPT = "Intercept"
GROUPS = "groups of unknown parents"


@dataclass(frozen=True)
class FixedTerm:
    """A term of the fixed part.

    Attributes
    ----------
    name : as the formula has it
    columns : its places among the p columns kept
    all_columns : its places among all columns
    factors, covariates : the expressions it is a product of
    """

    name: str
    columns: np.ndarray
    all_columns: np.ndarray
    factors: frozenset[str] = frozenset()
    covariates: frozenset[str] = frozenset()

    @property
    def order(self) -> int:
        return len(self.factors) + len(self.covariates)

    def contained_in(self, other: FixedTerm) -> bool:
        return self.covariates == other.covariates and self.factors < other.factors

    @property
    def is_intercept(self) -> bool:
        return self.order == 0 and self.name == INTERCEPT


def fixed_terms(spec: Specification) -> list[FixedTerm]:
    """All terms in the order of their columns, the intercept with them;
    of a model made from matrices every column is one."""
    fixed = spec.fixed
    place = np.full(len(fixed.columns), -1)
    place[fixed.kept] = np.arange(fixed.p)
    out, start = [], 0
    structure = getattr(fixed.spec, "structure", None)
    if structure is None:
        first = len(fixed.columns) - sum(len(np.unique(g.numbers)) for g in spec.groups)
        for j in range(first):
            out.append(_term(fixed.columns[j], np.array([j]), place))
        start = first
    else:
        kinds = {e: kind.value == "categorical" for e, (kind, _) in fixed.spec.encoder_state.items()}
        for part in structure:
            own = np.arange(start, start + len(part.columns))
            start += len(part.columns)
            made_of = [f.expr for f in part.term.factors if f.eval_method.value != "literal"]
            factors = frozenset(e for e in made_of if kinds.get(e, False))
            name = str(part.term) if made_of else INTERCEPT
            out.append(_term(name, own, place, factors, frozenset(made_of) - factors))
    if start < len(fixed.columns):
        out.append(_term(GROUPS, np.arange(start, len(fixed.columns)), place))
    return out


def _term(
    name: str,
    all_columns: np.ndarray,
    place: np.ndarray,
    factors: frozenset[str] = frozenset(),
    covariates: frozenset[str] | None = None,
) -> FixedTerm:
    columns = place[all_columns]
    own = frozenset([name]) if covariates is None else covariates
    return FixedTerm(name, columns[columns >= 0], all_columns, factors, own)


def tested_terms(terms: list[FixedTerm]) -> list[FixedTerm]:
    """Those that a table of tests has a row of: all but the intercept, and the intercept where it is alone."""
    return [t for t in terms if not t.is_intercept] or terms


def require_fixed(spec: Specification, what: str) -> None:
    """Refuse a model without fixed effects.

    Raises
    ------
    ModelError
    """
    if spec.p == 0:
        raise ModelError(
            f"the model has no fixed effects: {what} are about them. Add an intercept or other fixed terms."
        )


def coding_in_words(spec: Specification) -> str:
    """The contrasts the factors are coded by, in words."""
    contrasts: dict[Any, Any] = getattr(spec.fixed.spec, "factor_contrasts", None) or {}
    said = [
        f"{f.expr}: {type(state.contrasts).__name__.removesuffix('Contrasts').lower()}"
        for f, state in contrasts.items()
    ]
    return ", ".join(sorted(said))  # they come from a set, in an order of the process's own


def levels_of(column: pd.Series, order: Iterable[Any]) -> list[Any]:
    """The values of a column that occur, in the order of the coding where there is one."""
    values = list(pd.unique(column.dropna()))
    place = {str(level): k for k, level in enumerate(order)}
    if all(str(v) in place for v in values):
        return sorted(values, key=lambda v: place[str(v)])
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=str)
