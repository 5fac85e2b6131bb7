"""What is left out at a time: a record, or all records of a level of a term or of a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.equations.base import CHUNK
from remlblup.errors import ModelError, OptionError, VarianceError, some
from remlblup.fit.tables.effects import term_index
from remlblup.fit.terms.field_maps import column
from remlblup.model.columns import Columns
from remlblup.model.design import RandomDesign
from remlblup.model.grouping import factorize, grouped

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates


@dataclass(frozen=True)
class Cases:
    """Sets of records.

    Attributes
    ----------
    what : what a case is: "record", or the name of the term or column
    labels : of the cases
    records : the numbers of the records of each
    term : number of the random term whose levels they are, None if it is none
    levels : (cases,) the level of the term's relationship that each is; empty without a term
    """

    what: str
    labels: pd.Index
    records: Sequence[np.ndarray]
    term: int | None
    levels: np.ndarray

    def together(self) -> Iterator[list[int]]:
        """Numbers of cases whose records are few enough to be solved for at once."""
        batch: list[int] = []
        size = 0
        for number, own in enumerate(self.records):
            if batch and size + len(own) > CHUNK:
                yield batch
                batch, size = [], 0
            batch.append(number)
            size += len(own)
        if batch:
            yield batch


def cases_of(fit: Estimates, term: Any) -> Cases:
    """The records one by one, or by the levels of what is named.

    Raises
    ------
    OptionError
        For a text that is neither a random term nor a column of the data.
    ModelError
        If a level has all the records there are.
    """
    spec = fit.specification
    nothing = np.zeros(0, dtype=np.int64)
    if term is None:
        return Cases("record", spec.index, [np.array([i]) for i in range(spec.n)], None, nothing)
    if not isinstance(term, str):
        raise OptionError(f"term={term!r} must be the name of a random term or of a column of the data.")
    try:
        k = term_index(spec, term)
    except VarianceError:
        out = of_column(fit, term)
    else:
        out = of_term(fit, k, spec.random[k])
    whole = [label for label, own in zip(out.labels, out.records, strict=True) if len(own) == spec.n]
    if whole:
        raise ModelError(f"all records belong to {some(whole)} of '{out.what}': without them nothing is left to fit.")
    return out


def of_column(fit: Estimates, name: str) -> Cases:
    """By the values of a column of the data."""
    spec = fit.specification
    own = [] if spec.records is None else [c for c in spec.records.frame.columns if c != "units"]
    if name not in own:
        raise OptionError(
            f"term={name!r} is neither a random term ({some(d.name for d in spec.random) or 'there are none'}) nor a"
            f" column that the records of this fit have ({some(own, 20) or 'there are none'})."
        )
    codes, labels = factorize(column(fit, name, "term"))
    counts = np.bincount(codes, minlength=len(labels))
    records = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    return Cases(name, pd.Index(labels, name=name), records, None, np.zeros(0, dtype=np.int64))


def of_term(fit: Estimates, k: int, design: RandomDesign) -> Cases:
    """By the levels of a random term that have records, whatever their covariates are."""
    spec, q = fit.specification, design.q
    if design.term is not None and spec.records is not None:
        _, found = grouped(design.term, Columns(spec.records.frame), design.relationship)
        pairs = np.concatenate([np.column_stack([code, np.arange(spec.n)])[code >= 0] for code in found])
    else:
        parts = [Z.tocoo() for Z in design.columns]
        pairs = np.concatenate([np.column_stack([Z.col, Z.row])[Z.data != 0.0] for Z in parts])
    pairs = np.unique(pairs, axis=0)
    level, record = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    counts = np.bincount(level, minlength=q)
    present = np.flatnonzero(counts)
    records = np.split(record, np.cumsum(counts[present])[:-1])
    labels = pd.Index(np.asarray(design.relationship.labels, dtype=object)[present], name=design.name)
    return Cases(design.name, labels, records, k, present)
