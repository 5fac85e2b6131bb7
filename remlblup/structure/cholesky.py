"""Λ with Σ = ΛDΛ' of a small covariance matrix, singular or indefinite ones included."""

from __future__ import annotations

from math import sqrt

import numpy as np
from scipy.linalg.lapack import dpotrf

from remlblup.arrays import Array
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.small import ones

# A pivot of Σ below this share of its diagonal element is zero: Σ is then taken as singular.
SINGULAR = 1e-12


def signed_cholesky(sigma: Array) -> tuple[Array, Array]:
    """Λ lower triangular and signs with Σ = Λ diag(signs) Λ', without pivoting.

    Raises
    ------
    NotPositiveDefiniteError
        If Σ is indefinite in a way that has no such factor (a zero pivot above a nonzero element), or not finite.
    """
    t = sigma.shape[0]
    if t == 1:
        variance = float(sigma[0, 0])
        return np.array([[sqrt(abs(variance))]]), np.array([-1.0 if variance < 0.0 else 1.0])
    factor, info = dpotrf(sigma, lower=1)
    pivots = factor.diagonal()
    if info == 0 and np.count_nonzero(pivots * pivots > SINGULAR * sigma.diagonal()) == t:
        return factor, ones(t)
    if not np.isfinite(sigma).all():  # no comparison below would see it
        raise NotPositiveDefiniteError("the covariance matrix of a random term is not finite.")
    root = semidefinite_cholesky(sigma)
    return indefinite_cholesky(sigma) if root is None else (root, np.ones(t))


def semidefinite_cholesky(sigma: Array) -> Array | None:
    """Λ lower triangular with Σ = ΛΛ' for a singular Σ, zero pivots with zero columns; None for an indefinite Σ.

    By Gram–Schmidt on the rows of a square root: subtracting in Σ itself, rounding over a small pivot passes for a
    negative one.
    """
    scale = np.sqrt(np.maximum(np.diag(sigma), 0.0))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0)
    if np.any(sigma[scale == 0.0] != 0.0):
        return None
    values, vectors = np.linalg.eigh(sigma * inverse[:, None] * inverse)
    if values[0] < -SINGULAR:
        return None
    rest = vectors * np.sqrt(np.where(values > SINGULAR, values, 0.0))
    factor = np.zeros_like(rest)
    for a in range(len(rest)):
        size = np.linalg.norm(rest[a])
        if size > np.sqrt(SINGULAR):
            axis = rest[a] / size
            factor[a:, a] = rest[a:] @ axis
            rest[a:] -= np.outer(factor[a:, a], axis)
    return np.asarray(factor * scale[:, None])


def indefinite_cholesky(sigma: Array) -> tuple[Array, Array]:
    """Λ lower triangular and signs with Σ = Λ diag(signs) Λ' for an indefinite Σ, if there is one."""
    t = len(sigma)
    factor = np.zeros((t, t))
    signs = np.ones(t)
    for a in range(t):
        column = sigma[a:, a] - (factor[a:, :a] * signs[:a]) @ factor[a, :a]
        pivot = column[0]
        if abs(pivot) <= SINGULAR * abs(sigma[a, a]) or pivot == 0.0:
            scale = np.sqrt(np.abs(np.diag(sigma)[a:]) * abs(sigma[a, a]))
            if np.any(np.abs(column[1:]) > 1e-5 * scale[1:] + 1e-300):
                raise NotPositiveDefiniteError("the covariance matrix of a random term is not positive semidefinite.")
            continue
        signs[a] = np.sign(pivot)
        factor[a:, a] = column / (signs[a] * np.sqrt(abs(pivot)))
    return factor, signs
