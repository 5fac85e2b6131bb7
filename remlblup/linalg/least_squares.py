"""Regression on a few dense columns by LAPACK directly, and by singular values where these have not full rank."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dgels

from remlblup.arrays import Array

# A pivot of X this small beside the largest leaves no digit of the regression on it.
SINGULAR = 1e-13


def least_squares(X: Array, v: Array) -> Array:
    """β of the least-squares regression of v (n,) or (n, k) on X (n, p); the shortest of those of a singular X."""
    if len(X) >= X.shape[1]:
        factor, found, info = dgels(X, v, lwork=65 * max(X.shape[1], v[0].size))  # X = QR
        size = np.abs(factor.diagonal()[: X.shape[1]])
        if info == 0 and size.min() > SINGULAR * size.max():
            return np.asarray(found[: X.shape[1]])
    return np.asarray(np.linalg.lstsq(X, v, rcond=None)[0], np.float64)
