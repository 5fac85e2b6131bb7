"""X of a right-hand side: of columns alone, ``1 + x + f``, read directly; of anything else coded by formulaic.

Both give the same columns of the same names. Of columns alone formulaic's `ModelSpec`, which new records and tests of
terms ask for, is made when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.model.algebra import Terms, read_terms
from remlblup.model.columns import Column, Columns
from remlblup.model.covariates import check_covariates
from remlblup.model.wilkinson import check_width, materialize


@dataclass(frozen=True)
class Later:
    """formulaic's coding of some columns, not yet made.

    Attributes
    ----------
    formula : the right-hand side
    columns : what it reads, as it was when the matrix was made; see `Column.kept`
    index : of the records
    what, sparse : as `materialize` takes them
    empty : the terms that have no column
    """

    formula: str
    columns: dict[str, np.ndarray | pd.Series]
    index: pd.Index
    what: str
    sparse: bool
    empty: tuple[str, ...] = ()

    def made(self) -> Any:
        columns = {
            name: values if isinstance(values, pd.Series) else pd.Series(values, self.index, values.dtype)
            for name, values in self.columns.items()
        }
        frame = pd.DataFrame(columns) if columns else pd.DataFrame(index=self.index)
        return materialize(self.formula, frame, self.what, self.sparse).model_spec


def model_spec(coding: Any) -> Any:
    """formulaic's ModelSpec, which may be there already."""
    return coding.made() if isinstance(coding, Later) else coding


def without_columns(coding: Any) -> tuple[str, ...]:
    """The terms of a coding that have no column: factors of one level beside the intercept."""
    if isinstance(coding, Later):
        return coding.empty
    return tuple(str(part.term) for part in getattr(coding, "structure", None) or () if not part.columns)


@dataclass(frozen=True)
class Matrix:
    """The matrix (n, P) of a right-hand side.

    Attributes
    ----------
    names : of its columns
    coding : formulaic's ModelSpec, or how to make it
    n : number of records
    blocks : the columns of each term; None where formulaic has coded them
    made : what formulaic has made
    """

    names: list[str]
    coding: Any
    n: int
    blocks: list[Block] | None = None
    made: Any = None

    def dense(self) -> np.ndarray:
        """The matrix as float64, by rows."""
        if self.blocks is not None:
            return joined_dense(self.blocks, self.n)
        return np.ascontiguousarray(self.made.toarray() if sp.issparse(self.made) else self.made, dtype=np.float64)

    def sparse(self) -> sp.csc_array:
        """The same, CSC."""
        return sp.csc_array(self.made) if self.blocks is None else joined_sparse(self.blocks, self.n)


def coded_matrix(formula: str, data: Columns, what: str, sparse: bool) -> Matrix:
    """The matrix of a right-hand side; of what formulaic has to code, `sparse` or dense.

    Raises
    ------
    DataError, FormulaError, ModelError
        If a column cannot stand there, or the matrix would be too wide.
    """
    terms = read_terms(formula)
    check_covariates(terms.expressions, data, what)
    check_width(terms, data, what)
    blocks = plain_blocks(terms, data)
    if blocks is None:
        made = materialize(formula, data.frame, what, sparse)
        return Matrix(list(made.model_spec.column_names), made.model_spec, len(data), made=made)
    columns = {name: data[name].kept for name in terms.columns}
    empty = tuple(term[0].columns[0] for term, block in zip(terms.terms, blocks, strict=True) if not block.names)
    later = Later(formula, columns, data.frame.index, what, sparse, empty)
    return Matrix([name for block in blocks for name in block.names], later, len(data), blocks)


# -- columns alone ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """The columns of X of one term: values of a covariate, or ones in the places of a factor's levels.

    Attributes
    ----------
    names : of the columns
    values : (n,) of one column; None for a factor
    codes : (n,) which of the columns of a factor holds a one, −1 for none
    """

    names: list[str]
    values: Array | None = None
    codes: Any = None


def plain_blocks(terms: Terms, data: Columns) -> list[Block] | None:
    """The columns of each term; None where one is more than a column, or a column of a type of its own.

    Treatment coding: of a factor the first level has no column, but of the first factor without an intercept.
    """
    blocks, spanned = [], False
    for term in terms.terms:
        if not term:
            blocks.append(Block(["Intercept"], np.ones(len(data))))
            spanned = True
            continue
        name = term[0].bare
        if len(term) > 1 or name is None or name not in data:
            return None
        column = data[name]
        block = factor_block(column, name, spanned) if is_factor(column) else covariate_block(column, name)
        if block is None:
            return None
        blocks.append(block)
        spanned = spanned or block.values is None
    return blocks


def is_factor(column: Column) -> bool:
    return column.is_categorical or column.text


def covariate_block(column: Column, name: str) -> Block | None:
    return None if column.numbers is None else Block([name], column.numbers)


def factor_block(column: Column, name: str, spanned: bool) -> Block | None:
    # Categories without records have their column, of zeros, as formulaic codes them.
    codes, levels, texts = column.coded if column.is_categorical else column.ordered
    if texts is None and levels.dtype.kind not in "iu":
        return None
    labels = list(map(str, levels)) if texts is None else texts
    if any(label.startswith("__") for label in labels):
        return None  # formulaic keeps such names for itself
    coding = "T." if spanned else ""
    return Block([f"{name}[{coding}{label}]" for label in labels[int(spanned) :]], None, codes - int(spanned))


def joined_dense(blocks: list[Block], n: int) -> np.ndarray:
    """X (n, P) by rows."""
    X = np.zeros((n, sum(len(block.names) for block in blocks)))
    at = 0
    for block in blocks:
        if block.values is not None:
            X[:, at] = block.values
        else:
            rows = np.flatnonzero(block.codes >= 0)
            X[rows, at + block.codes[rows]] = 1.0
        at += len(block.names)
    return X


def joined_sparse(blocks: list[Block], n: int) -> sp.csc_array:
    """X (n, P) without the zeros of its covariates."""
    data, rows, counts = [], [], []
    for block in blocks:
        if block.values is not None:
            own = np.flatnonzero(block.values)
            data.append(block.values[own])
            counts.append(np.array([len(own)]))
        else:
            few = len(block.names) < 2**15  # of short numbers the sort is linear
            own = np.argsort(block.codes.astype(np.int16) if few else block.codes, kind="stable")
            counts.append(np.bincount(block.codes + 1, minlength=len(block.names) + 1)[1:])
            own = own[n - int(counts[-1].sum()) :]
            data.append(np.ones(len(own)))
        rows.append(own)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))]) if counts else np.zeros(1, dtype=np.intp)
    kind = np.int32 if max(n, int(indptr[-1])) < 2**31 else np.int64
    parts = (np.concatenate(data), np.concatenate(rows).astype(kind)) if data else (np.zeros(0), np.zeros(0, kind))
    return sp.csc_array((*parts, indptr.astype(kind)), shape=(n, len(indptr) - 1))
