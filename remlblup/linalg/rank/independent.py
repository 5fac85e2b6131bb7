"""Linearly dependent columns of a fixed-effect design, found in the order given.

A column is *aliased* when it is a combination of the columns before it, as R's ``lm`` reports. The
decision must not depend on units (a column 'year' of about 2,000 and its square are independent of the
intercept, though barely so in floating point), and must not be spoiled by the squaring of condition
numbers in X'X. So:

1. every column is scaled to length one;
2. the Gram matrix is factorised in the order given, leaving out each column whose pivot (the squared
   relative residual after projection on the columns before) is below `SUSPICIOUS`. The others form a
   basis so well conditioned that the Gram matrix can be trusted with them;
3. each column left out is projected on that basis for real, with re-orthogonalisation ("twice is
   enough": Giraud, Langou & Rozložník 2005), and judged by the length of what remains;
4. the first one found independent is replaced by what remained, scaled to length one, which leaves
   every span as it was and the basis well conditioned; then back to 2.

The last two steps repeat once per nearly dependent column, of which there are few: powers of a covariate.
A wide sparse X is treated in a fill-reducing order, and `null_space` turns the answer into the order given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import qr, solve_triangular

from remlblup.arrays import sums
from remlblup.errors import DataError
from remlblup.linalg.rank import gram
from remlblup.linalg.rank.null_space import NullSpace, Projected, last_entries, null_space, null_vectors

SUSPICIOUS = 1e-6
"""A Gram pivot below this is not trusted: the column itself is projected."""

TOLERANCE = 1e-10
"""Relative residual at and below which a column is a combination of the columns before it."""

BATCH_VALUES = 2**25
"""Values in a batch of columns that are projected together."""

ILL_CONDITIONED = 1e-8
"""Smallest pivot ratio below which the caller should `whiten` a narrow X."""


@dataclass(frozen=True, eq=False)
class Rank:
    """Independent and aliased columns of a matrix.

    Attributes
    ----------
    kept, aliased : ndarray of int
        Column positions, ascending.
    pivot_ratios : ndarray, shape (p,)
        Squared length of each column's residual on the kept columns before it, relative to the squared
        length of the column: 1 when orthogonal to them, 0 when all zero. For a sparse X of more than
        `gram.DENSE_COLUMNS` columns, "before" is in a fill-reducing order.
    null : NullSpace
        The dependencies themselves.
    """

    kept: np.ndarray
    aliased: np.ndarray
    pivot_ratios: np.ndarray
    null: NullSpace

    @property
    def smallest_ratio(self) -> float:
        """Smallest pivot ratio of the kept columns; see `ILL_CONDITIONED`."""
        return float(self.pivot_ratios[self.kept].min(initial=1.0))


def independent_columns(X: np.ndarray | sp.spmatrix, tolerance: float = TOLERANCE) -> Rank:
    """Find the columns of X that are linear combinations of the columns before them.

    Parameters
    ----------
    X : ndarray or scipy sparse matrix, shape (n, p)
        Design of the fixed effects.
    tolerance : float
        Largest relative residual, length of the residual over length of the column, that counts as none.

    Returns
    -------
    Rank
        Positions in the order given.
    """
    unit, lengths = unit_columns(X)
    nonzero = np.flatnonzero(lengths)
    if sp.issparse(unit) and len(nonzero) > gram.DENSE_COLUMNS:
        independent, ratios, vectors = judge_wide(unit[:, nonzero], tolerance)
    else:
        some = unit if len(nonzero) == len(lengths) else unit[:, nonzero]
        independent, ratios, history = judge_columns(some, tolerance)
        vectors = null_vectors(history, len(nonzero))
    kept = nonzero[independent]
    pivot_ratios = np.zeros(len(lengths))
    pivot_ratios[nonzero] = ratios
    null = null_space(vectors, lengths, X.shape[0])
    aliased = np.ones(len(lengths), dtype=bool)
    aliased[kept] = False
    return Rank(kept, np.flatnonzero(aliased), pivot_ratios, null)


def judge_columns(basis: np.ndarray | sp.csc_array, tolerance: float) -> tuple[np.ndarray, np.ndarray, list[Projected]]:
    """Steps 2 to 4 above, for columns of length one; a dense basis is overwritten.

    Returns
    -------
    independent : ndarray of bool, shape (p,)
        Columns kept.
    ratios : ndarray, shape (p,)
        Squared length of each residual.
    history : list of Projected
        The projections behind the verdicts, in the order in which they were made.
    """
    p = basis.shape[1]
    ratios = np.ones(p)
    aliased = np.zeros(p, dtype=bool)
    history: list[Projected] = []
    projected = np.zeros(p, dtype=bool)  # a ratio found by projection outlives later Gram pivots
    if p == 1:  # there is none before it
        return ~aliased, ratios, history
    while True:
        factor = gram.gram_factor(basis, aliased, SUSPICIOUS)
        trusted = ~projected & ~factor.excluded
        ratios[trusted] = factor.pivots[trusted]
        for columns in batches(np.flatnonzero(factor.excluded & ~aliased), basis.shape[0]):
            residuals, combinations, lengths, noise = project_out(basis, columns, factor.solve_before)
            independent = np.flatnonzero(lengths > np.maximum(tolerance, noise))
            # The columns after the first independent one have to be judged again with it in the basis.
            n_judged = independent[0] if len(independent) else len(columns)
            aliased[columns[:n_judged]] = True
            ratios[columns[: n_judged + 1]] = lengths[: n_judged + 1] ** 2
            projected[columns[: n_judged + 1]] = True
            history.append(Projected(columns[:n_judged], combinations[:, :n_judged], lengths[:n_judged], False))
            if len(independent):
                one = slice(n_judged, n_judged + 1)
                history.append(Projected(columns[one], combinations[:, one], lengths[one], True))
                basis = replace_column(basis, columns[n_judged], residuals[:, n_judged])
                break
        else:
            return ~aliased, ratios, history


def judge_wide(basis: sp.csc_array, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for a wide sparse basis, by way of a fill-reducing order and the null vectors, which it returns.

    Ratios are those of the fill-reducing order; a column that only this order aliases has ratio 0, and
    one that only the other aliased has ratio 1.
    """
    order = gram.fill_reducing_order(basis)
    kept_in_order, ratios_in_order, history = judge_columns(basis[:, order], tolerance)
    in_order = null_vectors(history, len(order))
    vectors = np.empty_like(in_order)
    vectors[order] = in_order
    aliased = last_entries(vectors)
    ratios = np.empty(len(order))
    ratios[order] = np.where(kept_in_order, ratios_in_order, 1.0)
    ratios[aliased] = 0.0
    independent = np.ones(len(order), dtype=bool)
    independent[aliased] = False
    return independent, ratios, vectors


