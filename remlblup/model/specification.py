"""The numbers of a model, whatever they were made from: y, X, Z_k, K_k, the structures of G and R."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from remlblup.cached import cached_property
from remlblup.errors import DataError, ModelError, listed, some
from remlblup.linalg.magnitude import SMALLEST
from remlblup.linalg.memory import keep_freed
from remlblup.linalg.well_formed import array_of
from remlblup.model import unknown_parents
from remlblup.model.algebra import read_terms
from remlblup.model.columns import Columns
from remlblup.model.covariates import likely_codes
from remlblup.model.design import FixedDesign, RandomDesign, extended, fixed_design, fixed_from_formula
from remlblup.model.formula import parse_formula
from remlblup.model.frame import Records, as_frame, numeric_column, numeric_values
from remlblup.model.given import Given, matrix_names, names_given
from remlblup.model.known_residual import known_matrices, settled
from remlblup.model.matrices import as_matrix, random_of_matrices
from remlblup.model.own_columns import on_own_records
from remlblup.model.parameters import Parameters
from remlblup.model.parent_groups import GroupEffects, group_columns, group_effects
from remlblup.model.random_terms import random_design, spellings, units_design
from remlblup.model.record_variances import record_variances
from remlblup.model.records import check_names, stacked, usable_records
from remlblup.model.residual import residual_structure
from remlblup.model.residual_reading import ResidualTerm, parse_residual
from remlblup.model.response import check_varies, offset_values, response_expression
from remlblup.model.scanner import squeeze, unquoted
from remlblup.model.shorthand import with_dot
from remlblup.model.smooth import smooth_designs
from remlblup.model.terms import MixedFormula, RandomTerm, SmoothTerm
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.units import Units


@dataclass(frozen=True)
class Specification:
    """y = Xβ + Σ_k Z_k u_k + e with the structures of var(u_k) and var(e).

    Attributes
    ----------
    response : name of y
    y : (n,) records
    fixed : X and its aliased columns
    random : one `RandomDesign` per term
    residual : the structure of R
    weights : (n,) known weights, all 1 without
    records : the data rows behind y (None for a model made from matrices)
    formula : the parsed formula (None for a model made from matrices)
    residual_term : ``residual=`` as it was read
    matrices : the entries of ``relationships=`` used as ``matrix=NAME``, or in ``residual="known(NAME)"``
    groups : fixed effects of groups of unknown parents
    unknown_parents : what is done with records whose sire or dam is unknown; see `MixedModel`
    offset : (n,) what ``offset(x)`` adds to the mean, None without; `y` is the response less this
    codes : covariates of the fixed part that are probably codes of a factor, with their numbers of values
    """

    response: str
    y: np.ndarray
    fixed: FixedDesign
    random: tuple[RandomDesign, ...]
    residual: ResidualStructure
    weights: np.ndarray
    records: Records | None = field(default=None, repr=False)
    formula: MixedFormula | None = None
    residual_term: ResidualTerm = field(default_factory=lambda: parse_residual("units"))
    matrices: Mapping[str, object] = field(default_factory=dict, repr=False)
    groups: tuple[GroupEffects, ...] = ()
    unknown_parents: str | tuple[str, ...] = "keep"
    offset: np.ndarray | None = field(default=None, repr=False)
    codes: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def residual_text(self) -> str:
        """``residual=`` as the user wrote it."""
        return self.residual_term.text

    @property
    def observed(self) -> np.ndarray:
        """The response as it was recorded: y and the offset."""
        return self.y if self.offset is None else self.y + self.offset

    @property
    def responses(self) -> tuple[str, ...]:
        """The traits, in their order, where there are several; else empty."""
        return self.formula.responses if self.formula is not None else ()

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def p(self) -> int:
        return self.fixed.p

    @property
    def n_group_columns(self) -> int:
        """How many of the p fixed effects, the last ones, are those of groups of unknown parents."""
        return sum(int((groups.columns >= 0).sum()) for groups in self.groups)

    @cached_property
    def responds_by_column(self) -> bool:
        """Whether the response of the formula is a column of the data, and not made from some."""
        assert self.formula is not None and self.records is not None
        rows = self.records.rows if self.records.given is None else self.records.given
        return response_expression(self.formula.response, rows).bare is not None

    @cached_property
    def n_random(self) -> int:
        """Number of random effects, Σ_k t_k q_k."""
        return sum(d.t * d.q for d in self.random)

    @cached_property
    def index(self) -> pd.Index:
        """Row labels of the records."""
        return pd.RangeIndex(self.n) if self.records is None else self.records.frame.index

    @cached_property
    def parameters(self) -> Parameters:
        return Parameters(
            tuple(d.name for d in self.random),
            tuple(d.structure for d in self.random),
            self.residual,
            tuple(map(_spellings, self.random)),
        )

    def with_response(self, y: np.ndarray, **changes: Any) -> Specification:
        """The same for another response (n,), with the same parameters, and other changes that concern neither."""
        out = replace(self, y=y, **changes)
        out.__dict__["parameters"] = self.parameters
        return out


def _spellings(design: RandomDesign) -> tuple[str, ...]:
    """Other ways users write a term's name."""
    return (squeeze(design.name),) if design.term is None else spellings(design.term)


