"""Matrices the linear algebra is tested on."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def lower_pattern(C) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """indptr, indices and values of the lower triangle of C, diagonal always stored."""
    C = sp.csc_array(C)
    stored = sp.csc_array((np.ones(C.nnz), C.indices, C.indptr), shape=C.shape)
    lower = sp.csc_array(sp.tril(stored + sp.eye_array(C.shape[0])))
    lower.sort_indices()
    columns = np.repeat(np.arange(C.shape[0]), np.diff(lower.indptr))
    return lower.indptr, lower.indices, C.toarray()[lower.indices, columns]


def at_pattern(dense: np.ndarray, indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Entries of a dense matrix at a lower-triangle pattern."""
    return dense[indices, np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))]


def random_symmetric(n: int, density: float, seed: int, shift: float = 1.0) -> np.ndarray:
    """Sparse symmetric matrix, diagonally dominant by `shift` (positive: well conditioned)."""
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.normal(size=(n, n)) * (rng.random((n, n)) < density), -1)
    C = lower + lower.T
    return C + np.diag(np.abs(C).sum(axis=1) + shift)


def dummies(codes: np.ndarray, n_levels: int) -> np.ndarray:
    """Indicator columns of a factor."""
    return np.eye(n_levels)[codes]


def pedigree_inverse(n: int, seed: int, n_sires: int = 8) -> sp.csc_array:
    """Inverse numerator relationship matrix without inbreeding, T'DT: animals descend from recent ones."""
    rng = np.random.default_rng(seed)
    T = sp.lil_array((n, n))
    T.setdiag(1.0)
    weights = np.ones(n)
    for i in range(n_sires * 2, n):
        recent = np.arange(max(0, i - 200), i)
        sire, dam = rng.choice(recent[recent % 10 == 0]), rng.choice(recent[recent % 10 != 0])
        T[i, sire] = T[i, dam] = -0.5
        weights[i] = 2.0
    T = T.tocsr()
    return (T.T @ sp.diags_array(weights) @ T).tocsc()


def animal_model(n: int, seed: int, n_fixed: int = 5) -> sp.csc_array:
    """Coefficient matrix of an animal model: intercept and a factor (dependent), one record an animal.

    The matrix of order ``1 + n_fixed + n`` has rank deficiency one.
    """
    rng = np.random.default_rng(seed)
    X = np.c_[np.ones(n), dummies(rng.integers(0, n_fixed, n), n_fixed)]
    W = sp.hstack([sp.csr_array(X), sp.eye_array(n)]).tocsr()
    zero = sp.csr_array((1 + n_fixed, 1 + n_fixed))
    return (W.T @ W + sp.block_diag([zero, 1.5 * pedigree_inverse(n, seed)])).tocsc()