def batches(columns: np.ndarray, n: int) -> list[np.ndarray]:
    """Split column numbers so that a batch of dense columns of length n stays below 256 MB."""
    size = min(max(BATCH_VALUES // max(n, 1), 1), 64)
    return [columns[k : k + size] for k in range(0, len(columns), size)]


def unit_columns(X: np.ndarray | sp.spmatrix) -> tuple[np.ndarray | sp.csc_array, np.ndarray]:
    """Columns of X scaled to length one (zero columns stay zero), and their lengths."""
    if sp.issparse(X):
        X = sp.csc_array(X, dtype=np.float64)
        largest = abs(X).max(axis=0).toarray().ravel() if X.shape[0] and X.shape[1] else np.zeros(X.shape[1])
    else:
        columns = np.array(X.T, dtype=np.float64, order="C")  # so that reductions run along the memory
        largest = np.abs(columns).max(axis=1, initial=0.0)
    if not np.isfinite(largest).all():
        bad = np.flatnonzero(~np.isfinite(largest))
        raise DataError(f"Columns {bad[:8].tolist()} of X hold values that are infinite or not numbers.")
    scale = np.where(largest > 0, largest, 1.0)  # before squaring: no overflow, no underflow
    if sp.issparse(X):
        unit = sp.csc_array(X, dtype=np.float64, copy=True)
        unit.sum_duplicates()
        counts = np.diff(unit.indptr)
        unit.data /= np.repeat(scale, counts)
        lengths = np.sqrt(sums(np.repeat(np.arange(len(counts)), counts), unit.data**2, len(counts)))
        unit.data /= np.repeat(np.where(lengths > 0, lengths, 1.0), counts)
        return unit, lengths * scale
    columns /= scale[:, None]
    lengths = np.sqrt(np.einsum("ji,ji->j", columns, columns))
    columns /= np.where(lengths > 0, lengths, 1.0)[:, None]
    return columns.T, lengths * scale


def project_out(
    basis: np.ndarray | sp.csc_array, columns: np.ndarray, solve_before: Callable
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Residuals of k columns, each on the basis columns before it, orthogonal to working accuracy.

    Parameters
    ----------
    basis : ndarray or csc_array, shape (n, p)
        Columns of length one.
    columns : ndarray of int, shape (k,)
        The columns to project.
    solve_before : callable
        ``solve_before(columns, products)``: coefficients, shape (p, k), of the projections of vectors
        on the basis columns before each of `columns`, from inner products with the basis, shape (p, k).

    Returns
    -------
    residuals : ndarray, shape (n, k)
        Scaled to length one.
    combinations : ndarray, shape (p, k)
        ``columns = basis @ combinations + residuals * lengths``.
    lengths : ndarray, shape (k,)
        Their lengths before scaling.
    noise : ndarray, shape (k,)
        Lengths that roundoff alone can leave: the sum of the terms that cancel, times some roundoff.
    """
    residuals: Any = basis[:, columns]
    residuals = residuals.toarray() if sp.issparse(residuals) else residuals.copy()
    lengths = np.ones(len(columns))
    combinations = np.zeros((basis.shape[1], len(columns)))
    for repeat in range(3):
        coefficients = solve_before(columns, basis.T @ residuals)
        if repeat == 0:
            noise = 100.0 * np.finfo(float).eps * (1.0 + np.abs(coefficients).sum(axis=0))
        combinations += coefficients * lengths
        residuals -= basis @ coefficients
        left = np.linalg.norm(residuals, axis=0)
        lengths *= left
        if (lengths <= noise).all():
            break  # nothing is left of any of them, so that no direction is wanted either
        residuals /= np.where(left > 0, left, 1.0)
    return residuals, combinations, lengths, noise


def replace_column(basis: np.ndarray | sp.csc_array, j: int, vector: np.ndarray) -> np.ndarray | sp.csc_array:
    """The basis with column j replaced."""
    if not sp.issparse(basis):
        basis[:, j] = vector
        return basis
    column = sp.csc_array(vector[:, None])
    return sp.hstack([basis[:, :j], column, basis[:, j + 1 :]], format="csc")


def whiten(X_dense: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Orthonormal basis of the kept columns of a narrow, ill-conditioned X.

    With the columns scaled to length one, ``X[:, kept] S⁻¹ = Q R`` (Householder QR; Golub & Van Loan,
    *Matrix Computations*, 4th ed., section 5.2), so that ``X β = Q β_work`` with ``β = T β_work`` and
    ``T = S⁻¹ R⁻¹``.

    Parameters
    ----------
    X_dense : ndarray, shape (n, p)
        Design.
    kept : ndarray of int, shape (m,)
        Its independent columns, from `independent_columns`.

    Returns
    -------
    X_work : ndarray, shape (n, m)
        Orthonormal columns to fit with.
    T : ndarray, shape (m, m)
        Upper triangular: ``beta = T @ beta_work`` and ``cov(beta) = T cov(beta_work) T'``.
    logdetT : float
        ``log|det T|``: ``log|X'V⁻¹X| = log|X_work'V⁻¹X_work| - 2 logdetT``.
    """
    unit, lengths = unit_columns(np.asarray(X_dense)[:, kept])
    Q, R = qr(unit, mode="economic")
    signs = np.where(np.diagonal(R) < 0, -1.0, 1.0)
    Q, R = Q * signs, R * signs[:, None]
    T = solve_triangular(R, np.eye(len(R))) / lengths[:, None]
    logdet = -float(np.log(np.diagonal(R)).sum() + np.log(lengths).sum())
    return Q, T, logdet
