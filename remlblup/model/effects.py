"""What stands in front of the bar: the effects of a random term and their covariates in each record."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import DataError, FormulaError, ModelError, RemlBlupError, some
from remlblup.linalg.magnitude import columns_within_reach, require_columns_in_range
from remlblup.model.coding import coded_matrix, model_spec
from remlblup.model.columns import Columns
from remlblup.model.covariates import check_numbers_as_text
from remlblup.model.design import DENSE_RECORDS
from remlblup.model.grouping import factorize
from remlblup.model.positions import positions
from remlblup.model.scanner import signed_pieces, unquoted
from remlblup.model.terms import RandomTerm
from remlblup.model.wilkinson import as_values, model_matrix
from remlblup.relationship.labels import match
from remlblup.structure.base import Structure
from remlblup.structure.covariance.steps import in_steps
from remlblup.structure.table import STRUCTURES


class Effects(Protocol):
    """The t effects of a term.

    Attributes
    ----------
    names : one per effect
    positions : (t,) where the effects lie on a line, None without
    steps : (t,) the same in whole steps, for a structure that counts them
    """

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def positions(self) -> Array | None: ...
    @property
    def steps(self) -> Array | None: ...

    def values(self, frame: pd.DataFrame) -> Array:
        """Covariates of the effects in the records of `frame`, shape (n, t)."""
        ...


@dataclass(frozen=True)
class Ones:
    """Effects without covariates: the intercept of ``(1 | g)``, or one effect per factor."""

    names: tuple[str, ...] = ("Intercept",)
    positions: Array | None = None
    steps: Array | None = None

    def values(self, frame: pd.DataFrame) -> Array:
        return np.ones((len(frame), len(self.names)))


@dataclass(frozen=True)
class Levels:
    """One effect per level of a variable: ``us(trait | g)``, ``ar1(time | g)``."""

    variable: str
    labels: tuple[object, ...]
    positions: Array | None = None
    steps: Array | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, self.labels))

    def among(self, column: pd.Series) -> Levels:
        """The levels that occur in a part of the data, where they lie among all."""
        found = np.unique(match(self.labels, column))
        part = [None if x is None else x[found] for x in (self.positions, self.steps)]
        return Levels(self.variable, tuple(self.labels[k] for k in found), *part)

    def values(self, frame: pd.DataFrame) -> Array:
        codes = np.asarray(match(self.labels, frame[self.variable]))
        if np.any(codes < 0):
            unknown = list(dict.fromkeys(map(str, frame[self.variable][codes < 0])))
            raise DataError(
                f"'{self.variable}' has levels that were not in the data of the fit: {some(unknown)}."
                f" Known: {some(map(str, self.labels))}."
            )
        values = np.zeros((len(frame), len(self.labels)))
        values[np.arange(len(frame)), codes] = 1.0
        return values


# Structures before which a bare numeric variable is a covariate, an intercept and a slope; for all others its levels.
OF_COVARIATES = ("id", "diag", "us")


@dataclass(frozen=True)
class Covariates:
    """Effects of any formula, ``1 + x``, ``leg(age, 2)``; `coding` is formulaic's memory of it, or how to make it."""

    coding: Any
    names: tuple[str, ...]
    positions: Array | None = None
    steps: Array | None = None

    @cached_property
    def spec(self) -> Any:
        """formulaic's ModelSpec."""
        return model_spec(self.coding)

    def values(self, frame: pd.DataFrame) -> Array:
        return as_values(model_matrix(self.spec, frame, output="numpy"))


