"""Variances of the records before anything is estimated, by least squares weighted by what it finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.linalg.least_squares import least_squares
from remlblup.linalg.rank.gram import products
from remlblup.linalg.scaled_solve import scaled_inverse
from remlblup.model.design import FixedDesign
from remlblup.structure.residual.base import ResidualStructure

# Records whose variances differ by a larger factor are looked at again, by least squares weighted accordingly.
APART = 4.0
# Rounds of that, and the work in one that is worth it.
ROUNDS, WORK = 5, 2e7
# Columns of a sparse X up to which (X'R⁻¹X)⁻¹ is formed for that.
WIDEST = 500
# Variances that change by a smaller factor in a round have settled.
SETTLED = 2.0


def record_variances(fixed: FixedDesign, y: Array, weights: Array, residual: ResidualStructure) -> Array | None:
    """(n,) variances of the records of y given X with which a search would start; None where all have the same."""
    structure = residual.stands_for
    several = structure.n_parameters > 1
    if fixed.p == 0 or not (several or np.count_nonzero(weights != weights[0])):
        return None
    if not several:
        return 1.0 / weights
    free = y - fixed.work @ regression(fixed.work, weights, y)
    squares = free * free
    if not weights @ squares > 1e-26 * (weights @ y**2) or len(y) <= fixed.p:
        return None  # which is refused elsewhere
    variance = float(weights @ squares) / (len(y) - fixed.p)
    phi = structure.start(variance, squares)
    variances = structure.record_variances(phi)
    if variances.max() > APART * variances.min():
        variances = structure.record_variances(settled(fixed, free, structure, variance, squares, phi)[1])
    return variances if np.all(np.isfinite(variances) & (variances > 0.0)) else None


def regression(X: Any, weights: Array, v: Array) -> Array:
    """β of the weighted regression of v (n,) on X (n, p)."""
    if not sp.issparse(X):
        root = np.sqrt(weights)
        return least_squares(root[:, None] * X, root * v)
    from scipy.sparse.linalg import spsolve  # a heavy import

    normal = sp.csc_matrix(products(sp.csc_array(X), weights))
    right = X.T @ (weights * v)
    return right / normal.diagonal() if X.shape[1] == 1 else np.asarray(spsolve(normal, right))


def refined(X: Any, weights: Array, v: Array) -> Array:
    """The same, of weights far apart: what is left is looked at once more."""
    first = regression(X, weights, v)
    return first + regression(X, weights, v - X @ first)


def settled(
    fixed: FixedDesign, y: Array, structure: ResidualStructure, variance: float, squares: Array, residual: Array
) -> tuple[Array, Array]:
    """Squares and φ after some rounds of least squares with the variances of φ:
    a mean of imprecise records is none of precise ones.

    Squares over one minus their leverage, whose expectation is the variance: without it a few records that X can
    reproduce would be given ever more weight.
    """
    if fixed.p == 0 or fixed.p > WIDEST or len(y) * float(fixed.p) ** (1 if sp.issparse(fixed.work) else 2) > WORK:
        return squares, residual
    X = fixed.work
    if sp.issparse(X) and len(y) * float(fixed.p) ** 2 <= WORK:
        X = X.toarray()
    first = variances = structure.record_variances(residual)
    for k in range(ROUNDS):
        left, leverage = left_over(X, y, 1.0 / np.sqrt(variances))
        if k == 0 and alike(structure.record_variances(structure.start(variance, left**2)), first):
            break  # as where every group has fixed effects of its own
        spare = 1.0 - leverage
        new = np.where(spare > 1e-8, left**2 / np.maximum(spare, 1e-8), squares)
        phi = structure.start(variance, new)
        before, variances = variances, structure.record_variances(phi)
        if not np.all(np.isfinite(variances) & (variances > 0.0)):
            break
        squares, residual = new, phi
        if alike(variances, before):
            break
    return squares, residual


def left_over(X: Any, y: Array, root: Array) -> tuple[Array, Array]:
    """(n,) what is left of y, and leverages, in the regression on X (n, p) weighted by the squares of `root`."""
    if not sp.issparse(X):
        Q = np.linalg.qr(root[:, None] * X)[0]
        white = root * y
        return (white - Q @ (Q.T @ white)) / root, np.einsum("ij,ij->i", Q, Q)
    rows = sp.csr_array(X)
    inverse = scaled_inverse(products(sp.csc_array(X), root**2).toarray())
    solved = rows @ inverse  # dense, of the size of X
    beta = inverse @ (rows.T @ (root**2 * y))
    return y - rows @ beta, root**2 * np.asarray(rows.multiply(solved).sum(axis=1)).ravel()


def alike(variances: Array, others: Array) -> bool:
    """Whether variances, all positive, differ by less than the factor `SETTLED`."""
    change = variances / others
    return bool(np.max(change) < SETTLED and np.min(change) > 1.0 / SETTLED)
