"""What each term's test is a test of: rows L with Lβ = 0, incremental, conditional or marginal (type I, II, III).

Incremental: with X'X = R'R, R upper triangular, row j of R over R_jj is what column j adds to those before it.
Conditional: the same with the term's columns, and behind them those of terms that contain it, moved last: of a term
that no other contains its coefficients. Marginal: in the model with a column for every level, the functions that can
be estimated and are orthogonal to those of the terms that contain it (Goodnight 1980; SAS's type III): whatever the
coding, the hypothesis is that of unweighted means of the cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.inference.fixed.terms import GROUPS, FixedTerm, tested_terms
from remlblup.model.specification import Specification

KINDS = ("incremental", "conditional", "marginal")
# X is held dense for its QR decomposition up to this many elements; beyond, X'X is factorised.
DENSE = 20_000_000
# Entries below this are rounding, and eigenvalues of X'X below this share of the largest none.
ZERO, RANK = 1e-9, 1e-11


@dataclass(frozen=True)
class Hypothesis:
    """Lβ = 0 of one term, over the p columns kept.

    Attributes
    ----------
    given : the terms it is adjusted for
    beside : those that contain it, which it is not adjusted for
    """

    term: FixedTerm
    L: Array
    given: tuple[str, ...]
    beside: tuple[str, ...]


def hypotheses(spec: Specification, terms: list[FixedTerm], kind: str) -> list[Hypothesis]:
    """The hypotheses of all tested terms."""
    if kind == "marginal":
        return marginal(spec, terms)
    R, order = triangle(spec.fixed.matrix), np.arange(spec.p)
    tested, out = tested_terms(terms), []
    for term in tested:
        if kind == "incremental":
            before, containing = [t for t in terms if t.all_columns.min() < term.all_columns.min()], []
            L = last_rows(R, order, term.columns)
        else:
            containing = [t for t in terms if term.contained_in(t)]
            before = [t for t in terms if t is not term and t not in containing]
            moved = np.concatenate([term.columns, *(t.columns for t in containing)])
            # Without terms behind it the coefficients themselves;
            # of several rows Fai & Cornelius' df hang on which they are.
            own = len(tested) > 1 and not containing
            L = (
                np.eye(spec.p)[term.columns]
                if own
                else last_rows(R, np.append(np.setdiff1d(order, moved), moved), term.columns)
            )
        out.append(Hypothesis(term, L, names(before), names(containing)))
    return out


def names(terms: list[FixedTerm]) -> tuple[str, ...]:
    return tuple(t.name for t in terms)


def triangle(X: Any) -> Array:
    """R, upper triangular, with R'R = X'X."""
    if not X.shape[1]:
        return np.zeros((0, 0))
    if X.shape[0] * X.shape[1] <= DENSE:
        return np.asarray(np.linalg.qr(X.toarray() if sp.issparse(X) else np.asarray(X, float), mode="r"))
    gram = np.asarray((X.T @ X).toarray() if sp.issparse(X) else X.T @ X)
    scale = 1.0 / np.sqrt(np.diag(gram))
    return scipy.linalg.cholesky(gram * np.outer(scale, scale)) / scale


def last_rows(R: Array, order: np.ndarray, columns: np.ndarray) -> Array:
    """Rows of what `columns` add to those before them in this order, over the columns in theirs, (r, p)."""
    if not np.array_equal(order, np.arange(len(order))):
        R = np.asarray(np.linalg.qr(R[:, order], mode="r"))
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order))
    own = R[place[columns]] / np.diag(R)[place[columns], None]
    return np.asarray(cleaned(own, np.linalg.norm(R, axis=0))[:, place])


def marginal(spec: Specification, terms: list[FixedTerm]) -> list[Hypothesis]:
    """Type III hypotheses."""
    tested = tested_terms(terms)
    contained = {t.name: [o for o in terms if t.contained_in(o)] for t in terms}
    rest = {t.name: names([o for o in terms if o is not t]) for t in tested}
    if len(tested) == 1:  # nothing to be orthogonal to: the rows of the other types
        return [replace(h, beside=()) for h in hypotheses(spec, terms, "conditional")]
    if not any(contained.values()):
        eye = np.eye(spec.p)
        return [Hypothesis(t, eye[t.columns], rest[t.name], ()) for t in tested]
    full = every_level(spec, terms)
    X = spec.fixed.matrix
    # β_j as a function of the coefficients of all levels, and back.
    ours, theirs = least_squares(X, full), least_squares(full, X)
    E = ours.T
    for term in sorted(terms, key=lambda t: -t.order):
        wider = contained[term.name]
        others = np.concatenate([t.columns for t in wider]).astype(int) if wider else np.zeros(0, int)
        if len(others):
            basis = np.linalg.qr(E[:, others])[0]
            E[:, term.columns] -= basis @ (basis.T @ E[:, term.columns])
    rows = cleaned(cleaned(E.T, column_lengths(full)) @ theirs, column_lengths(X))
    return [Hypothesis(t, rows[t.columns], rest[t.name], ()) for t in tested]


def cleaned(rows: Array, lengths: Array) -> Array:
    """Rows without what is rounding beside the largest part of each, columns of X being of these lengths."""
    sizes = np.abs(rows) * lengths
    return np.where(sizes > ZERO * np.max(sizes, axis=1, keepdims=True, initial=0.0), rows, 0.0)


def column_lengths(X: Any) -> Array:
    squares = X.multiply(X).sum(axis=0) if sp.issparse(X) else np.sum(np.square(X), axis=0)
    return np.sqrt(np.asarray(squares, dtype=float)).ravel()


def every_level(spec: Specification, terms: list[FixedTerm]) -> Any:
    """X with a column for every level of every factor and product, (n, p')."""
    from remlblup.model.materializer import Materializer
    from remlblup.model.wilkinson import parsed_formula

    assert spec.formula is not None and spec.records is not None
    output = "sparse" if sp.issparse(spec.fixed.matrix) else "numpy"
    matrix = Materializer(spec.records.frame).get_model_matrix(
        parsed_formula(spec.formula.fixed), ensure_full_rank=False, output=output, na_action="ignore"
    )
    full = sp.csc_array(matrix) if sp.issparse(matrix) else np.asarray(matrix, dtype=float)
    for term in terms:
        if term.name == GROUPS:
            own = spec.fixed.matrix[:, term.columns]
            full = sp.csc_array(sp.hstack([full, own])) if sp.issparse(full) else np.hstack([full, np.asarray(own)])
    return full


def least_squares(A: Any, B: Any) -> Array:
    """A⁺B, (columns of A, columns of B), from the cross products of the columns in units of their lengths."""

    def cross(X: Any, Y: Any) -> Array:
        product = X.T @ Y
        return np.asarray(product.toarray() if sp.issparse(product) else product)

    lengths = column_lengths(A)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0.0)
    values, vectors = np.linalg.eigh(cross(A, A) * np.outer(scale, scale))
    kept = values > RANK * values[-1]
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    return scale[:, None] * (inverse @ (scale[:, None] * cross(A, B)))
