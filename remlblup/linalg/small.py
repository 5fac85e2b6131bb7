"""LAPACK on matrices of a few rows, which a search asks for again and again.

For two or three rows `numpy.linalg` takes five times as long to look at its arguments as LAPACK to answer.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dgeqrf, dgesdd, dpotrf, dsyevd, dtrtri

from remlblup.arrays import Array, Index

# Orders whose triangles are kept.
KEPT = 64
# What keeps columns that repeat each other from an infinite inverse: added to their correlations.
RIDGE = 1e-10


def eigenvalues(A: Array) -> Array:
    """Eigenvalues of a symmetric A (t, t), ascending, from its lower triangle."""
    values, _, info = dsyevd(A, compute_v=0, lower=1)
    if info:
        raise np.linalg.LinAlgError("eigenvalues did not converge.")
    return values


def eigensystem(A: Array) -> tuple[Array, Array]:
    """Eigenvalues of a symmetric A (t, t), ascending, and its eigenvectors as columns, from its lower triangle."""
    values, vectors, info = dsyevd(A, lower=1)
    if info:
        raise np.linalg.LinAlgError("eigenvalues did not converge.")
    return values, vectors


def cholesky(A: Array) -> Array:
    """L lower triangular with A = LL'.

    Raises
    ------
    LinAlgError
        If A is not positive definite.
    """
    L, info = dpotrf(A, lower=1)
    if info or np.count_nonzero(L.diagonal() > 0.0) < len(L):  # some builds let a NaN through
        raise np.linalg.LinAlgError("the matrix is not positive definite.")
    return L


def triangular_inverse(L: Array) -> Array:
    """L⁻¹ of a lower triangular L (t, t)."""
    inverse, info = dtrtri(L, lower=1)
    if info:
        raise np.linalg.LinAlgError("a factor with a zero on its diagonal has no inverse.")
    return inverse


class Products(NamedTuple):
    """Mean products M (t, t) of columns, by the correlations DMD = VΛV' (about zero) of these: none is zero."""

    d: Array
    values: Array
    vectors: Array

    @classmethod
    def of(cls, M: Array) -> Products:
        d = 1.0 / np.sqrt(M.diagonal())
        return cls(d, *eigensystem(M * d * d[:, None]))

    def inverse(self) -> Array:
        """M⁻¹, with a ridge on the correlations where columns repeat each other."""
        # By its eigenvalues it is positive definite whatever rounding makes of the elements.
        root = self.d[:, None] * self.vectors / np.sqrt(np.maximum(self.values, 0.0) + RIDGE)
        return np.asarray(root @ root.T)


def singular_rows(A: Array) -> tuple[Array, Array]:
    """Singular values of A (n, t), descending, and V' (t, t): the first rows go with the values."""
    t = A.shape[1]
    R = dgeqrf(A)[0][:t]
    _, values, rows, info = dgesdd(np.where(upper(t)[: len(R)], R, 0.0))
    if info:
        raise np.linalg.LinAlgError("singular values did not converge.")
    return values, rows


@functools.lru_cache(maxsize=KEPT)
def ones(t: int) -> Array:
    """(t,) of ones."""
    v = np.ones(t)
    v.setflags(write=False)
    return v


@functools.lru_cache(maxsize=KEPT)
def upper(t: int) -> np.ndarray:
    """(t, t) True on and above the diagonal."""
    mask = np.tri(t, dtype=bool).T
    mask.setflags(write=False)
    return mask


@functools.lru_cache(maxsize=KEPT)
def triangle(t: int) -> tuple[Index, Index]:
    """Rows and columns of the lower triangle of a matrix of order t, row by row: the order of vech."""
    rows, columns = np.tril_indices(t)
    rows.setflags(write=False)
    columns.setflags(write=False)
    return rows, columns
