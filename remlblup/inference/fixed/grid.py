"""The rows (x, z) of marginal means: a cell for each combination of levels,
averaged over the factors that are not named.

A column of X belongs to one term, and its average over other factors hangs on the term's own alone: each term is
averaged over a grid of its own, so that many factors do not multiply.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.errors import DataError, ModelError, choose, some
from remlblup.fit.predict import fixed_rows, random_rows
from remlblup.inference.fixed.terms import GROUPS, INTERCEPT, fixed_terms
from remlblup.inference.fixed.variables import Variables, check_targets
from remlblup.model.algebra import read_terms
from remlblup.model.records import term_columns
from remlblup.model.response import offset_values
from remlblup.model.specification import Specification
from remlblup.model.wilkinson import expression_of
from remlblup.relationship.labels import match

WEIGHTS = ("equal", "proportional", "cells")
# Elements of the rows of a grid that are made at most.
MOST = 200_000_000


@dataclass(frozen=True)
class Grid:
    """The cells of the means and their rows.

    Attributes
    ----------
    index : their names
    by : names of the levels of the index that contrasts stay within
    X : (k, all columns of X) averaged rows; NaN where a cell has no records to average over
    Z : (k, levels of all terms) averaged rows, None where no random term takes part
    offset : (k,) what the offsets add
    included : the random terms that take part
    averaged : factors averaged over; `random_averaged` terms left out
    at : the covariates and their values
    """

    index: pd.Index
    by: tuple[str, ...]
    X: Array
    Z: sp.csr_array | None
    offset: Array
    included: tuple[str, ...]
    averaged: tuple[str, ...]
    random_averaged: tuple[str, ...]
    at: dict[str, float]


def grid(spec: Specification, solution: Any, factors: Any, by: Any, at: Mapping[str, Any] | None, weights: str) -> Grid:
    """Read what is asked for, and make the rows.

    Raises
    ------
    DataError, ModelError
        If a name is unknown or given twice, `at` names a factor or holds no number, or there are too many cells.
    """
    choose("weights", weights, WEIGHTS)
    variables = Variables.of(spec)
    targets = variables.named(factors, "factors=")
    within = [] if by is None else variables.named(by, "by=")
    values = at_values(variables, at)
    within += [name for name, v in values.items() if len(v) > 1 and name not in (*targets, *within)]
    named = [*targets, *within]
    check_targets(targets, named, "factors= and by= name")
    return _Maker(spec, solution, variables, named, values, weights).grid(tuple(within))


def at_values(variables: Variables, at: Mapping[str, Any] | None) -> dict[str, list[float]]:
    """Values of covariates."""
    if at is None:
        return {}
    if not isinstance(at, Mapping):
        raise DataError("at= must be a mapping of covariates to values, {'x': 3}.")
    out = {}
    for given, value in at.items():
        (name,) = variables.named([given], "at=")
        if name in variables.factors or name in variables.random:
            raise DataError(
                f"at=: '{name}' is a factor, not a covariate: put it among the factors or in by=, and take the rows of"
                " its levels from the table."
            )
        try:
            numbers = np.atleast_1d(np.asarray(value, dtype=float)).ravel()
        except (TypeError, ValueError):
            raise DataError(f"at=: the value of '{name}' must be a number, not {value!r}.") from None
        if not len(numbers) or not np.all(np.isfinite(numbers)):
            raise DataError(f"at=: the values of '{name}' must be finite numbers, not {value!r}.")
        out[name] = numbers.tolist()
    return out


class _Maker:
    """Makes the rows of one grid."""

    def __init__(
        self,
        spec: Specification,
        solution: Any,
        variables: Variables,
        targets: list[str],
        at: dict[str, list[float]],
        weights: str,
    ):
        self.spec, self.solution, self.variables, self.targets, self.weights = (
            spec,
            solution,
            variables,
            targets,
            weights,
        )
        assert spec.records is not None
        self.frame = spec.records.frame
        means = {c: float(self.frame[c].astype(float).mean()) for c in variables.covariates}
        self.at = {c: at.get(c, [mean]) for c, mean in means.items()}
        self.levels = {t: self.at[t] if t in self.at else {**variables.random, **variables.factors}[t] for t in targets}
        self.cells = list(itertools.product(*self.levels.values()))
        self.included = self._included(at)

    def _included(self, at: dict[str, list[float]]) -> list[int]:
        """Random terms all of whose factors and coordinates are named, and smooth terms of a covariate that is."""
        out = []
        for k, design in enumerate(self.spec.random):
            if design.term is None:
                take = any(v in self.targets or v in at for v in design.spec.variables)
            else:
                take = all(f in self.targets for g in design.term.groups for f in g.factors)
                take &= all(c in self.targets or c in at for c in design.term.coordinates)
            out += [k] * take
        return out

    def grid(self, by: tuple[str, ...]) -> Grid:
        spec = self.spec
        terms, k = fixed_terms(spec), len(self.cells)
        X = np.zeros((k, len(spec.fixed.columns)))
        widths = [d.q for d in spec.random for _ in range(d.t)]
        Z: list[Any] = [sp.csr_array((k, w)) for w in widths]
        offset = np.zeros(k)
        # What is averaged over the same factors is made together: places in X, random terms, whether the offset is.
        pieces: dict[tuple[str, ...], tuple[list[Any], list[int]]] = {}
        of_term = {str(t): t for t in spec.fixed.spec.formula}
        groups_with = {d.term for d in spec.groups}
        for term in terms:
            if term.name == GROUPS:
                continue
            made = of_term.get(term.name if term.name != INTERCEPT else "1")
            columns = (
                []
                if made is None
                else [c for f in made.factors if f.eval_method.value != "literal" for c in expression_of(f).columns]
            )
            pieces.setdefault(self._others(columns), ([], []))[0].append(term.all_columns)
        for position in self.included:
            design = spec.random[position]
            columns = design.spec.variables if design.term is None else term_columns(design.term, self.frame)[0]
            pieces.setdefault(self._others(columns), ([], []))[1].append(position)
        for others, (places, positions) in pieces.items():
            rows, of_terms, own, W = self._rows(others, positions)
            for place in places:
                X[:, place] = W @ rows[:, place]
            for position in positions:
                first = sum(d.t for d in spec.random[:position])
                for j in range(first, first + spec.random[position].t):
                    Z[j] = sp.csr_array(sp.csr_array(W) @ of_terms[j])
                if position in groups_with:
                    for groups in (g for g in spec.groups if g.term == position):
                        place = np.unique(groups.numbers)
                        X[:, place] = W @ rows[:, place]
            if not others:
                offset = W @ own
        joined = sp.csr_array(sp.hstack(Z)) if self.included else None
        left_out = tuple(d.name for k, d in enumerate(spec.random) if k not in self.included)
        averaged = tuple(f for f in self.variables.factors if f not in self.targets and self._in_fixed(f))
        shown_at = {c: v[0] for c, v in self.at.items() if c not in self.targets and self._in_fixed(c)}
        return Grid(
            self._index(),
            by,
            X,
            joined,
            offset,
            tuple(spec.random[k].name for k in self.included),
            averaged,
            left_out,
            shown_at,
        )

    def _in_fixed(self, name: str) -> bool:
        assert self.spec.formula is not None
        return name in read_terms(self.spec.formula.fixed).columns

    def _others(self, columns: Sequence[str]) -> tuple[str, ...]:
        """The factors among them that are averaged over."""
        return tuple(sorted({c for c in columns if c in self.variables.factors and c not in self.targets}))

    def _index(self) -> pd.Index:
        if len(self.targets) == 1:
            return pd.Index([c for (c,) in self.cells], name=self.targets[0])
        return pd.MultiIndex.from_tuples(self.cells, names=self.targets)

    def _rows(self, others: tuple[str, ...], positions: list[int]) -> tuple[Any, list[Any], Array, Any]:
        """Rows of X and Z of the cells × combinations of `others`, what offsets add, and the weights (k, rows)."""
        found = self.frame[list(others)].drop_duplicates() if others else pd.DataFrame(index=[0])
        combos: list[tuple[Any, ...]] = list(itertools.product(*(self.variables.factors[f] for f in others)))
        if self.weights != "equal" and others:
            combos = list(found.itertuples(index=False, name=None))
        k, c = len(self.cells), len(combos)
        if k * c * len(self.spec.fixed.columns) > MOST:
            raise ModelError(
                f"{k:,} means averaged over {c:,} combinations of {some(others)} are too many: name fewer factors, or"
                " make one of them random."
            )
        names = [*self.targets, *others]
        cells = [(*cell, *combo) for cell in self.cells for combo in combos]
        new = pd.DataFrame({name: self._column(name, [row[j] for row in cells]) for j, name in enumerate(names)})
        for name in [*self.variables.factors, *self.at]:
            if name not in names:
                value = self.at[name][0] if name in self.at else self.variables.factors[name][0]
                new[name] = self._column(name, [value] * len(cells))
        try:
            columns, unseen = random_rows(self.spec, self.solution, new, set(positions), "error")
            if (
                unseen.any()
            ):  # of a product of relationships: predicted from others, with an error that rows do not hold
                raise DataError(
                    f"{int((unseen > 0.0).sum())} cells are combinations of levels, or places, without records."
                )
        except DataError as error:
            raise DataError(
                f"{str(error).split(' Use new_levels')[0]} A random effect of a combination that is in no record has no"
                " mean: leave one of the factors out, or fit() to records of these levels and predict() them."
            ) from None
        _, rows = fixed_rows(self.spec, new, columns)
        rows = rows.toarray() if sp.issparse(rows) else np.asarray(rows)
        assert self.spec.formula is not None
        offset = offset_values(self.spec.formula.offset, new)
        return rows, columns, np.zeros(len(new)) if offset is None else offset, self._weights(others, combos)

    def _column(self, name: str, values: list[Any]) -> Any:
        """Values as a column of the type that the data have."""
        column = self.frame[name]
        if name in self.at:
            return np.asarray(values, dtype=float)
        if isinstance(column.dtype, pd.CategoricalDtype):
            return pd.Categorical(values, dtype=column.dtype)
        try:
            return pd.Series(values).astype(column.dtype).array
        except (TypeError, ValueError):
            return pd.Series(values, dtype=object).array

    def _weights(self, others: tuple[str, ...], combos: list[tuple[Any, ...]]) -> Any:
        """(k, k·c): the share of each combination in each cell, NaN where the cell has no records to weigh by."""
        k, c = len(self.cells), len(combos)
        if self.weights == "equal" or not others:
            shares = np.full((k, c), 1.0 / c)
            if self.weights == "cells" and self._counted():
                shares[self._counts((), [()])[:, 0] == 0.0] = np.nan
        else:
            counts = self._counts(others, combos)
            if self.weights == "proportional":
                counts = np.broadcast_to(self._counts(others, combos, every=True)[0], counts.shape)
            total = counts.sum(axis=1, keepdims=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.where(total > 0.0, counts / total, np.nan)
        out = sp.lil_array((k, k * c))
        for i in range(k):
            out[i, i * c : (i + 1) * c] = shares[i]
        return out.tocsr()

    def _counted(self) -> list[str]:
        """The targets whose cells have records: not covariates."""
        return [t for t in self.targets if t not in self.at]

    def _counts(self, others: tuple[str, ...], combos: list[tuple[Any, ...]], every: bool = False) -> Array:
        """Records of each cell and combination, (k, c); of `every` cell together, (1, c)."""
        own = [] if every else self._counted()
        codes = [np.asarray(match(np.array(self.levels[t], dtype=object), self.frame[t])) for t in own]
        combined = {combo: j for j, combo in enumerate(combos)}
        rows = list(self.frame[list(others)].itertuples(index=False, name=None)) if others else [()] * len(self.frame)
        at = np.array([combined[r] for r in rows])
        sizes = [len(self.levels[t]) for t in own]
        cell = np.zeros(len(self.frame), dtype=int)
        for code, size in zip(codes, sizes, strict=True):
            cell = cell * size + code
        counts = np.zeros((int(np.prod(sizes, dtype=int)), len(combos)))
        np.add.at(counts, (cell, at), 1.0)
        if every:
            return counts
        # Cells run over all targets, counts over those that are no covariates.
        shape = [len(self.levels[t]) if t in own else 1 for t in self.targets]
        full = [len(self.levels[t]) for t in self.targets]
        spread = np.broadcast_to(counts.reshape(*shape, -1), (*full, len(combos)))
        return np.asarray(spread.reshape(-1, len(combos)))