def effects_of(term: RandomTerm, data: Columns) -> tuple[Effects, Callable[[], Array]]:
    """The effects of a term, and a function that gives their covariates (n, t) in the records:
    there may be too many."""
    frame = data.frame
    if term.by_factor:
        ones = Ones(term.effect_names)
        return ones, partial(ones.values, frame)
    if term.effects.strip() == "1" and not term.named:
        intercept = Ones()
        return intercept, partial(intercept.values, frame)
    name = unquoted(term.effects)
    structure = STRUCTURES[term.structure]
    bare = name in data
    if term.named and bare and (term.structure not in OF_COVARIATES or data[name].dtype.kind not in "iufc"):
        if term.structure in OF_COVARIATES:
            check_numbers_as_text(data[name], f"the effects of '{term.name}'")
        try:
            levels = levels_of(name, frame, structure)
        except RemlBlupError as error:
            raise ModelError(f"in '{term.name}': {error}") from None
        return levels, partial(levels.values, frame)
    if structure.ordered:
        raise FormulaError(
            f"'{term.name}': the structure '{term.structure}' is over the levels of one variable in their order, as in"
            f" '{term.structure}(time | g)'; '{term.effects}' is not a column of the data."
        )
    return covariates_of(term, data)


def levels_of(variable: str, frame: pd.DataFrame, structure: type[Structure]) -> Levels:
    """An effect per level; for an ordered structure where they lie, in ascending order."""
    codes, labels = factorize(frame[variable])
    if not structure.ordered:
        return Levels(variable, tuple(labels.tolist()))
    first = np.unique(codes, return_index=True)[1]
    x = positions(frame[variable].iloc[first], variable, structure.in_steps)
    order = np.argsort(x, kind="stable")
    labels, x = labels[order], x[order]
    same = np.flatnonzero(np.diff(x) == 0.0)
    if len(same):
        raise DataError(f"{some(map(str, labels[[same[0], same[0] + 1]]))} of '{variable}' are one position.")
    return Levels(variable, tuple(labels.tolist()), x, in_steps(x) if structure.in_steps else None)


def covariates_of(term: RandomTerm, data: Columns) -> tuple[Effects, Callable[[], Array]]:
    """Effects of a formula, their values checked."""
    what = f"the effects of '{term.name}'"
    matrix = coded_matrix(implicit_intercept(term.effects), data, what, sparse=len(data) > DENSE_RECORDS)
    names = tuple(matrix.names)
    if not names:
        raise FormulaError(f"the random term '{term.name}' has no effect in front of the bar.")

    def values() -> Array:
        found = matrix.dense()
        if columns_within_reach(found):
            return found
        if not np.isfinite(found).all():
            rows = data.frame.index[~np.all(np.isfinite(found), axis=1)]
            raise DataError(
                f"{what} have infinite or undefined values in row(s) {some(rows)}: correct the rows or the transform."
            )
        require_columns_in_range(found, list(names), what, DataError)
        return found

    return Covariates(matrix.coding, short_names(names)), values


def check_nonzero(term: RandomTerm, names: tuple[str, ...], loads: Sequence[Array]) -> None:
    """Refuse effects that are in no record; `loads` are their weights (n, t), of each factor of a term."""
    present = np.asarray(loads[0].any(axis=0))
    for load in loads[1:]:
        present = present | load.any(axis=0)
    if not present.all():
        zero = [name for name, there in zip(names, present, strict=True) if not there]
        raise ModelError(f"in '{term.name}' the effect {some(zero)} is zero in every record: drop it.")


@lru_cache(maxsize=256)
def implicit_intercept(effects: str) -> str:
    """Effects with leg(), whose first column is the constant, have no intercept unless it is written."""
    has_leg = re.search(r"(?<![\w.])leg\s*\(", effects) is not None
    written = any(piece in ("0", "1") for _, piece in signed_pieces(effects))
    return f"0 + {effects}" if has_leg and not written else effects


@lru_cache(maxsize=256)
def short_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """``leg1`` for ``leg(age, 2)[leg1]`` where no two effects would be called alike."""
    short = tuple(re.sub(r"leg\([^()]*\)\[(leg\d+)\]", r"\1", name) for name in names)
    return short if len(set(short)) == len(names) else names