def from_formula(
    formula: str,
    data: object,
    relationships: Mapping[str, object] | None,
    residual: str,
    weights: str | None,
    missing: str,
    parents: str | Sequence[str] = "keep",
) -> Specification:
    """Read the formula, check the data against it, and build every matrix of the model."""
    keep_freed()
    columns = Columns.native(as_frame(data))
    residual_term = settled(parse_residual(residual), columns.names, names_given(relationships))
    parsed = parse_formula(with_dot(formula, columns.frame, residual_term, weights))
    check_names(parsed, residual_term)
    given = Given(relationships, matrix_names(parsed.random, residual_term.options))
    parsed, frame, choice = unknown_parents.settle(parsed, columns.frame, given, parents)
    records, data = usable_records(parsed, residual_term, columns.instead(frame), weights, missing)
    if unknown := unknown_parents.counted(parsed, records.frame, given):
        records = replace(records, unknown_parents=unknown)
    y, data, record = stacked(parsed, residual_term, records, data)
    rows = data.frame
    check_varies(y, rows, parsed.responses, unquoted(parsed.response))
    offset = offset_values(parsed.offset, rows)
    w = _weights(rows, weights)
    random = [d for t in parsed.random for d in _designs(t, data, given)]
    if residual_term.plus_units:
        random.append(units_design(rows))
    R = residual_structure(residual_term, rows, record, None if weights is None else w, given)
    if rows is not records.frame:
        records = replace(records, rows=rows, given=records.frame)
    names, more = group_columns(random)
    fixed = fixed_from_formula(parsed.fixed, data, (names, more))
    y = y if offset is None else y - offset
    groups = group_effects(random, fixed.kept, len(fixed.columns) - len(names))
    spec = Specification(
        unquoted(parsed.response),
        y,
        fixed_for(fixed, y, w, R),
        tuple(random),
        R,
        w,
        records,
        parsed,
        residual_term,
        given.matrices | known_matrices(residual_term, given),
        groups,
        choice,
        offset,
        likely_codes(read_terms(parsed.fixed), parsed.random, residual_term, data),
    )
    check_estimable(spec)
    return spec


def _designs(term: RandomTerm | SmoothTerm, data: Columns, given: Given) -> list[RandomDesign]:
    return smooth_designs(term, data.frame) if isinstance(term, SmoothTerm) else [random_design(term, data, given)]


def _weights(rows: pd.DataFrame, weights: str | None) -> np.ndarray:
    if weights is None:
        return np.ones(len(rows))
    w = numeric_column(rows, weights, "weights column")
    if np.any(w <= 0):
        raise DataError(
            f"weights must be positive; '{weights}' is not in row(s) {some(rows.index[w <= 0])}: drop these rows."
        )
    _check_smallest_weight(w, rows.index)
    return w


def _check_smallest_weight(w: np.ndarray, rows: Any) -> None:
    if np.min(w, initial=1.0) < SMALLEST:
        raise DataError(
            f"weights below {SMALLEST:g} are none, in row(s) {some(rows[w < SMALLEST])}: drop these rows, or give the"
            " weights in other units."
        )


def from_matrices(
    y: Any,
    X: Any,
    Z: Sequence[Any],
    K: Sequence[Any] | None,
    names: Sequence[str] | None,
    weights: Any,
    fixed_names: Sequence[str] | None,
    effects: Sequence[Any] | None = None,
    structures: Sequence[Any] | None = None,
) -> Specification:
    """The same specification from the matrices themselves; K_k is None for the identity."""
    keep_freed()
    response = array_of(y, "y", DataError)
    if response.ndim == 2 and 1 in response.shape:
        response = response.ravel()
    if response.ndim != 1:
        raise DataError(f"y must be a vector of records, got shape {response.shape}.")
    values = numeric_values(response, "response y")
    n = len(values)
    if n:
        check_varies(values, None, (), "y")
    Xm = as_matrix(X, n, "X")
    labels = (
        [f"x{k}" for k in range(Xm.shape[1])]
        if fixed_names is None
        else list(map(str, listed("fixed_names", fixed_names, DataError)))
    )
    if len(labels) != Xm.shape[1]:
        raise DataError(f"fixed_names has {len(labels)} names for the {Xm.shape[1]} columns of X.")
    random = random_of_matrices(Z, K, names, effects, structures, n)
    w = np.ones(n) if weights is None else numeric_values(weights, "weights")
    if w.shape != (n,) or np.any(w <= 0):
        raise DataError(f"weights must be {n} positive numbers.")
    _check_smallest_weight(w, np.arange(n))
    names_of_groups, columns = group_columns(random)
    fixed = fixed_design(extended(Xm, columns), [*labels, *names_of_groups])
    groups = group_effects(random, fixed.kept, len(labels))
    R = Units(w)
    spec = Specification("y", values, fixed_for(fixed, values, w, R), random, R, w, groups=groups)
    check_estimable(spec)
    return spec


def fixed_for(fixed: FixedDesign, y: np.ndarray, weights: np.ndarray, residual: ResidualStructure) -> FixedDesign:
    """X with the columns that the equations keep their digits by, where variances of records are far apart."""
    variances = record_variances(fixed, y, weights, residual)
    return fixed if variances is None else on_own_records(fixed, variances)


def most_columns(spec: Specification) -> str:
    """Which term of the fixed part has most columns, as a sentence."""
    structure = getattr(spec.fixed.spec, "structure", None)
    if not structure:
        return ""
    term = max(structure, key=lambda part: len(part.columns))
    return (
        f" Most are of '{term.term}', {len(term.columns):,} columns; levels without an order make a random term,"
        " '(1 | g)'."
    )


def check_estimable(spec: Specification) -> None:
    """Refuse data from which no variance can be estimated.

    Raises
    ------
    ModelError
        If no residual degrees of freedom are left or y has no variation.
    """
    if spec.p == 0 and not spec.random:
        raise ModelError("the model has neither fixed nor random effects: there is nothing to estimate but y itself.")
    if spec.n - spec.p < 1:
        raise ModelError(
            f"no residual degrees of freedom: {spec.n} records and {spec.p} fixed effects."
            f" Use fewer fixed effects or more records.{most_columns(spec)}"
        )
